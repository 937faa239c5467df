/** Options of one telemetry chart: the average as a line, the range from minimum to maximum as a band behind it. */
import type { EChartsCoreOption } from "echarts/core";

import type { Schemas } from "../server";

type Point = Schemas["Point"];

export interface ChartLook {
  line: string;
  text: string;
  grid: string;
  surface: string;
  fontFamily: string;
}

export interface ChartInput {
  points: readonly Point[];
  bucketS: number;
  fromMs: number;
  toMs: number;
  unit: string;
  /** Fixed ends of the value axis; open ones follow the data. */
  floor: number | null;
  ceiling: number | null;
  look: ChartLook;
  texts: { tick(at: number): string; tip(point: Point): string };
}

export interface Rows {
  average: [number, number | null][];
  lower: [number, number | null][];
  band: [number, number | null][];
}

/** Kiosks sample every 30 s; two lost samples are no gap. */
const SHORTEST_GAP_S = 95;

/** Points as rows; where more than two buckets are missing the line is broken instead of bridged. */
export function rowsOf(points: readonly Point[], bucketS: number): Rows {
  const rows: Rows = { average: [], lower: [], band: [] };
  const gapMs = Math.max(SHORTEST_GAP_S, bucketS * 2.5) * 1_000;
  let previousMs = Number.NaN;
  for (const point of points) {
    const at = Date.parse(point.at);
    if (at - previousMs > gapMs) {
      for (const row of [rows.average, rows.lower, rows.band]) row.push([previousMs + bucketS * 1_000, null]);
    }
    rows.average.push([at, point.avg]);
    rows.lower.push([at, point.min]);
    rows.band.push([at, point.max - point.min]);
    previousMs = at;
  }
  return rows;
}

/** Points between two gaps make no line: they are drawn as dots. */
export function lonely(row: Rows["average"]): Rows["average"] {
  const isThere = (index: number): boolean => row[index]?.[1] != null;
  return row.filter((_, index) => isThere(index) && !isThere(index - 1) && !isThere(index + 1));
}

export interface Summary {
  average: number;
  minimum: number;
  maximum: number;
}

export function summaryOf(points: readonly Point[]): Summary | null {
  if (points.length === 0) return null;
  const sum = points.reduce((total, point) => total + point.avg, 0);
  return {
    average: sum / points.length,
    minimum: Math.min(...points.map((point) => point.min)),
    maximum: Math.max(...points.map((point) => point.max)),
  };
}

/** The given row nearest to a moment; charts ask for it while the pointer moves. */
export function nearest(points: readonly Point[], atMs: number): Point | undefined {
  let best: Point | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  for (const point of points) {
    const distance = Math.abs(Date.parse(point.at) - atMs);
    if (distance < bestMs) {
      best = point;
      bestMs = distance;
    }
  }
  return best;
}

export function chartOption(input: ChartInput): EChartsCoreOption {
  const { look, texts } = input;
  const rows = rowsOf(input.points, input.bucketS);
  const label = { color: look.text, fontSize: 11, fontFamily: look.fontFamily };
  const still = { type: "line", showSymbol: false, silent: true, animation: false } as const;
  return {
    animation: false,
    grid: { left: 42, right: 12, top: 10, bottom: 22 },
    xAxis: {
      type: "time",
      min: input.fromMs,
      max: input.toMs,
      splitNumber: 4,
      axisLine: { lineStyle: { color: look.grid } },
      axisTick: { show: false },
      axisLabel: { ...label, hideOverlap: true, formatter: (at: number) => texts.tick(at) },
      splitLine: { show: false },
    },
    yAxis: {
      type: "value",
      scale: input.floor === null,
      splitNumber: 3,
      ...(input.ceiling === 100 ? { interval: 25 } : {}),
      ...(input.floor === null ? {} : { min: input.floor }),
      ...(input.ceiling === null ? {} : { max: input.ceiling }),
      axisLabel: label,
      splitLine: { lineStyle: { color: look.grid } },
    },
    tooltip: {
      trigger: "axis",
      renderMode: "richText", // the other mode writes style attributes, which our policy forbids
      confine: true,
      backgroundColor: look.surface,
      borderColor: look.grid,
      textStyle: { color: look.text, fontSize: 12, lineHeight: 18, fontFamily: look.fontFamily },
      axisPointer: { lineStyle: { color: look.text, type: "dashed" } },
      formatter: (found: { axisValue?: number }[]) => {
        const point = nearest(input.points, found[0]?.axisValue ?? 0);
        return point === undefined ? "" : texts.tip(point);
      },
    },
    series: [
      { ...still, name: "lower", data: rows.lower, stack: "band", stackStrategy: "all", lineStyle: { opacity: 0 } },
      {
        ...still,
        name: "band",
        data: rows.band,
        stack: "band",
        stackStrategy: "all",
        lineStyle: { opacity: 0 },
        areaStyle: { color: look.line, opacity: 0.18 },
      },
      { ...still, name: "average", data: rows.average, lineStyle: { color: look.line, width: 1.6 } },
      { type: "scatter", name: "lonely", data: lonely(rows.average), symbolSize: 5, itemStyle: { color: look.line }, silent: true, animation: false },
    ],
  };
}
