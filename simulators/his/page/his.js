// The testers' page of the simulated HIS: shows its books, scripts faults, changes bills.
const FAULTS = {
  drop_before: "收到前断线",
  drop_after: "入账后断线",
  delay: "延迟",
  http_500: "HTTP 500",
  malformed: "报文残缺",
  wrong_amount: "金额错误",
  late_success: "稍后才入账",
};
const find = (id) => document.getElementById(id);
const say = (text) => (find("said").textContent = text);
let wanted = "";

async function ask(path, body, method = body === undefined ? "GET" : "POST") {
  const init = { method };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  const answer = await fetch(`/sim/${path}`, init);
  const content = await answer.json();
  if (!answer.ok) say(content.message ?? content.code ?? String(answer.status));
  return content;
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function row(...cells) {
  const made = element("tr");
  for (const cell of cells) {
    const place = element("td");
    place.append(...[cell].flat());
    made.append(place);
  }
  return made;
}

function act(text, path, body = {}) {
  const button = element("button", text);
  button.className = "quiet";
  button.addEventListener("click", async () => {
    await ask(path, body);
    await refresh();
  });
  return button;
}

const yuan = (fen) => (fen / 100).toFixed(2);
const STATES = { unpaid: "待缴", paid: "已缴", void: "作废" };

function billsOf(patient) {
  return patient.bills.flatMap((bill) => {
    const line = element("div", `${bill.recipe_id} ${bill.kind} ${yuan(bill.should_money)} ${STATES[bill.state]} `);
    if (bill.state === "unpaid") {
      line.append(act("作废", `bills/${bill.recipe_id}/void`), act("改价", `bills/${bill.recipe_id}/amount`));
      line.append(act("窗口已缴", `bills/${bill.recipe_id}/pay`));
    }
    return [line];
  });
}

async function refresh() {
  const state = await ask(`state${wanted ? `?patient=${encodeURIComponent(wanted)}` : ""}`);
  const operation = document.querySelector("select[name=operation]");
  if (!operation.children.length) {
    operation.append(...state.operations.map((name) => new Option(name)));
    const faults = Object.entries(FAULTS).map(([name, text]) => new Option(`${text} ${name}`, name));
    document.querySelector("select[name=fault]").append(...faults);
  }
  find("faults").replaceChildren(
    ...state.faults.map((one) => element("li", `${one.operation} ${FAULTS[one.fault]} × ${one.times}`)),
  );
  find("patients").replaceChildren(
    ...state.patients.map((one) =>
      row(one.patient_id, one.mzh, one.name, billsOf(one), act("开新单", "bills", { patient_id: one.patient_id })),
    ),
  );
  find("trades").replaceChildren(
    ...state.trades.map((one) => row(one.refund_no || one.trade_no, one.business, yuan(one.amount))).reverse(),
  );
}

find("fault").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  await ask("faults", { operation: form.get("operation"), fault: form.get("fault"), times: Number(form.get("times")) });
  await refresh();
});
find("clear").addEventListener("click", async () => {
  await ask("faults", undefined, "DELETE");
  await refresh();
});
find("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  wanted = new FormData(event.target).get("patient").trim();
  await refresh();
});
setInterval(refresh, 3000);
await refresh();
