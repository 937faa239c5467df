import { describe, expect, it } from "vitest";
import type { LocationQuery } from "vue-router";

import { comparator, DEFAULTS, type Filters, filterQuery, parseFilters, select } from "../src/kiosks/filters";
import { PRESENCES } from "../src/kiosks/model";
import { kiosk } from "./kiosk";

const filters = (changes: Partial<Filters> = {}): Filters => ({ ...DEFAULTS, ...changes });

describe("filters in the address", () => {
  it("are the defaults in an empty one, which stays empty", () => {
    expect(parseFilters({})).toEqual(DEFAULTS);
    expect(filterQuery(DEFAULTS)).toEqual({});
  });

  it("come back as they went", () => {
    const all = filters({
      area: "门诊楼",
      floor: "B1",
      presence: "offline",
      alarm: "critical",
      state: "quarantined",
      q: "a b",
      sort: "cpu_percent",
      isDescending: true,
      layout: "table",
      kiosk: "zzj-001",
    });
    expect(parseFilters(filterQuery(all) as LocationQuery)).toEqual(all);
  });

  it("leave out what is not understood", () => {
    const query = { presence: "asleep", sort: "<script>", layout: "", alarm: ["any", "critical"], q: null };
    expect(parseFilters(query)).toEqual(filters({ alarm: "any" }));
  });
});

describe("the selection", () => {
  const fleet = [
    kiosk("a-1", { presence: "offline", alarm_worst: "major", alarms_open: 2 }),
    kiosk("a-2", { area: "急诊楼", floor: "2F", place: "收费处旁" }),
    kiosk("a-3", { alarm_worst: "critical", alarms_open: 1, state: "quarantined" }),
    kiosk("b-4", { presence: "never", serial: null, agent_version: null }),
  ];
  const kids = (changes: Partial<Filters>): string[] => select(fleet, filters(changes)).rows.map((row) => row.kid);

  it("has what needs a person first", () => {
    expect(kids({})).toEqual(["a-3", "a-1", "b-4", "a-2"]);
  });

  it.each<[Partial<Filters>, string[]]>([
    [{ area: "急诊楼" }, ["a-2"]],
    [{ floor: "1F", presence: "online" }, ["a-3"]],
    [{ alarm: "any" }, ["a-3", "a-1"]],
    [{ alarm: "critical" }, ["a-3"]],
    [{ state: "quarantined" }, ["a-3"]],
    [{ q: "收费" }, ["a-2"]],
    [{ q: "sn-A-1" }, ["a-1"]],
    [{ q: "门诊 b-4" }, ["b-4"]],
    [{ q: "nowhere" }, []],
  ])("of %j is %j", (changes, expected) => {
    expect(kids(changes)).toEqual(expected);
  });

  it("counts exactly the rows behind each number", () => {
    for (const scope of [{}, { area: "门诊楼" }, { q: "a-" }, { presence: "offline" as const }]) {
      const { counts } = select(fleet, filters(scope));
      const other = { ...scope, presence: "" as const };
      expect(counts.all).toBe(kids(other).length);
      for (const presence of PRESENCES) expect(counts.presence[presence]).toBe(kids({ ...scope, presence }).length);
      expect(counts.alarm.any).toBe(kids({ ...other, alarm: "any" }).length);
      expect(counts.alarm.critical).toBe(kids({ ...other, alarm: "critical" }).length);
      expect(counts.quarantined).toBe(kids({ ...other, state: "quarantined" }).length);
    }
  });
});

describe("sorting", () => {
  const rows = [kiosk("c", { cpu_percent: 5 }), kiosk("a", { cpu_percent: null }), kiosk("b", { cpu_percent: 50 })];

  it.each<[boolean, string]>([
    [false, "c b a"],
    [true, "b c a"],
  ])("keeps rows without a value at the end (descending: %s)", (isDescending, expected) => {
    const sorted = [...rows].sort(comparator("cpu_percent", isDescending));
    expect(sorted.map((row) => row.kid).join(" ")).toBe(expected);
  });

  it("takes the clock by its distance and falls back on the name", () => {
    const clocks = [kiosk("b", { clock_offset_s: -3 }), kiosk("a", { clock_offset_s: 3 }), kiosk("c", { clock_offset_s: 1 })];
    expect(clocks.sort(comparator("clock_offset_s", true)).map((row) => row.kid)).toEqual(["a", "b", "c"]);
  });
});
