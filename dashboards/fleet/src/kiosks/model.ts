/** A kiosk as the pages show it, and the closed lists of its states. */
import type { Schemas } from "../server";

export type KioskView = Schemas["KioskView"];
export type Presence = Schemas["PresenceState"];
export type Severity = Schemas["Severity"];

/** A row with the moment it was last heard on the page's own clock, so that ages go on counting. */
export interface Kiosk extends KioskView {
  heardMs: number | null;
}

/** Worst first: the order of counts, legend and default sorting. */
export const PRESENCES = ["offline", "unstable", "unknown", "planned", "never", "online"] as const satisfies Presence[];

export const SEVERITIES = ["critical", "major", "minor", "info"] as const satisfies Severity[];

/** Figures of these kiosks are of now; of the others they are the last ones known. */
const SPEAKING: ReadonlySet<Presence> = new Set<Presence>(["online", "unstable"]);

export function isSpeaking(kiosk: Pick<KioskView, "presence">): boolean {
  return SPEAKING.has(kiosk.presence);
}

export function severityRank(severity: Severity | null | undefined): number {
  return severity == null ? SEVERITIES.length : SEVERITIES.indexOf(severity);
}

/** Lower needs a person sooner: alarms first, then presence. */
export function attentionRank(kiosk: KioskView): number {
  return severityRank(kiosk.alarm_worst) * PRESENCES.length + PRESENCES.indexOf(kiosk.presence);
}

/** Where it stands; lists of assets repeat building and floor in the place, or leave them out. */
export function whereabouts({ area, floor, place }: Pick<KioskView, "area" | "floor" | "place">): string {
  return place.includes(area) ? place : `${area} ${floor} ${place}`;
}

export type Level = "normal" | "high" | "extreme";

/** Where a figure stops being ordinary, by its field. */
const LEVELS: Readonly<Record<string, readonly [high: number, extreme: number]>> = {
  cpu_percent: [85, 95],
  memory_percent: [85, 95],
  disk_percent: [85, 93],
  temperature_c: [70, 80],
  clock_offset_s: [1, 10],
};

export function levelOf(metric: string, value: number | null | undefined): Level {
  const bounds = LEVELS[metric];
  if (bounds === undefined || value == null) return "normal";
  const amount = Math.abs(value);
  if (amount >= bounds[1]) return "extreme";
  return amount >= bounds[0] ? "high" : "normal";
}
