/** The messages of the live channel: a snapshot once, then whole changed rows by sequence number. */

export type Row = Readonly<Record<string, unknown>>;

export interface Snapshot {
  t: "snap";
  topic: string;
  seq: number;
  rows: Row[];
}

export interface Delta {
  t: "d";
  topic: string;
  seq: number;
  /** The sequence number this message follows; without it messages are numbered without gaps. */
  prev?: number;
  rows: Row[];
  /** Keys of rows that are no more. */
  gone?: string[];
}

export interface Pulse {
  t: "ping" | "pong";
}

export type ServerMessage = Snapshot | Delta | Pulse;

export interface Subscription {
  topic: string;
  since?: number;
}

/** Reads a message; null for what this version does not know. */
export function parseMessage(text: string): ServerMessage | null {
  const found = parseObject(text);
  if (found === null) return null;
  if (found["t"] === "ping" || found["t"] === "pong") return { t: found["t"] };
  const isWhole = typeof found["topic"] === "string" && typeof found["seq"] === "number" && Array.isArray(found["rows"]);
  const isRows = found["t"] === "snap" || found["t"] === "d";
  return isRows && isWhole ? (found as unknown as Snapshot | Delta) : null;
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" ? (found as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}
