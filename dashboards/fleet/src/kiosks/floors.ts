/** The floor plan without a drawing: kiosks of one floor on a grid that keeps their places relative to each other. */
import type { Kiosk } from "./model";

export interface Floor {
  area: string;
  floor: string;
  kiosks: Kiosk[];
}

export interface Spot {
  kid: string;
  column: number;
  line: number;
}

export interface Plan {
  columns: number;
  lines: number;
  spots: Spot[];
}

/** Kiosks by area and floor; areas by name, floors from the basement up. */
export function byFloor(kiosks: Iterable<Kiosk>): Floor[] {
  const floors = new Map<string, Floor>();
  for (const kiosk of kiosks) {
    const key = `${kiosk.area}\n${kiosk.floor}`;
    const floor = floors.get(key) ?? { area: kiosk.area, floor: kiosk.floor, kiosks: [] };
    floor.kiosks.push(kiosk);
    floors.set(key, floor);
  }
  return [...floors.values()].sort(
    (a, b) => compareText(a.area, b.area) || floorNumber(a.floor) - floorNumber(b.floor) || compareText(a.floor, b.floor),
  );
}

const collator = new Intl.Collator("zh-CN", { numeric: true });

/** Names as a Chinese reader orders them, numbers by their value. */
export function compareText(a: string, b: string): number {
  return collator.compare(a, b);
}

/** `3F`, `3`, `3楼` are 3; `B1`, `-1` are -1. */
export function floorNumber(floor: string): number {
  const match = /(\d+)/.exec(floor);
  if (match === null) return Number.POSITIVE_INFINITY;
  const number = Number(match[1]);
  return /^(b|-|负|地下)/i.test(floor.trim()) ? -number : number;
}

/** Gives every kiosk a cell of its own, as near as possible to where it stands; without coordinates in order of names. */
export function plan(kiosks: readonly Kiosk[], columns: number): Plan {
  const placed = kiosks.filter(hasPlace);
  const across = extent(placed.map((kiosk) => kiosk.x));
  const down = extent(placed.map((kiosk) => kiosk.y));
  const lines = linesFor(kiosks.length, columns, across.length === 0 ? 0 : down.length / across.length);
  const taken = new Set<number>();
  const spots: Spot[] = [];
  for (const kiosk of [...kiosks].sort(readingOrder)) {
    const column = hasPlace(kiosk) ? across.step(kiosk.x, columns) : 0;
    const line = hasPlace(kiosk) ? down.step(kiosk.y, lines) : 0;
    const cell = nearestFree(column, line, columns, lines, taken);
    taken.add(cell);
    spots.push({ kid: kiosk.kid, column: cell % columns, line: Math.floor(cell / columns) });
  }
  return { columns, lines, spots };
}

type Placed = Kiosk & { x: number; y: number };

function hasPlace(kiosk: Kiosk): kiosk is Placed {
  return kiosk.x != null && kiosk.y != null;
}

/** Enough lines for everybody, and one more where the shape of the floor asks for it. */
function linesFor(count: number, columns: number, heightOfWidth: number): number {
  const needed = Math.max(1, Math.ceil(count / columns));
  const byShape = Math.round((columns - 1) * heightOfWidth) + 1;
  return Math.max(needed, Math.min(byShape, needed + 1));
}

interface Extent {
  length: number;
  /** Which of `count` equal steps a value is on. */
  step(value: number, count: number): number;
}

function extent(values: readonly number[]): Extent {
  const start = Math.min(...values);
  const length = values.length === 0 ? 0 : Math.max(...values) - start;
  return {
    length,
    step: (value, count) => (length === 0 ? 0 : Math.round(((value - start) / length) * (count - 1))),
  };
}

/** Placed kiosks first, so that those without coordinates fill what is left. */
function readingOrder(a: Kiosk, b: Kiosk): number {
  const isPlaced = Number(hasPlace(b)) - Number(hasPlace(a));
  return isPlaced || (a.y ?? 0) - (b.y ?? 0) || (a.x ?? 0) - (b.x ?? 0) || compareText(a.kid, b.kid);
}

function nearestFree(column: number, line: number, columns: number, lines: number, taken: ReadonlySet<number>): number {
  let best = -1;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (let cell = 0; cell < columns * lines; cell += 1) {
    if (taken.has(cell)) continue;
    const distance = ((cell % columns) - column) ** 2 + (Math.floor(cell / columns) - line) ** 2;
    if (distance < bestDistance) {
      best = cell;
      bestDistance = distance;
    }
  }
  return best;
}

/** The part of a kiosk's name that tells it from its neighbours: `021` of `zzj-021`. */
export function shortName(kid: string): string {
  return /[^-]+$/.exec(kid)?.[0].slice(-5) ?? kid;
}
