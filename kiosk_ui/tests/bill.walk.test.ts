import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { CARD } from "./agent";
import { problem } from "./hospital";
import { anOrder, at } from "./samples";
import { Walk } from "./walk";

const WECHAT = { medium: "code", component: "scanner", text: "134567890123456789", kinds: ["wechat_pay"], fingerprint: "f" };
const PAID = { money: "paid", posting: "ready", advice: "wait", qr_text: null, can_cancel: false } as const;
const SETTLED = { money: "paid", posting: "posted", is_settled: true, fulfilment: "waiting", advice: "print" } as const;

let walk: Walk;
beforeEach(() => (walk = new Walk()));
afterEach(() => walk.end());

describe("paying a bill", () => {
  it("goes from the card to the receipt, and leaves nothing behind", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.toPay();
    expect(walk.text).toContain("¥123.50");
    expect(walk.title).toBe("请选择付款方式");
    agent.ends("BarcodeReader.Read", WECHAT);
    await walk.settled();
    expect(walk.title).toBe("请在手机上确认付款");
    hospital.becomes(PAID);
    await walk.advance(1_000);
    expect(walk.title).toBe("已收款，正在入账");
    hospital.becomes(SETTLED);
    await walk.advance(1_000);
    expect(walk.title).toBe("缴费成功");
    expect(walk.text).toContain("请取走凭条");
    expect(hospital.order?.fulfilment).toBe("printed");
    await walk.advance(1_000);
    await walk.press("完成");
    expect(walk.replaced).toEqual([[]]);
    expect(hospital.of("DELETE", "/sessions/s-1")).toHaveLength(1);
    const lease = agent.taken.filter(({ name }) => name.startsWith("Session.") && name !== "Session.Renew");
    expect(lease.map(({ name, payload }) => [name, payload["paying"]])).toEqual([
      ["Session.Begin", undefined],
      ["Session.Pay", true],
      ["Session.Pay", false],
      ["Session.End", undefined],
    ]);
    expect(walk.text).not.toContain("赵");
  });

  it("takes three touches after the card", async () => {
    await walk.start();
    await walk.toPay();
    await walk.press("微信支付");
    expect(walk.title).toBe("请用手机扫码付款");
    expect(document.querySelector("svg[role=img]")?.getAttribute("aria-label")).toBe("付款二维码");
    expect(walk.text).toContain("2:00");
  });

  it("asks for nobody's bill when the card was somebody else's", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.press("点击开始");
    await walk.press("缴费");
    agent.ends("Media.ReadFirst", CARD);
    await walk.settled();
    await walk.press("不是我");
    expect(hospital.of("DELETE", "/sessions/s-1")).toHaveLength(1);
    expect(hospital.of("GET", "/bills")).toHaveLength(0);
    expect(agent.isWaiting("Media.ReadFirst")).toBe(true);
  });

  it("says what to do when a reader cannot read, and takes a typed number", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.press("点击开始");
    await walk.press("缴费");
    agent.event("Media.ReadFirst", "Media.ReaderTrouble", { component: "id_reader", errorCode: "card_unreadable", is_over: false });
    await walk.settled();
    expect(walk.text).toContain("请重新放好");
    hospital.next("POST", "/sessions", problem(404, "patient_unknown"));
    await walk.press("手输就诊号");
    for (const key of ["1", "2", "3", "4"]) await walk.press(key);
    expect(walk.button("确定").disabled).toBe(true);
    await walk.press("5");
    await walk.press("确定");
    expect(walk.text).toContain("没有查到这个就诊号");
    expect(agent.isWaiting("Media.ReadFirst")).toBe(true);
    for (const key of ["6", "7", "8", "9", "0"]) await walk.press(key);
    await walk.press("确定");
    expect(walk.title).toBe("请核对是不是您本人");
    expect(hospital.of("POST", "/sessions").map(({ body }) => body)).toEqual([
      { medium: { kind: "visit_number", text: "12345" } },
      { medium: { kind: "visit_number", text: "67890" } },
    ]);
  });

  it("shows the bill again when it has changed", async () => {
    await walk.start();
    await walk.toGoal("缴费");
    walk.hospital.next("POST", "/orders", problem(409, "bill_changed"));
    await walk.press("确认，去支付");
    expect(walk.text).toContain("费用有变化，请重新核对");
    expect(walk.hospital.of("GET", "/bills")).toHaveLength(2);
    expect(walk.hospital.of("POST", "/orders")[0]?.body).toEqual({ business: "bill", bills: ["r1"], bill_hash: "h1" });
  });

  it("goes on with the order that these bills have already", async () => {
    await walk.start();
    await walk.toGoal("缴费");
    walk.hospital.order = anOrder({ money: "unknown", advice: "do_not_pay_again", can_cancel: false });
    walk.hospital.openOrders = [walk.hospital.order];
    walk.hospital.next("POST", "/orders", problem(409, "order_active"));
    await walk.press("确认，去支付");
    expect(walk.title).toBe("正在核实，请勿重复支付");
  });

  it("is given up by the patient before anything was paid", async () => {
    await walk.start();
    await walk.toPay();
    await walk.press("返回");
    expect(walk.hospital.of("POST", "/cancel")).toHaveLength(1);
    expect(walk.title).toBe("请核对费用");
  });

  it("may be tried again with another code", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.toPay();
    agent.ends("BarcodeReader.Read", { ...WECHAT, kinds: [] });
    await walk.settled();
    expect(walk.text).toContain("这不是微信或支付宝的付款码");
    agent.ends("BarcodeReader.Read", WECHAT);
    await walk.settled();
    hospital.becomes({ money: "failed", advice: "pay", reason: "insufficient" });
    await walk.advance(1_000);
    expect(walk.title).toBe("请选择付款方式");
    expect(walk.text).toContain("余额不足");
    expect(agent.isWaiting("BarcodeReader.Read")).toBe(true);
  });

  it("may be cancelled while the code is shown, and begun anew", async () => {
    await walk.start();
    await walk.toPay();
    await walk.press("微信支付");
    await walk.press("取消支付");
    await walk.advance(1_000);
    expect(walk.title).toBe("没有付款");
    await walk.press("重新支付");
    expect(walk.title).toBe("请核对费用");
  });
});

