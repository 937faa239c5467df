import { describe, expect, it } from "vitest";

import {
  canTryAgain,
  KEPT_MS,
  mayGo,
  isMoneyPending,
  isUnfinished,
  needsCaseNumber,
  orderToResume,
  RESUME_MS,
  stageOf,
  ticksOf,
} from "../src/journeys/pay/order_view";
import type { Advice, Money, Order, Posting } from "../src/platform/types";
import { anOrder, at, START_MS } from "./samples";

const MONEY: Money[] = ["created", "submitted", "pending", "unknown", "paid", "failed", "reversing", "reverse_unknown", "closed", "reversed", "late_paid", "manual"];
const POSTING: Posting[] = ["not_ready", "ready", "posting", "posted", "post_unknown", "rejected", "manual"];
const ADVICE: Advice[] = ["pay", "confirm_on_phone", "show_code", "wait", "do_not_pay_again", "print", "done", "refunding", "refunded", "ended", "ask_staff"];

const every: Order[] = MONEY.flatMap((money) =>
  POSTING.flatMap((posting) => ADVICE.map((advice) => anOrder({ money, posting, advice }))),
);

describe("an order on the screen", () => {
  it.each<[string, Partial<Order>, string]>([
    ["asks how to pay", {}, "choose"],
    ["shows the code", { money: "pending", method: "qr_code", qr_text: "weixin://x", advice: "show_code" }, "scan"],
    ["asks for the password", { money: "pending", advice: "confirm_on_phone" }, "on_phone"],
    ["waits", { money: "submitted", advice: "wait" }, "wait"],
    ["warns", { money: "unknown", advice: "do_not_pay_again" }, "unknown"],
    ["warns, whatever is advised", { money: "unknown", advice: "pay" }, "unknown"],
    ["warns rather than showing a code", { money: "pending", qr_text: "x", advice: "do_not_pay_again" }, "unknown"],
    ["goes to the paper", { money: "paid", posting: "posted", advice: "print" }, "settled"],
    ["is done", { money: "paid", posting: "posted", fulfilment: "printed", advice: "done" }, "settled"],
    ["tells of the refund", { money: "paid", posting: "rejected", advice: "refunded", refunded_fen: 12_350 }, "refunded"],
    ["asks again after a code that did not work", { money: "failed", advice: "pay", reason: "insufficient" }, "choose"],
    ["says that it is over", { money: "closed", advice: "ended", reason: "cancelled" }, "ended"],
    ["closes what was cancelled", { money: "reversing", advice: "do_not_pay_again", reason: "cancelled" }, "closing"],
    ["verifies what is reversed for another reason", { money: "reversing", advice: "do_not_pay_again" }, "unknown"],
    ["has the money and books it", { money: "paid", posting: "posting", advice: "wait" }, "posting"],
    ["gives back", { money: "paid", posting: "rejected", advice: "refunding" }, "refunding"],
    ["sends to the counter", { money: "manual", advice: "ask_staff" }, "ask_staff"],
    ["shows no code of a closed order", { money: "closed", qr_text: "weixin://x", advice: "ended" }, "ended"],
  ])("%s", (_name, but, stage) => {
    expect(stageOf(anOrder(but))).toBe(stage);
  });

  it("says do not pay again as soon as nobody answers while money is on its way", () => {
    for (const money of ["submitted", "pending", "unknown", "reversing", "reverse_unknown"] as const) {
      expect(stageOf(anOrder({ money, qr_text: "weixin://x", advice: "show_code" }), false)).toBe("unknown");
    }
    expect(stageOf(anOrder(), false)).toBe("choose");
  });

  it("never asks to pay while money is on its way and the platform does not say so", () => {
    for (const order of every.filter((one) => isMoneyPending(one) && one.advice !== "pay")) {
      expect(stageOf(order)).not.toBe("choose");
    }
  });

  it("names the case wherever somebody may have to look it up", () => {
    expect(["unknown", "ask_staff", "refunding", "refunded", "wait", "posting", "closing"].every((stage) => needsCaseNumber(stage as never))).toBe(true);
    expect(needsCaseNumber("choose")).toBe(false);
  });

  it("has three ticks", () => {
    expect(ticksOf(anOrder())).toEqual({ money: "waiting", posting: "waiting", fulfilment: "waiting" });
    expect(ticksOf(anOrder({ money: "paid", posting: "posting" }))).toEqual({
      money: "done",
      posting: "running",
      fulfilment: "waiting",
    });
    expect(ticksOf(anOrder({ money: "paid", posting: "posted", fulfilment: "failed" }))).toEqual({
      money: "done",
      posting: "done",
      fulfilment: "problem",
    });
  });

  it("offers another try only where that can help", () => {
    expect(canTryAgain(anOrder({ money: "closed", advice: "ended", reason: "timed_out" }))).toBe(true);
    expect(canTryAgain(anOrder({ money: "closed", advice: "ended", reason: "bill_void" }))).toBe(false);
    expect(canTryAgain(anOrder({ money: "manual", advice: "ask_staff" }))).toBe(false);
  });
});

