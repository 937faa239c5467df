/** What the fleet page shows, kept in the address: a link or a reload brings the same rows back. */
import type { LocationQuery, LocationQueryRaw } from "vue-router";

import { hasLost } from "./functions";
import { attentionRank, type Kiosk, type Presence, PRESENCES, whereabouts } from "./model";

export const ALARM_FILTERS = ["any", "critical"] as const;
export type AlarmFilter = (typeof ALARM_FILTERS)[number];

export const STATES = ["planned", "enrolled", "quarantined", "revoked", "retired"] as const;
export type State = (typeof STATES)[number];

export const SORT_KEYS = [
  "attention",
  "kid",
  "place",
  "presence",
  "alarms",
  "activity",
  "cpu_percent",
  "memory_percent",
  "disk_percent",
  "temperature_c",
  "clock_offset_s",
  "heard",
] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export const LAYOUTS = ["both", "table", "map"] as const;
export type Layout = (typeof LAYOUTS)[number];

export interface Filters {
  area: string;
  floor: string;
  presence: Presence | "";
  alarm: AlarmFilter | "";
  state: State | "";
  /** A function that patients cannot use there, or `any`. */
  lost: string;
  q: string;
  sort: SortKey;
  isDescending: boolean;
  layout: Layout;
  /** The selected kiosk, on the map and in the table at once. */
  kiosk: string;
}

export const DEFAULTS: Filters = {
  area: "",
  floor: "",
  presence: "",
  alarm: "",
  state: "",
  lost: "",
  q: "",
  sort: "attention",
  isDescending: false,
  layout: "both",
  kiosk: "",
};

function one<T extends string, F extends string>(query: LocationQuery, name: string, allowed: readonly T[], none: F): T | F {
  const value = text(query, name);
  return allowed.find((known) => known === value) ?? none;
}

function text(query: LocationQuery, name: string): string {
  const value = query[name];
  const first = Array.isArray(value) ? value[0] : value;
  return first?.trim() ?? "";
}

/** Reads an address; what it does not understand is left out. */
export function parseFilters(query: LocationQuery): Filters {
  return {
    area: text(query, "area"),
    floor: text(query, "floor"),
    presence: one(query, "presence", PRESENCES, ""),
    alarm: one(query, "alarm", ALARM_FILTERS, ""),
    state: one(query, "state", STATES, ""),
    lost: text(query, "lost"),
    q: text(query, "q"),
    sort: one(query, "sort", SORT_KEYS, DEFAULTS.sort),
    isDescending: text(query, "order") === "desc",
    layout: one(query, "layout", LAYOUTS, DEFAULTS.layout),
    kiosk: text(query, "kiosk"),
  };
}

/** The shortest address of these filters: defaults are not written. */
export function filterQuery(filters: Filters): LocationQueryRaw {
  const query: LocationQueryRaw = {};
  for (const key of ["area", "floor", "presence", "alarm", "state", "lost", "q", "sort", "layout", "kiosk"] as const) {
    if (filters[key] !== DEFAULTS[key]) query[key] = filters[key];
  }
  if (filters.isDescending) query["order"] = "desc";
  return query;
}

/** Filters that decide which rows there are, apart from those the counts are links to. */
function matchesScope(kiosk: Kiosk, filters: Filters): boolean {
  if (filters.area !== "" && kiosk.area !== filters.area) return false;
  if (filters.floor !== "" && kiosk.floor !== filters.floor) return false;
  if (filters.lost !== "" && !hasLost(kiosk, filters.lost)) return false;
  return filters.q === "" || matchesText(kiosk, filters.q);
}

function matchesText(kiosk: Kiosk, q: string): boolean {
  const texts = [kiosk.kid, kiosk.asset_no, kiosk.serial ?? "", kiosk.place, kiosk.area, kiosk.agent_version ?? ""];
  const haystack = texts.join("\n").toLowerCase();
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}

function matchesCounts(kiosk: Kiosk, filters: Filters): boolean {
  if (filters.presence !== "" && kiosk.presence !== filters.presence) return false;
  if (filters.state !== "" && kiosk.state !== filters.state) return false;
  if (filters.alarm === "critical") return kiosk.alarm_worst === "critical";
  return filters.alarm === "" || kiosk.alarms_open > 0;
}

export interface Counts {
  all: number;
  presence: Record<Presence, number>;
  alarm: Record<AlarmFilter, number>;
  quarantined: number;
}

export interface Selection {
  rows: Kiosk[];
  /** Of the rows in scope, before the filter each count is a link to: a count is the length of its list. */
  counts: Counts;
}

/** The rows to show, in order, and the counts beside them. */
export function select(kiosks: Iterable<Kiosk>, filters: Filters): Selection {
  const presence = Object.fromEntries(PRESENCES.map((state) => [state, 0])) as Record<Presence, number>;
  const counts: Counts = { all: 0, presence, alarm: { any: 0, critical: 0 }, quarantined: 0 };
  const rows: Kiosk[] = [];
  for (const kiosk of kiosks) {
    if (!matchesScope(kiosk, filters)) continue;
    counts.all += 1;
    presence[kiosk.presence] += 1;
    if (kiosk.alarms_open > 0) counts.alarm.any += 1;
    if (kiosk.alarm_worst === "critical") counts.alarm.critical += 1;
    if (kiosk.state === "quarantined") counts.quarantined += 1;
    if (matchesCounts(kiosk, filters)) rows.push(kiosk);
  }
  rows.sort(comparator(filters.sort, filters.isDescending));
  return { rows, counts };
}

type Value = number | string | null | undefined;

const VALUES: Readonly<Record<SortKey, (kiosk: Kiosk) => Value>> = {
  attention: attentionRank,
  kid: (kiosk) => kiosk.kid,
  place: whereabouts,
  presence: (kiosk) => PRESENCES.indexOf(kiosk.presence),
  alarms: (kiosk) => kiosk.alarms_open,
  activity: (kiosk) => kiosk.activity,
  cpu_percent: (kiosk) => kiosk.cpu_percent,
  memory_percent: (kiosk) => kiosk.memory_percent,
  disk_percent: (kiosk) => kiosk.disk_percent,
  temperature_c: (kiosk) => kiosk.temperature_c,
  clock_offset_s: (kiosk) => (kiosk.clock_offset_s == null ? null : Math.abs(kiosk.clock_offset_s)),
  heard: (kiosk) => (kiosk.heardMs === null ? null : -kiosk.heardMs),
};

/** Rows without a value stay at the end either way; equal ones are in the order of their names. */
export function comparator(sort: SortKey, isDescending: boolean): (a: Kiosk, b: Kiosk) => number {
  const value = VALUES[sort];
  const sign = isDescending ? -1 : 1;
  return (a, b) => {
    const left = value(a);
    const right = value(b);
    if (left == null || right == null) {
      if (left != null) return -1;
      if (right != null) return 1;
    } else if (left < right) return -sign;
    else if (left > right) return sign;
    return a.kid < b.kid ? -1 : a.kid > b.kid ? 1 : 0;
  };
}
