import { describe, expect, it } from "vitest";

import { byFloor, floorNumber, plan, shortName } from "../src/kiosks/floors";
import { kiosk } from "./kiosk";

describe("a floor's plan", () => {
  const crowd = Array.from({ length: 37 }, (_, index) =>
    kiosk(`k-${index}`, { x: index % 2 === 0 ? 10 : 10.5 + (index % 5), y: index % 3 }),
  );

  it("gives everybody a cell of their own", () => {
    const { columns, lines, spots } = plan(crowd, 5);
    expect(spots).toHaveLength(crowd.length);
    expect(new Set(spots.map((spot) => `${spot.column}/${spot.line}`)).size).toBe(crowd.length);
    for (const spot of spots) {
      expect(spot.column).toBeLessThan(columns);
      expect(spot.line).toBeLessThan(lines);
    }
  });

  it("keeps left and right, front and back", () => {
    const found = plan([kiosk("west", { x: 0, y: 5 }), kiosk("east", { x: 90, y: 5 }), kiosk("north", { x: 45, y: 0 })], 5);
    const spot = (kid: string) => found.spots.find((one) => one.kid === kid);
    expect(spot("west")?.column).toBe(0);
    expect(spot("east")?.column).toBe(4);
    expect(spot("north")?.column).toBe(2);
  });

  it("is the same whatever order the rows come in", () => {
    const sorted = (spots: { kid: string }[]) => [...spots].sort((a, b) => a.kid.localeCompare(b.kid));
    expect(sorted(plan([...crowd].reverse(), 5).spots)).toEqual(sorted(plan(crowd, 5).spots));
  });

  it("needs no coordinates", () => {
    const { lines, spots } = plan([kiosk("b"), kiosk("a"), kiosk("c", { x: 3, y: null })], 2);
    expect(lines).toBe(2);
    expect(spots.map((spot) => spot.kid)).toEqual(["a", "b", "c"]);
  });

  it("of nobody is empty", () => {
    expect(plan([], 5).spots).toEqual([]);
  });
});

describe("floors", () => {
  it("are grouped by area and go up from the basement", () => {
    const floors = byFloor([
      kiosk("a", { floor: "10F" }),
      kiosk("b", { floor: "2F" }),
      kiosk("c", { floor: "B1" }),
      kiosk("d", { floor: "2F" }),
      kiosk("e", { area: "急诊楼", floor: "夹层" }),
    ]);
    expect(floors.map((floor) => `${floor.area} ${floor.floor} ${floor.kiosks.length}`)).toEqual([
      "急诊楼 夹层 1",
      "门诊楼 B1 1",
      "门诊楼 2F 2",
      "门诊楼 10F 1",
    ]);
  });

  it.each([
    ["3F", 3],
    ["3楼", 3],
    ["B2", -2],
    ["-1", -1],
    ["负1楼", -1],
    ["门厅", Number.POSITIVE_INFINITY],
  ])("%s is number %d", (floor, number) => {
    expect(floorNumber(floor)).toBe(number);
  });
});

describe("a short name", () => {
  it.each([
    ["zzj-021", "021"],
    ["lobby-east-7", "7"],
    ["kiosk", "kiosk"],
    ["kiosk-", "kiosk-"],
    ["a-1234567", "34567"],
  ])("of %s is %s", (kid, expected) => {
    expect(shortName(kid)).toBe(expected);
  });
});