describe("an answer that does not come", () => {
  it("means do not pay again, and the page goes on when it comes", async () => {
    const { hospital } = walk;
    await walk.start();
    await walk.toPay();
    await walk.press("微信支付");
    hospital.isDown = true;
    hospital.wake();
    await walk.advance(10_000);
    expect(walk.title).toBe("正在核实，请勿重复支付");
    expect(walk.text).toContain("编号 8341");
    expect(walk.has("结束退出") || walk.has("返回")).toBe(false);
    await walk.advance(300_000);
    expect(walk.replaced).toEqual([]);
    expect(walk.has("结束退出")).toBe(true);
    hospital.isDown = false;
    hospital.becomes(PAID);
    hospital.becomes(SETTLED);
    await walk.advance(10_000);
    expect(walk.title).toBe("缴费成功");
  });

  it("sends an attempt that never arrived once more, with the same key", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.toPay();
    hospital.next("POST", "/pay", "lost");
    agent.ends("BarcodeReader.Read", WECHAT);
    await walk.settled();
    const sent = hospital.of("POST", "/pay");
    expect(sent).toHaveLength(2);
    expect(new Set(sent.map(({ key }) => key)).size).toBe(1);
    expect(walk.title).toBe("请在手机上确认付款");
  });

  it("does not send again what arrived without an answer", async () => {
    const { agent, hospital } = walk;
    await walk.start();
    await walk.toPay();
    hospital.next("POST", "/pay", "lost_after");
    agent.ends("BarcodeReader.Read", WECHAT);
    await walk.advance(2_000);
    expect(hospital.of("POST", "/pay")).toHaveLength(1);
    expect(walk.title).toBe("请在手机上确认付款");
  });
});

