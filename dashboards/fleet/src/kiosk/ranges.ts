/** How far back the charts and the presence bar look. */
export const RANGES = ["1h", "24h", "7d", "30d"] as const;
export type Range = (typeof RANGES)[number];

export const RANGE_S: Readonly<Record<Range, number>> = {
  "1h": 3_600,
  "24h": 86_400,
  "7d": 7 * 86_400,
  "30d": 30 * 86_400,
};

export const PRESENCE_RANGES = ["24h", "7d"] as const satisfies Range[];
export type PresenceRange = (typeof PRESENCE_RANGES)[number];

export function rangeOf<T extends Range>(text: unknown, allowed: readonly T[], otherwise: T): T {
  return allowed.find((range) => range === text) ?? otherwise;
}
