// What both pages share: calls, elements, words.

export const STATES = {
  NOTPAY: ["等待扫码支付", "warn"],
  USERPAYING: ["等待输入密码", "warn"],
  SUCCESS: ["已支付", "good"],
  REFUND: ["有退款", "good"],
  REVOKED: ["已撤销", "bad"],
  CLOSED: ["已关闭", "bad"],
  PAYERROR: ["支付失败", "bad"],
};
export const WALLETS = { wechat: "微信支付", alipay: "支付宝" };
const REASONS = {
  trade_unknown: "没有这笔订单",
  trade_paid: "已经支付过了",
  trade_closed: "订单已关闭",
  code_expired: "二维码已过期",
};

export async function call(method, path, body) {
  const response = await fetch(`/sim${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(REASONS[content.code] ?? content.code ?? content.title ?? `${response.status}`);
  return content;
}

export function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function yuan(fen) {
  return `¥${(fen / 100).toFixed(2)}`;
}

export function state(trade) {
  const [text, mood] = STATES[trade.state] ?? [trade.state, ""];
  return element("span", { className: `state ${mood}`, textContent: text });
}

export function tell(error) {
  document.getElementById("notice").textContent = error ? `没有成功：${error.message}` : "";
}

export async function attempt(work) {
  try {
    await work();
    tell(null);
  } catch (error) {
    tell(error);
  }
}

export function every(milliseconds, work) {
  const again = async () => {
    await work().catch(tell);
    setTimeout(again, milliseconds);
  };
  again();
}
