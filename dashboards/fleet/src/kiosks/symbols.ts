/** One shape per presence on a 16 x 16 grid: colour is never the only cue. */
import type { Presence } from "./model";

export interface PresenceShape {
  path: string;
  /** Drawn as a line instead of a filled form. */
  isLine?: boolean;
  dashes?: string;
}

export const SHAPES: Readonly<Record<Presence, PresenceShape>> = {
  online: { path: "M8 2.8a5.2 5.2 0 1 0 0 10.4a5.2 5.2 0 0 0 0-10.4z" },
  unstable: {
    path: "M8 1.6L15 14H1zM7.2 5.8v4.2h1.6V5.8zM7.2 11.2v1.5h1.6v-1.5z",
  },
  offline: {
    path: "M4.2 2.2L8 6l3.8-3.8 2 2L10 8l3.8 3.8-2 2L8 10l-3.8 3.8-2-2L6 8 2.2 4.2z",
  },
  planned: { path: "M3.6 2.8h3.2v10.4H3.6zM9.2 2.8h3.2v10.4H9.2z" },
  unknown: { path: "M5.1 5.9a2.9 2.9 0 1 1 4.5 2.4C8.5 9 8 9.5 8 10.6M8 12.7v1", isLine: true },
  never: { path: "M8 3a5 5 0 1 0 0 10a5 5 0 0 0 0-10z", isLine: true, dashes: "2.2 1.9" },
};
