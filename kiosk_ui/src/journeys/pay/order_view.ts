/** What a given order shows to the patient, and what they may do. Pure: the same order is always the same screen. */
import type { Fulfilment, Money, Order, Posting } from "../../platform/types";

export type Stage =
  | "choose" // how do you want to pay?
  | "scan" // a code on this screen, to be scanned with a phone
  | "on_phone" // confirm on your phone
  | "wait"
  | "unknown" // being verified, do not pay again
  | "settled"
  | "refunded"
  | "failed"
  | "ask_staff";

export type Tick = "waiting" | "running" | "done" | "problem";

export interface Ticks {
  money: Tick;
  posting: Tick;
  fulfilment: Tick;
}

const IN_FLIGHT: ReadonlySet<Money> = new Set<Money>(["submitted", "pending", "unknown", "reversing"]);
const BEING_POSTED: ReadonlySet<Posting> = new Set<Posting>(["ready", "posting"]);
const UNPAID_CODE: ReadonlySet<Money> = new Set<Money>(["created", "submitted", "pending"]);

/** Money is on its way: no time-out, no way home, nothing that invites to pay once more. */
export function isMoneyPending(order: Order): boolean {
  return IN_FLIGHT.has(order.money) || (order.money === "paid" && BEING_POSTED.has(order.posting));
}

/** Whether the patient and the page still have something to do with this order after a reload. */
export function isUnfinished(order: Order): boolean {
  if (order.money === "created" || isMoneyPending(order)) return true;
  return order.is_settled && (order.fulfilment === "waiting" || order.fulfilment === "printing");
}

export function stageOf(order: Order, isReachable = true): Stage {
  const isOpen = IN_FLIGHT.has(order.money);
  if (isOpen && !isReachable) return "unknown";
  if (order.advice === "do_not_pay_again" || order.money === "unknown") return "unknown";
  if (order.qr_text !== null && UNPAID_CODE.has(order.money)) return "scan";
  return STAGE_OF_ADVICE[order.advice];
}

const STAGE_OF_ADVICE: Readonly<Record<Order["advice"], Stage>> = {
  pay: "choose",
  show_code_on_phone: "on_phone",
  wait: "wait",
  do_not_pay_again: "unknown",
  print: "settled",
  done: "settled",
  refunded: "refunded",
  failed: "failed",
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
  closed: "problem",
  reversed: "problem",
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

/** Whether a case number helps: whenever somebody may have to look the order up. */
export function needsCaseNumber(stage: Stage): boolean {
  return stage === "unknown" || stage === "ask_staff" || stage === "refunded" || stage === "wait";
}

/** Reasons after which the same business may simply be tried once more. */
const MAY_TRY_AGAIN: ReadonlySet<string | null> = new Set([
  null,
  "code_expired",
  "code_used",
  "insufficient",
  "cancelled",
  "timed_out",
  "channel_down",
  "bill_changed",
]);

export function canTryAgain(order: Order): boolean {
  return stageOf(order) === "failed" && MAY_TRY_AGAIN.has(order.reason ?? null);
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
