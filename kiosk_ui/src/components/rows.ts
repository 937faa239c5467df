/** How many rows of a list fit into the action zone; pure, so that no list is ever cut off by a layout nobody looked at. */

export interface Room {
  rowRem: number;
  spareRem: number;
  isElder: boolean;
  isLow: boolean;
  isPortrait?: boolean;
}

/** Height of the zone in rem without frame, navigation and pager: [standard, elder]. */
const PORTRAIT: Readonly<Record<"usual" | "low", readonly [number, number]>> = { usual: [24, 15.7], low: [15.8, 9.4] };
const LANDSCAPE: readonly [number, number] = [18.8, 11.6];

export function rowsThatFit({ rowRem, spareRem, isElder, isLow, isPortrait = isPortraitNow() }: Room): number {
  const zone = isPortrait ? PORTRAIT[isLow ? "low" : "usual"] : LANDSCAPE;
  return Math.max(1, Math.floor((zone[isElder ? 1 : 0] - spareRem) / rowRem));
}

function isPortraitNow(): boolean {
  return window.innerHeight >= window.innerWidth;
}
