/** From the platform's paper to a print job, and from the agent's answer to what the platform is told. Pure. */
import type { CommandFailed } from "@kiosk/web-kit/devices/failure";
import type { RequestOf } from "@kiosk/web-kit/devices/protocol";

import type { FulfilmentReport, Order, ReceiptPaper } from "../../platform/types";

export type PrintOutcome = FulfilmentReport & { state: "printed" | "failed" | "uncertain" };
type PrintJob = RequestOf<"Printer.Print">;

/** The key is the order's: after a reload it is the same job. Another attempt is another key. */
export function printRequest(order: Order, receipt: ReceiptPaper, attempt: number): PrintJob {
  const key = attempt === 0 ? `order-${order.order}` : `order-${order.order}-${attempt}`;
  const kind = receipt.template === "registration_ticket" ? "ticket" : "receipt";
  return { key, kind, paper: { paper: receipt.template, fields: receipt.fields, lines: receipt.lines } };
}

const WITHOUT_PAPER: ReadonlySet<string> = new Set([
  "failed",
  "cancelled",
  "noSuchComponent",
  "componentNeeded",
  "journalDown",
]);

/** What became of the job; null when the agent has to be asked once more. */
export function outcomeOf(error: CommandFailed): PrintOutcome | null {
  const reason = error.detail ?? error.errorCode ?? error.reason;
  if (error.errorCode === "unknown") return { state: "uncertain", reason };
  if (error.isUntouched && error.reason !== "not_connected") return { state: "failed", reason };
  if (error.errorCode !== null && WITHOUT_PAPER.has(error.errorCode)) return { state: "failed", reason };
  if (error.reason === "connection_lost" || error.reason === "not_connected") return null;
  return { state: "uncertain", reason };
}

/** What became of a job that was there already; one that nobody knows was never taken. */
export function outcomeOfJob(state: string | null): PrintOutcome {
  if (state === "printed") return { state };
  if (state === null || state === "failed" || state === "cancelled") return { state: "failed", reason: state ?? "refused" };
  return { state: "uncertain", reason: state };
}
