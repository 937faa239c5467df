/** Why a command did not succeed. Everything but the first three is a word of the agent (CWA 17852). */
export type FailureReason =
  /** The socket was lost while the command was open: what became of it is unknown, it is never sent again. */
  | "connection_lost"
  /** There was no connection to send it on. */
  | "not_connected"
  /** The agent took it and said nothing in time. */
  | "no_answer"
  | "invalidMessage"
  | "invalidRequestID"
  | "tooManyRequests"
  | "commandErrorCode"
  | "canceled"
  | "deviceNotReady"
  | "hardwareError"
  | "internalError"
  | "invalidData"
  | "timeOut"
  | "unsupportedCommand"
  | "userError"
  | "sequenceError";

export interface FailureFacts {
  /** The code of a refusal or a fault: pages keep their texts under it. */
  errorCode?: string;
  /** Fields of the request that break its schema. */
  fields?: string[];
  /** For engineers, never for patients. */
  detail?: string;
}

export class CommandFailed extends Error {
  readonly errorCode: string | null;
  readonly fields: readonly string[];
  readonly detail: string | null;

  constructor(
    readonly verb: string,
    readonly reason: FailureReason,
    facts: FailureFacts = {},
  ) {
    super(`${verb}: ${facts.errorCode ?? reason}`);
    this.name = "CommandFailed";
    this.errorCode = facts.errorCode ?? null;
    this.fields = facts.fields ?? [];
    this.detail = facts.detail ?? null;
  }

  /** Whether nothing at all was done: the same command may be given again. */
  get isUntouched(): boolean {
    return UNTOUCHED.has(this.reason);
  }
}

const UNTOUCHED: ReadonlySet<FailureReason> = new Set([
  "not_connected",
  "invalidMessage",
  "invalidRequestID",
  "tooManyRequests",
  "invalidData",
  "unsupportedCommand",
] as const);
