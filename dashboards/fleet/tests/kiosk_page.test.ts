import { describe, expect, it } from "vitest";

import { chartOption, lonely, nearest, rowsOf, summaryOf } from "../src/kiosk/chart";
import { rangeOf, RANGES } from "../src/kiosk/ranges";
import { pieces, reachablePercent, ticks } from "../src/kiosk/timeline";
import { levelOf } from "../src/kiosks/model";
import { rowWindow, scrollFor } from "../src/kiosks/window";

const HOUR_MS = 3_600_000;
const startMs = Date.parse("2026-03-18T00:00:00Z");
const at = (hours: number): string => new Date(startMs + hours * HOUR_MS).toISOString();

describe("the presence bar", () => {
  const edges = [
    { presence: "offline" as const, since: at(6), until: at(7), reason: "connection_lost", detected_at: null },
    { presence: "online" as const, since: at(-5), until: at(6), reason: "connected", detected_at: null },
    { presence: "unknown" as const, since: at(7), until: at(9), reason: "server_started", detected_at: null },
    { presence: "unstable" as const, since: at(9), until: null, reason: "flapping", detected_at: null },
    { presence: "online" as const, since: at(-9), until: at(-5), reason: "connected", detected_at: null },
  ];
  const found = pieces(edges, startMs, startMs + 10 * HOUR_MS);

  it("shows what is in the window, in order and cut to it", () => {
    expect(found.map((piece) => [piece.presence, (piece.endMs - piece.startMs) / HOUR_MS])).toEqual([
      ["online", 6],
      ["offline", 1],
      ["unknown", 2],
      ["unstable", 1],
    ]);
    expect(found.map((piece) => piece.isOpen)).toEqual([false, false, false, true]);
  });

  it("counts only the time that is known", () => {
    expect(reachablePercent(found)).toBeCloseTo(87.5);
    expect(reachablePercent([])).toBeNull();
  });

  it("has an axis of round moments, never too many", () => {
    for (const hours of [1, 24, 24 * 7]) {
      const marks = ticks(startMs + 61_000, startMs + hours * HOUR_MS, 9);
      expect(marks.length).toBeGreaterThan(2);
      expect(marks.length).toBeLessThanOrEqual(9);
      for (const mark of marks) expect(mark % 300_000).toBe(0);
    }
  });
});

describe("a chart", () => {
  const point = (hours: number, avg: number) => ({ at: at(hours), avg, min: avg - 1, max: avg + 2 });

  it("has a band from minimum to maximum and breaks where data is missing", () => {
    const rows = rowsOf([point(0, 5), point(1, 6), point(4, 7)], 3_600);
    expect(rows.average.map(([, value]) => value)).toEqual([5, 6, null, 7]);
    expect(rows.lower.map(([, value]) => value)).toEqual([4, 5, null, 6]);
    expect(rows.band.map(([, value]) => value)).toEqual([3, 3, null, 3]);
  });

  it("does not break where a sample or two were late", () => {
    expect(rowsOf([point(0, 5), point(0.025, 6)], 15).average).toHaveLength(2);
    expect(rowsOf([point(0, 5), point(0.03, 6)], 15).average).toHaveLength(3);
  });

  it("shows a point between two gaps", () => {
    const { average } = rowsOf([point(0, 1), point(1, 2), point(4, 3), point(8, 4), point(9, 5)], 3_600);
    expect(lonely(average).map(([, value]) => value)).toEqual([3]);
    expect(lonely(rowsOf([point(0, 7)], 60).average)).toHaveLength(1);
  });

  it("sums up", () => {
    expect(summaryOf([point(0, 5), point(1, 7)])).toEqual({ average: 6, minimum: 4, maximum: 9 });
    expect(summaryOf([])).toBeNull();
  });

  it("finds the point under the pointer", () => {
    const points = [point(0, 5), point(1, 7)];
    expect(nearest(points, startMs + 0.6 * HOUR_MS)?.avg).toBe(7);
    expect(nearest([], startMs)).toBeUndefined();
  });

  it("draws its tooltip on the canvas, without markup that the policy would drop", () => {
    const option = chartOption({
      points: [point(0, 5)],
      bucketS: 60,
      fromMs: startMs,
      toMs: startMs + HOUR_MS,
      unit: "%",
      floor: 0,
      ceiling: 100,
      look: { line: "#000", text: "#000", grid: "#000", surface: "#fff", fontFamily: "sans-serif" },
      texts: { tick: () => "", tip: () => "" },
    });
    expect(option["tooltip"]).toMatchObject({ renderMode: "richText" });
  });
});

describe("a range in the address", () => {
  it("is one of those there are", () => {
    expect(rangeOf("7d", RANGES, "24h")).toBe("7d");
    expect(rangeOf(["7d"], RANGES, "24h")).toBe("24h");
    expect(rangeOf("99y", RANGES, "24h")).toBe("24h");
  });
});

describe("the rows drawn of a thousand", () => {
  it("are few, wherever one scrolls", () => {
    for (const top of [0, 10_000, 34_000 - 600]) {
      const { first, end } = rowWindow(top, 600, 34, 1_000);
      expect(end - first).toBeLessThan(45);
      expect(first * 34).toBeLessThanOrEqual(top);
      expect(end * 34).toBeGreaterThanOrEqual(top + 600);
    }
  });

  it("are none of none, and the last ones of a list that shrank", () => {
    expect(rowWindow(5_000, 600, 34, 0)).toEqual({ first: 0, end: 0 });
    expect(rowWindow(30_000, 600, 34, 3)).toEqual({ first: 3, end: 3 });
  });

  it("come into sight when selected", () => {
    expect(scrollFor(0, 340, 600, 34)).toBe(0);
    expect(scrollFor(50, 0, 600, 34)).toBe(51 * 34 - 600);
    expect(scrollFor(5, 0, 600, 34)).toBeNull();
  });
});

describe("a figure", () => {
  it.each([
    ["disk_percent", 84.9, "normal"],
    ["disk_percent", 85, "high"],
    ["disk_percent", 93, "extreme"],
    ["clock_offset_s", -34.2, "extreme"],
    ["clock_offset_s", null, "normal"],
    ["newer_metric", 1e9, "normal"],
  ])("%s of %s is %s", (metric, value, level) => {
    expect(levelOf(metric, value)).toBe(level);
  });
});