describe("after a reload", () => {
  it("goes on with the payment", async () => {
    walk.hospital.order = anOrder({ money: "unknown", advice: "do_not_pay_again", can_cancel: false, created_at: at(0) });
    walk.hospital.openOrders = [walk.hospital.order];
    await walk.start();
    expect(walk.title).toBe("正在核实，请勿重复支付");
    expect(walk.agent.names()).toContain("Session.Begin");
    await walk.advance(200_000);
    expect(walk.replaced).toEqual([]);
    walk.hospital.becomes(SETTLED);
    await walk.advance(1_000);
    expect(walk.title).toBe("缴费成功");
  });

  it("shows nothing of an order whose patient has left", async () => {
    walk = new Walk(["o-1"]);
    walk.hospital.openOrders = [anOrder({ money: "unknown" })];
    await walk.start();
    expect(walk.title).toBe("本机可以办理");
  });

  it("serves nobody before it knows", async () => {
    walk.hospital.isDown = true;
    await walk.start();
    expect(walk.title).toBe("本机暂停服务");
    walk.hospital.isDown = false;
    await walk.advance(5_000);
    expect(walk.title).toBe("本机可以办理");
  });
});

describe("a platform that refuses this kiosk", () => {
  it("does not leave the page waiting for ever", async () => {
    walk.hospital.next("GET", "/open-orders", problem(403, "certificate_refused"));
    await walk.start();
    expect(walk.title).toBe("本机暂停服务");
    await walk.advance(4_000);
    expect(walk.title).toBe("本机可以办理");
  });
});

describe("the printer", () => {
  it("that fails is no dead end", async () => {
    const { agent, hospital } = walk;
    agent.endsWith("Printer.Print", { errorCode: "failed" }, "userError");
    hospital.order = anOrder(SETTLED);
    hospital.openOrders = [hospital.order];
    await walk.start();
    await walk.advance(1_000);
    expect(walk.text).toContain("不影响已完成的付款");
    expect(walk.text).toContain("编号 8341");
    expect(hospital.order.fulfilment).toBe("failed");
    agent.endsWith("Printer.Print", { job: { no: 2 } });
    await walk.press("再打印一次");
    expect(walk.text).toContain("请取走凭条");
    expect(agent.taken.filter(({ name }) => name === "Printer.Print").map(({ payload }) => payload["key"])).toEqual([
      "order-o-1",
      "order-o-1-1",
    ]);
  });

  it("that printed before the reload does not print again", async () => {
    const { agent, hospital } = walk;
    agent.endsWith("Printer.Print", { errorCode: "printRefused" }, "commandErrorCode");
    agent.endsWith("Printer.Jobs", { jobs: [{ no: 1, key: "order-o-1", state: "printed" }] });
    hospital.order = anOrder({ ...SETTLED, fulfilment: "printing" });
    hospital.openOrders = [hospital.order];
    await walk.start();
    await walk.advance(1_000);
    expect(walk.text).toContain("请取走凭条");
    expect(hospital.order.fulfilment).toBe("printed");
  });

  it("of another kiosk that is at it keeps ours from printing too", async () => {
    const { agent, hospital } = walk;
    hospital.order = anOrder(SETTLED);
    hospital.openOrders = [hospital.order];
    for (let told = 0; told < 2; told += 1) hospital.next("POST", "/fulfilment", problem(409, "printing_elsewhere"));
    await walk.start();
    await walk.advance(1_000);
    expect(walk.text).toContain("不影响已完成的付款");
    expect(agent.taken.filter(({ name }) => name === "Printer.Print")).toEqual([]);
  });

  it("that does not know is not asked twice", async () => {
    const { agent, hospital } = walk;
    agent.endsWith("Printer.Print", { errorCode: "unknown" }, "commandErrorCode");
    hospital.order = anOrder(SETTLED);
    hospital.openOrders = [hospital.order];
    await walk.start();
    await walk.advance(1_000);
    expect(walk.text).toContain("请看一下出纸口");
    expect(walk.has("再打印一次")).toBe(false);
    expect(hospital.order.fulfilment).toBe("uncertain");
  });
});
