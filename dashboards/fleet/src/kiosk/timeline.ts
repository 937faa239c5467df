/** Presence edges as pieces of a bar, and what they add up to. */
import type { Presence } from "../kiosks/model";
import type { Schemas } from "../server";

type Edge = Schemas["PresenceTimeline"]["edges"][number];

export interface Piece {
  presence: Presence;
  reason: string | null;
  startMs: number;
  endMs: number;
  isOpen: boolean;
}

/** Cuts the edges to the window; what is not covered by any is left out. */
export function pieces(edges: readonly Edge[], fromMs: number, toMs: number): Piece[] {
  return edges
    .map((edge): Piece => ({
      presence: edge.presence,
      reason: edge.reason ?? null,
      startMs: Math.max(fromMs, Date.parse(edge.since)),
      endMs: Math.min(toMs, edge.until == null ? toMs : Date.parse(edge.until)),
      isOpen: edge.until == null,
    }))
    .filter((piece) => piece.endMs > piece.startMs)
    .sort((a, b) => a.startMs - b.startMs);
}

const REACHABLE: ReadonlySet<Presence> = new Set<Presence>(["online", "unstable"]);
/** Time in these says nothing about the kiosk. */
const UNKNOWN: ReadonlySet<Presence> = new Set<Presence>(["unknown", "never"]);

/** The share of the known time in which the kiosk could be reached, in percent; null when nothing is known. */
export function reachablePercent(found: readonly Piece[]): number | null {
  let known = 0;
  let reachable = 0;
  for (const piece of found) {
    const length = piece.endMs - piece.startMs;
    if (!UNKNOWN.has(piece.presence)) known += length;
    if (REACHABLE.has(piece.presence)) reachable += length;
  }
  return known === 0 ? null : (100 * reachable) / known;
}

/** Moments for the axis below: whole hours or midnights, at most `limit` of them. */
export function ticks(fromMs: number, toMs: number, limit: number): number[] {
  const steps = [300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800];
  const step = (steps.find((seconds) => (toMs - fromMs) / 1_000 / seconds <= limit) ?? 604_800) * 1_000;
  const zoneMs = new Date(fromMs).getTimezoneOffset() * 60_000;
  const found: number[] = [];
  for (let at = Math.ceil((fromMs - zoneMs) / step) * step + zoneMs; at < toMs; at += step) found.push(at);
  return found;
}