describe("money on its way", () => {
  it("is everything between the submission and the posting", () => {
    const pending = every.filter(isMoneyPending).map(({ money, posting }) => `${money} ${posting}`);
    expect([...new Set(pending)].filter((state) => state.startsWith("paid"))).toEqual(["paid ready", "paid posting"]);
    expect(isMoneyPending(anOrder({ advice: "wait" }))).toBe(true);
    expect(isMoneyPending(anOrder({ advice: "pay" }))).toBe(false);
    for (const money of ["failed", "closed", "reversed", "late_paid", "manual"]) {
      expect(pending.some((state) => state.startsWith(`${money} `))).toBe(false);
    }
  });
});

describe("a patient who wants to go", () => {
  it("may as soon as nothing is on its way", () => {
    expect(mayGo(anOrder({ money: "paid", posting: "post_unknown", advice: "wait" }), "posting", 0)).toBe(true);
    expect(mayGo(anOrder({ money: "paid", posting: "posting", advice: "wait" }), "posting", 0)).toBe(false);
    expect(mayGo(anOrder(), "choose", 0)).toBe(true);
  });

  it("may with the number after a while, but never while a code can still be paid", () => {
    const unknown = anOrder({ money: "unknown", advice: "do_not_pay_again" });
    expect(mayGo(unknown, "unknown", KEPT_MS - 1)).toBe(false);
    expect(mayGo(unknown, "unknown", KEPT_MS)).toBe(true);
    expect(mayGo(anOrder({ money: "pending" }), "scan", 10 * KEPT_MS)).toBe(false);
  });
});

describe("after a reload", () => {
  const now = START_MS + 60_000;
  const none = new Set<string>();

  it("goes on with what is on its way rather than with what was only begun", () => {
    const begun = anOrder({ order: "o-2", created_at: at(50) });
    const pending = anOrder({ order: "o-1", money: "pending", created_at: at(10) });
    expect(orderToResume([begun, pending], now, none)?.order).toBe("o-1");
    expect(orderToResume([begun], now, none)?.order).toBe("o-2");
    expect(orderToResume([], now, none)).toBeNull();
  });

  it("says again where to go with an order that needs a person", () => {
    expect(orderToResume([anOrder({ money: "manual", advice: "ask_staff" })], now, none)?.order).toBe("o-1");
    expect(orderToResume([anOrder({ money: "paid", posting: "post_unknown", advice: "wait" })], now, none)?.order).toBe("o-1");
  });

  it("prints what was paid and not printed yet", () => {
    const order = anOrder({ money: "paid", posting: "posted", fulfilment: "printing", is_settled: true, advice: "print" });
    expect(isUnfinished(order)).toBe(true);
    expect(isUnfinished({ ...order, fulfilment: "printed" })).toBe(false);
  });

  it("shows nobody an order whose patient has gone", () => {
    const pending = anOrder({ money: "unknown" });
    expect(orderToResume([pending], now, new Set(["o-1"]))).toBeNull();
    expect(orderToResume([pending], START_MS + RESUME_MS + 1, none)).toBeNull();
    expect(orderToResume([anOrder({ money: "closed", advice: "ended" })], now, none)).toBeNull();
  });
});
