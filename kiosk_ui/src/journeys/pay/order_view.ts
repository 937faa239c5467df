/** What a given order shows to the patient, and what they may do. Pure: the same order is always the same screen. */
import type { Fulfilment, Money, Order, Posting } from "../../platform/types";

export type Stage =
  | "choose" // how do you want to pay?
  | "scan" // a code on this screen, to be scanned with a phone
  | "on_phone" // confirm on your phone
  | "wait"
  | "posting" // the money is there, the hospital does not know yet
  | "closing" // the payment is being closed, and what may have been paid meanwhile goes back
  | "unknown" // being verified, do not pay again
  | "settled"
  | "refunding"
  | "refunded"
  | "ended" // over without a payment
  | "ask_staff";

export type Tick = "waiting" | "running" | "done" | "problem";

export interface Ticks {
  money: Tick;
  posting: Tick;
  fulfilment: Tick;
}

const IN_FLIGHT: ReadonlySet<Money> = new Set<Money>(["submitted", "pending", "unknown", "reversing", "reverse_unknown"]);
const BEING_POSTED: ReadonlySet<Posting> = new Set<Posting>(["ready", "posting"]);
const CLOSING: ReadonlySet<Money> = new Set<Money>(["reversing", "reverse_unknown"]);
const OVER: ReadonlySet<Order["advice"]> = new Set<Order["advice"]>(["done", "refunded", "ended"]);
/** Reasons for which a payment is closed without anything being unclear. */
const CLOSED_FOR: ReadonlySet<string | null> = new Set(["cancelled", "timed_out", "code_expired"]);

/** Money is on its way: no time-out, no way home, nothing that invites to pay once more. */
export function isMoneyPending(order: Order): boolean {
  return isCollecting(order) || (order.money === "paid" && BEING_POSTED.has(order.posting));
}

/** An attempt that was taken and is not sent yet is on its way too: `created`, and the advice is to wait. */
function isCollecting(order: Order): boolean {
  return IN_FLIGHT.has(order.money) || (order.money === "created" && order.advice === "wait");
}

/** Whether the patient and the page still have something to do with this order after a reload. */
export function isUnfinished(order: Order): boolean {
  if (order.advice === "print") return order.fulfilment === "waiting" || order.fulfilment === "printing";
  return !OVER.has(order.advice);
}

export function stageOf(order: Order, isReachable = true): Stage {
  if (isBeingVerified(order, isReachable)) return "unknown";
  if (CLOSING.has(order.money)) return CLOSED_FOR.has(order.reason) ? "closing" : "unknown";
  if (order.advice === "show_code") return order.qr_text === null ? "wait" : "scan";
  if (order.advice === "wait" && order.money === "paid") return "posting";
  return STAGE_OF_ADVICE[order.advice];
}

function isBeingVerified(order: Order, isReachable: boolean): boolean {
  return order.money === "unknown" || (!isReachable && isCollecting(order));
}

const STAGE_OF_ADVICE: Readonly<Record<Order["advice"], Stage>> = {
  pay: "choose",
  confirm_on_phone: "on_phone",
  show_code: "scan",
  wait: "wait",
  do_not_pay_again: "unknown",
  print: "settled",
  done: "settled",
  refunding: "refunding",
  refunded: "refunded",
  ended: "ended",
  ask_staff: "ask_staff",
};

const MONEY: Readonly<Record<Money, Tick>> = {
  created: "waiting",
  submitted: "running",
  pending: "running",
  unknown: "running",
  paid: "done",
  failed: "problem",
  reversing: "running",
  reverse_unknown: "running",
  closed: "problem",
  reversed: "problem",
  late_paid: "problem",
  manual: "problem",
};
const POSTING: Readonly<Record<Posting, Tick>> = {
  not_ready: "waiting",
  ready: "running",
  posting: "running",
  posted: "done",
  post_unknown: "running",
  rejected: "problem",
  manual: "problem",
};
const FULFILMENT: Readonly<Record<Fulfilment, Tick>> = {
  none: "waiting",
  waiting: "running",
  printing: "running",
  printed: "done",
  failed: "problem",
  uncertain: "problem",
};

/** 收款 → 入账 → 打印. */
export function ticksOf(order: Order): Ticks {
  return { money: MONEY[order.money], posting: POSTING[order.posting], fulfilment: FULFILMENT[order.fulfilment] };
}

const WITHOUT_CASE: ReadonlySet<Stage> = new Set<Stage>(["choose", "scan", "on_phone", "ended", "settled"]);

/** Whether a case number helps: whenever somebody may have to look the order up. */
export function needsCaseNumber(stage: Stage): boolean {
  return !WITHOUT_CASE.has(stage);
}

/** How long a patient is kept who wants to go while something is being verified; then one button lets them. */
export const KEPT_MS = 120_000;

/** Whether the patient may go: nothing is on its way, or it has taken so long that the number has to do. */
export function mayGo(order: Order, stage: Stage, lastedMs: number): boolean {
  if (stage === "settled") return false; // the screen goes on by itself
  return !isMoneyPending(order) || (stage !== "scan" && stage !== "on_phone" && lastedMs >= KEPT_MS);
}

/** Reasons after which trying the same once more cannot help. */
const IN_VAIN: ReadonlySet<string | null> = new Set(["bill_void", "bill_paid", "doctor_stopped", "his_refused", "wrong_amount"]);

export function canTryAgain(order: Order): boolean {
  return stageOf(order) === "ended" && !IN_VAIN.has(order.reason);
}

/** Orders of before a reload that this screen goes on with: recent, unfinished, and not left by the patient. */
export function orderToResume(orders: readonly Order[], nowMs: number, left: ReadonlySet<string>): Order | null {
  const candidates = orders
    .filter((order) => isUnfinished(order) && !left.has(order.order))
    .filter((order) => nowMs - Date.parse(order.created_at) <= RESUME_MS)
    .sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at));
  return candidates.find(isMoneyPending) ?? candidates[0] ?? null;
}

/** The patient of an older order is not in front of the kiosk any more. */
export const RESUME_MS = 15 * 60_000;
