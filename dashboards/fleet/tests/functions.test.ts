import { describe, expect, it } from "vitest";

import { DEFAULTS, filterQuery, parseFilters, select } from "../src/kiosks/filters";
import {
  byDaysLeft,
  byUrgency,
  type ConsumableStatus,
  type FunctionState,
  type FunctionStatus,
  hasLost,
  lostFunctions,
} from "../src/kiosks/functions";
import { kiosk } from "./kiosk";

const status = (name: string, state: FunctionState): FunctionStatus => ({
  function: name,
  state,
  lacks: null,
  because: [],
  since: null,
});
const left = (consumable: string, changes: Partial<ConsumableStatus>): ConsumableStatus => ({
  component: "printer",
  consumable,
  unit: "mm",
  level: "ok",
  source: "counted",
  remaining: null,
  capacity: null,
  percent: null,
  per_day: null,
  days_left: null,
  part: null,
  refilled_at: null,
  ...changes,
});

describe("functions", () => {
  const functions = [
    status("identify", "available"),
    status("pay", "degraded"),
    status("print_ticket", "lost"),
    status("query", "unknown"),
    status("pay_by_card", "lost"),
  ];

  it("are lost only when the kiosk says so", () => {
    expect(lostFunctions({ functions })).toEqual(["print_ticket", "pay_by_card"]);
    expect(hasLost({ functions }, "query")).toBe(false);
    expect(hasLost({ functions }, "any")).toBe(true);
    expect(hasLost({ functions: [] }, "any")).toBe(false);
  });

  it("are read worst first", () => {
    expect(byUrgency(functions).map((item) => item.function)).toEqual([
      "print_ticket",
      "pay_by_card",
      "pay",
      "query",
      "identify",
    ]);
  });

  it("select kiosks in the list, and the address keeps the choice", () => {
    const fleet = [kiosk("zzj-001", { functions }), kiosk("zzj-002", { functions: [status("pay", "lost")] }), kiosk("zzj-003")];
    const shown = (lost: string) => select(fleet, { ...DEFAULTS, lost }).rows.map((row) => row.kid);
    expect(shown("")).toHaveLength(3);
    expect(shown("any")).toEqual(["zzj-001", "zzj-002"]);
    expect(shown("pay")).toEqual(["zzj-002"]);
    expect(shown("fly")).toEqual([]);
    expect(filterQuery(parseFilters({ lost: "pay" }))).toEqual({ lost: "pay" });
  });
});

describe("consumables", () => {
  it("are read in the order in which they run out", () => {
    const items = [
      left("plenty", { days_left: 40 }),
      left("nobody_knows", { level: "unknown" }),
      left("soon", { level: "low", days_left: 2 }),
      left("out", { level: "empty" }),
      left("some", { days_left: 9 }),
      left("no_forecast", {}),
    ];
    expect(byDaysLeft(items).map((item) => item.consumable)).toEqual([
      "out",
      "soon",
      "nobody_knows",
      "some",
      "plenty",
      "no_forecast",
    ]);
  });
});
