/**
 * The messages of the device API: the envelope of XFS4IoT (CWA 17852), typed by the agent's AsyncAPI document.
 *
 * `docs/device-api.md` says what they mean.
 */
import type { components } from "./kiosk_agent";

export type DeviceSchemas = components["schemas"];
export type Verbs = DeviceSchemas["Verbs"];
export type VerbName = keyof Verbs;
export type RequestOf<N extends VerbName> = Verbs[N]["request"];
export type ResultOf<N extends VerbName> = Verbs[N]["result"];

type Events<N extends VerbName> = Verbs[N]["events"];
/** What a command may say before it ends, discriminated by `name`. */
export type EventOf<N extends VerbName> = {
  [E in keyof Events<N> & string]: { name: E; payload: Events<N>[E] };
}[keyof Events<N> & string];

type Unsolicited = DeviceSchemas["Unsolicited"];
/** What belongs to no command, discriminated by `name`. */
export type News = { [E in keyof Unsolicited & string]: { name: E; payload: Unsolicited[E] } }[keyof Unsolicited &
  string];

export const PROTOCOL = "kiosk.v1";
export const TOKEN_PREFIX = "token.";
export const PATH = "/api/v1/devices";

export interface Header {
  name: string;
  type: "acknowledge" | "event" | "completion" | "unsolicited";
  requestId?: number;
  status?: string;
  completionCode?: string;
  errorDescription?: string;
}

export interface Message {
  header: Header;
  payload: Record<string, unknown>;
}

const TYPES: ReadonlySet<unknown> = new Set(["acknowledge", "event", "completion", "unsolicited"]);

/** Reads a message of the agent; null for what this version does not know. */
export function parseMessage(text: string): Message | null {
  const found = parseObject(text);
  const header = found?.["header"];
  if (!isObject(header) || typeof header["name"] !== "string" || !TYPES.has(header["type"])) return null;
  const payload = found?.["payload"];
  return { header: header as unknown as Header, payload: isObject(payload) ? payload : {} };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const found: unknown = JSON.parse(text);
    return isObject(found) ? found : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
