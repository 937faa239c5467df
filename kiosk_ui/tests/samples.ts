/** Orders, bills and statuses as the platform would answer, with what a test wants to be different. */
import type { Order, PlatformStatus } from "../src/platform/types";

export const START_MS = Date.parse("2026-03-18T02:00:00Z");
export const at = (seconds: number): string => new Date(START_MS + seconds * 1_000).toISOString();

export function anOrder(but: Partial<Order> = {}): Order {
  return {
    order: "o-1",
    version: 1,
    case_number: "8341",
    business: "bill",
    session: "s-1",
    amount_fen: 12_350,
    channel: null,
    method: null,
    money: "created",
    posting: "not_ready",
    fulfilment: "none",
    qr_text: null,
    expires_at: null,
    is_settled: false,
    can_cancel: true,
    advice: "pay",
    reason: null,
    refunded_fen: 0,
    created_at: at(0),
    ...but,
  };
}

export function aStatus(but: Partial<PlatformStatus> = {}): PlatformStatus {
  const methods: PlatformStatus["channels"][number]["methods"] = ["payment_code", "qr_code"];
  return {
    now: at(0),
    hospital: "样例医院",
    campus: "蓉江院区",
    functions: [
      { function: "register", is_open: true, reason: null },
      { function: "pay_bill", is_open: true, reason: null },
    ],
    channels: [
      { channel: "wechat", is_open: true, methods, reason: null },
      { channel: "alipay", is_open: true, methods, reason: null },
    ],
    ...but,
  };
}
