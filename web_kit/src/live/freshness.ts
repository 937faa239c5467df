/** How old what is shown may be: one rule for every page. */
export type Freshness = "fresh" | "ageing" | "stale";

export const AGEING_S = 15;
export const STALE_S = 30;

export function freshnessOf(ageS: number | null): Freshness {
  if (ageS === null || ageS >= STALE_S) return "stale";
  return ageS >= AGEING_S ? "ageing" : "fresh";
}
