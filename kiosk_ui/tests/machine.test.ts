import { describe, expect, it } from "vitest";

import { canStep, progress, type Screen, SCREENS, step, TABLE, WrongStep } from "../src/journeys/machine";

function reachable(from: Screen): Set<Screen> {
  const seen = new Set<Screen>([from]);
  for (const screen of seen) for (const next of Object.values(TABLE[screen])) seen.add(next);
  return seen;
}

describe("the way of a patient", () => {
  it("reaches every screen", () => {
    expect([...reachable("starting")].sort()).toEqual([...SCREENS].sort());
  });

  it("ends only where the patient takes everything along", () => {
    expect(SCREENS.filter((screen) => Object.keys(TABLE[screen]).length === 0)).toEqual(["takeaway"]);
  });

  it("comes to paying only with an order, or with one of before the reload", () => {
    const ways = SCREENS.flatMap((screen) =>
      Object.entries(TABLE[screen]).flatMap(([by, next]) => (next === "pay" ? [`${screen} ${by}`] : [])),
    );
    expect(ways.sort()).toEqual(["bill ordered", "hold ordered", "out_of_service resume", "starting resume"]);
  });

  it("shows nobody's bill without identification", () => {
    const business = new Set<Screen>(["bill", "departments"]);
    const ways = SCREENS.flatMap((screen) => Object.values(TABLE[screen]).some((next) => business.has(next)) ? [screen] : []);
    // `home` goes there only with a session: `Kiosk.choose`.
    expect(ways.sort()).toEqual(["confirm", "doctors", "home", "pay"]);
  });

  it("knows a wrong step for a mistake", () => {
    expect(step("bill", "ordered")).toBe("pay");
    expect(() => step("idle", "ordered")).toThrow(WrongStep);
    expect(canStep("takeaway", "home")).toBe(false);
  });

  it("says how far it is", () => {
    expect(progress("pay_bill", "bill")).toEqual({ at: 3, of: 5 });
    expect(progress("register", "hold")).toEqual({ at: 6, of: 8 });
    expect(progress(null, "bill")).toBeNull();
    expect(progress("pay_bill", "doctors")).toBeNull();
  });
});
