import { WALLETS, attempt, call, element, every, state, yuan } from "./sim.js";

const at = (id) => document.getElementById(id);
let expiresAt = 0;

function show(row) {
  at("code").hidden = false;
  at("picture").src = `/sim/qr.svg?text=${encodeURIComponent(row.code)}`;
  at("digits").textContent = row.code;
  expiresAt = Date.now() + 60_000;
}

function fresh(wallet) {
  return attempt(async () => {
    const balance = Math.round(Number(at("balance").value) * 100);
    show(await call("POST", "/phone/code", { wallet, balance_fen: balance, asks_password: at("password").checked }));
  });
}

function act(path, trade) {
  return () => attempt(async () => {
    await call("POST", `/phone/${path}`, { trade: trade.out_trade_no });
    await refresh();
  });
}

function buttons(trade) {
  if (trade.state !== "USERPAYING") return [];
  return [
    element("button", { type: "button", textContent: "输入密码并支付", onclick: act("password", trade) }),
    element("button", { type: "button", className: "plain", textContent: "正在输入", onclick: act("typing", trade) }),
    element("button", { type: "button", className: "plain", textContent: "取消", onclick: act("cancel", trade) }),
  ];
}

function line(trade) {
  const words = `${WALLETS[trade.wallet]} ${trade.subject} ${yuan(trade.amount_fen)} `;
  const back = trade.refunded_fen ? ` 已退 ${yuan(trade.refunded_fen)}` : "";
  return element("div", {}, [
    element("p", {}, [words, state(trade), back]),
    element("div", { className: "row" }, buttons(trade)),
  ]);
}

async function refresh() {
  const { trades } = await call("GET", "/phone/trades");
  at("trades").replaceChildren(...trades.map(line));
  const left = Math.ceil((expiresAt - Date.now()) / 1000);
  at("life").textContent = left > 0 ? `${left} 秒内有效，只能用一次` : "已过期";
}

function scan(path) {
  return () => attempt(async () => {
    await call("POST", `/phone/${path}`, { qr: at("qr").value.trim() });
    await refresh();
  });
}

at("wechat").onclick = () => fresh("wechat");
at("alipay").onclick = () => fresh("alipay");
at("copy").onclick = () => attempt(() => navigator.clipboard.writeText(at("digits").textContent));
at("pay").onclick = scan("pay");
at("look").onclick = scan("scan");
every(1_000, refresh);
