import { WALLETS, attempt, call, element, every, state, yuan } from "./sim.js";

const at = (id) => document.getElementById(id);
const FAULTS = {
  drop_before: "处理前断线",
  drop_after: "处理后断线（无应答）",
  delay: "延迟",
  http_500: "返回错误",
  malformed: "报文残缺",
  bad_signature: "签名错误",
  duplicate: "重复",
  reorder: "乱序",
  wrong_amount: "金额错误",
  late_success: "稍后才成功",
  clock_skew: "时钟偏差",
};
const NOTICES = { waiting: "等待发送", taken: "已接收", given_up: "已放弃" };
let operations = {};
let offset = 0;

const cells = (name, values) => element("tr", {}, values.map((value) => element(name, {}, [value])));
const time = (text) => (text ? new Date(text).toLocaleString("zh-CN", { timeZone: "Asia/Shanghai" }) : "");

function choose() {
  at("fault").replaceChildren(
    ...operations[at("operation").value].map((one) => element("option", { value: one, textContent: FAULTS[one] ?? one })),
  );
}

function given() {
  const pairs = at("args").value.split(/\s+/u).filter((one) => one.includes("="));
  return Object.fromEntries(pairs.map((one) => {
    const [name, ...rest] = one.split("=");
    const value = rest.join("=");
    return [name, value !== "" && Number.isFinite(Number(value)) ? Number(value) : value];
  }));
}

function add() {
  return attempt(async () => {
    await call("POST", "/faults", {
      operation: at("operation").value,
      fault: at("fault").value,
      times: Number(at("times").value),
      after: Number(at("after").value),
      ...given(),
    });
    await refresh();
  });
}

const set = (body) => attempt(async () => show(await call("POST", "/settings", body)));

function show(now) {
  offset = now.clock_offset_s;
  at("now").textContent = `${time(now.now)}${offset ? "（时钟已调）" : ""}`;
  at("bills").checked = now.bills_at_any_time;
  at("refunds").checked = now.refunds_fail;
  at("faults").replaceChildren(...now.faults.map((one) => {
    const { operation, fault, times, after, ...rest } = one;
    const more = Object.entries(rest).map(([name, value]) => ` ${name}=${value}`).join("");
    const first = after ? `，先放过 ${after} 次` : "";
    return element("li", { textContent: `${operation}：${FAULTS[fault] ?? fault} × ${times}${first}${more}` });
  }));
  at("trades").replaceChildren(...[...now.trades].reverse().slice(0, 100).map((one) => cells("td", [
    WALLETS[one.wallet], one.out_trade_no, one.transaction_id, one.subject, yuan(one.amount_fen), state(one),
    one.refunded_fen ? yuan(one.refunded_fen) : "", time(one.created_at), time(one.paid_at),
  ])));
  at("notices").replaceChildren(...[...now.notices].reverse().slice(0, 100).map((one) => cells("td", [
    WALLETS[one.wallet], one.out_trade_no, one.out_refund_no, NOTICES[one.state] ?? one.state, one.answers.join("、"),
    time(one.due_at),
    element("button", {
      type: "button",
      className: "plain",
      textContent: "再发一次",
      onclick: () => attempt(() => call("POST", `/notices/${one.number}/again`)),
    }),
  ])));
}

const refresh = async () => show(await call("GET", "/state"));

at("trades-head").append(cells("th", ["钱包", "商户订单号", "渠道订单号", "内容", "金额", "状态", "已退", "创建", "支付"]));
at("notices-head").append(cells("th", ["钱包", "商户订单号", "退款单号", "状态", "应答", "下次", "操作"]));
at("operation").onchange = choose;
at("add").onclick = add;
at("clear").onclick = () => attempt(async () => { await call("DELETE", "/faults"); await refresh(); });
at("day").onclick = () => set({ clock_offset_s: offset + 86_400 });
at("today").onclick = () => set({ clock_offset_s: 0 });
at("bills").onchange = () => set({ bills_at_any_time: at("bills").checked });
at("refunds").onchange = () => set({ refunds_fail: at("refunds").checked });
at("reset").onclick = () => attempt(async () => show(await call("POST", "/reset")));
attempt(async () => {
  ({ operations } = await call("GET", "/operations"));
  at("operation").replaceChildren(...Object.keys(operations).map((one) => element("option", { value: one, textContent: one })));
  choose();
});
every(2_000, refresh);
