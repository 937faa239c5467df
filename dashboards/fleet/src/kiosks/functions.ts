/** What patients can do at a kiosk: which functions are lost, and the order in which to read them. */
import type { Schemas } from "../server";

export type FunctionStatus = Schemas["FunctionStatus"];
export type FunctionState = Schemas["FunctionState"];
export type ConsumableStatus = Schemas["ConsumableStatus"];
export type ConsumableLevel = Schemas["ConsumableLevel"];

/** Worst first. */
export const FUNCTION_STATES = ["lost", "degraded", "unknown", "available"] as const satisfies FunctionState[];
const LEVELS = ["empty", "low", "unknown", "ok"] as const satisfies ConsumableLevel[];

/** Filters by any function at all. */
export const ANY_FUNCTION = "any";

export function lostFunctions({ functions }: { functions: readonly FunctionStatus[] }): string[] {
  return functions.filter((status) => status.state === "lost").map((status) => status.function);
}

export function hasLost(kiosk: { functions: readonly FunctionStatus[] }, wanted: string): boolean {
  const lost = lostFunctions(kiosk);
  return wanted === ANY_FUNCTION ? lost.length > 0 : lost.includes(wanted);
}

/** What needs a person first; within a state the order in which the kiosk named them. */
export function byUrgency(functions: readonly FunctionStatus[]): FunctionStatus[] {
  return [...functions].sort((a, b) => FUNCTION_STATES.indexOf(a.state) - FUNCTION_STATES.indexOf(b.state));
}

/** What runs out first; what nobody can forecast comes after what is low, before what is plenty. */
export function byDaysLeft(consumables: readonly ConsumableStatus[]): ConsumableStatus[] {
  return [...consumables].sort(
    (a, b) =>
      LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level) ||
      (a.days_left ?? Number.POSITIVE_INFINITY) - (b.days_left ?? Number.POSITIVE_INFINITY) ||
      `${a.component}/${a.consumable}`.localeCompare(`${b.component}/${b.consumable}`),
  );
}
