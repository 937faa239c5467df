// Maintenance at the kiosk: an engineer logs in with a one-time code, tries every device and changes paper.
// Texts come from maintenance_texts.js; what is known of devices comes from the agent, nothing is kept here.
import { Devices, Refused } from "./devices.js";
import { TEXTS, WORDS } from "./maintenance_texts.js";

const PAPER_LOOK_MS = 1000;
const HIDDEN = new Set(["device", "kind", "faults"]);
const LIMITS = { staff: 12, code: 8 };
const token = document.querySelector('meta[name="api-token"]').content;
const at = (id) => document.getElementById(id);

const model = {
  language: "zh",
  view: "enter",
  fields: { staff: "", code: "" },
  field: "staff",
  message: "",
  visit: null,
  running: null, // { component, say, percent }
  results: [],
  paper: null,
  offers: [], // of firmware
  update: null, // the offer that the engineer is asked about
  closing: null,
};
const devices = new Devices(token, () => {
  show();
  void lookAtFirmware();
});

const text = (key) => TEXTS[model.language][key] ?? key;
const word = (table, key) => WORDS[table][key]?.[model.language === "zh" ? 0 : 1] ?? String(key);
const faultText = (code) => model.visit?.faults[code]?.[model.language] ?? code;
const remedy = (code) => model.visit?.faults[code]?.[`remedy_${model.language}`] ?? "";

/** An element with properties and children. */
function h(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const button = (label, onclick, properties = {}) =>
  h("button", { type: "button", textContent: label, onclick, ...properties });

// --- what the engineer does ------------------------------------------------------------------------------------

async function attempt(work) {
  model.message = "";
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    model.message = word("refusals", error.code);
    if (error.code === "notOpen") leave();
  } finally {
    model.running = null;
    show();
  }
}

function leave() {
  const fields = { staff: model.fields.staff, code: "" };
  Object.assign(model, { view: "enter", visit: null, paper: null, offers: [], update: null, fields });
  at("paper").close();
  at("firmware").close();
}

const enter = () =>
  attempt(async () => {
    const { staff, code } = model.fields;
    if (staff === "" || code.length !== LIMITS.code) throw new Refused("invalidData");
    model.fields.code = "";
    model.visit = await devices.call("Maintenance.Open", { code, engineer: staff });
    Object.assign(model, { view: "board", results: [], offers: [] });
    statesAsked = "";
    void lookAtFirmware();
  });

const mine = (payload = {}) => ({ pass_word: model.visit.pass_word, ...payload });

function keep(result) {
  model.results = [result, ...model.results.filter(({ no }) => no !== result.no)];
}

const test = (component, name) =>
  attempt(async () => {
    const say = (key) => {
      model.running = { component, say: key };
      show();
    };
    say("");
    keep(await devices.call("Maintenance.Test", mine({ component, test: name }), (event) => say(event.say)));
  });

const confirmResult = (no, isGood) =>
  attempt(async () => keep(await devices.call("Maintenance.Confirm", mine({ no, is_good: isGood }))));

async function checkAll() {
  for (const { component } of model.visit?.devices ?? []) {
    if (model.visit !== null) await test(component, "status");
  }
}

const close = () =>
  attempt(async () => {
    model.running = { component: null, say: "" };
    model.closing = await devices.call("Maintenance.Close", mine());
    Object.assign(model, { view: "closed", visit: null });
  });

const beginPaper = (component) =>
  attempt(async () => {
    model.paper = await devices.call("Maintenance.BeginPaper", mine({ component }));
    at("paper").showModal();
  });

const movePaper = (event) =>
  attempt(async () => {
    if (model.paper.choices.length === 0) return;
    model.running = { component: model.paper.component, say: "" };
    show();
    const say = (said) => {
      model.running = { component: model.paper.component, say: said.say };
      show();
    };
    model.paper = await devices.call("Maintenance.MovePaper", mine({ event }), say);
  });

/** While the engineer has the printer open, its sensors say how far they are. */
async function lookAtPaper() {
  if (model.paper === null || model.visit === null || model.running !== null || !at("paper").open) return;
  try {
    const now = await devices.call("Maintenance.Paper", mine());
    if (model.paper?.step === now.step && model.running === null && model.paper.is_met !== now.is_met) {
      model.paper.is_met = now.is_met;
      show();
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

let statesAsked = "";

/** Which updates there are depends on what devices run, and on whether they are ready. */
async function lookAtFirmware() {
  if (model.visit === null || !devices.isConnected) return;
  const states = [...devices.statuses].map(([component, status]) => `${component} ${status.device}`).join();
  if (states === statesAsked) return;
  statesAsked = states;
  try {
    const { offers } = await devices.call("Maintenance.Firmware", mine());
    if (model.visit === null) return;
    model.offers = offers;
    show();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

function askUpdate(offer) {
  model.update = offer;
  at("firmware").showModal();
  show();
}

function dropUpdate() {
  model.update = null;
  at("firmware").close();
  show();
}

const updateFirmware = ({ component, version }) =>
  attempt(async () => {
    dropUpdate();
    const tell = (percent) => {
      model.running = { component, say: percent < 100 ? "updating_firmware" : "restarting", percent };
      show();
    };
    tell(0);
    keep(await devices.call("Maintenance.UpdateFirmware", mine({ component, version }), (event) => tell(event.percent)));
    statesAsked = "";
    void lookAtFirmware();
  });

// --- what the engineer sees --------------------------------------------------------------------------------------

function enterView() {
  const field = (name) =>
    h(
      "label",
      { className: model.field === name ? "field here" : "field" },
      h("span", { textContent: text(name) }),
      h("input", {
        id: name,
        value: model.fields[name],
        inputMode: "numeric",
        autocomplete: "off",
        maxLength: LIMITS[name],
        type: name === "code" ? "password" : "text",
        onfocus: () => {
          model.field = name;
          for (const label of document.querySelectorAll(".field")) label.classList.toggle("here", label.control.id === name);
        },
        oninput: (event) => (model.fields[name] = event.target.value),
        onkeydown: (event) => event.key === "Enter" && void enter(),
      }),
    );
  const type = (digit) => () => {
    const name = model.field;
    if (model.fields[name].length < LIMITS[name]) model.fields[name] += digit;
    at(name).value = model.fields[name];
  };
  const erase = (keepDigits) => () => {
    model.fields[model.field] = keepDigits ? model.fields[model.field].slice(0, -1) : "";
    at(model.field).value = model.fields[model.field];
  };
  const pad = h(
    "div",
    { className: "pad" },
    ...[..."123456789"].map((digit) => button(digit, type(digit))),
    button(text("clear"), erase(false)),
    button("0", type("0")),
    button(text("back_one"), erase(true)),
  );
  return h(
    "section",
    { className: "enter" },
    field("staff"),
    field("code"),
    pad,
    button(text("enter"), () => void enter(), { className: "main", id: "enter", disabled: !devices.isConnected }),
    h("p", { className: "hint", textContent: text("code_hint") }),
    devices.statuses.get("maintenance")?.is_open ? h("p", { className: "hint", textContent: text("is_open") }) : null,
  );
}

function boardView() {
  const { visit } = model;
  const facts = h(
    "section",
    { className: "facts" },
    h("p", { textContent: `${text("engineer")} ${visit.engineer} · ${text("visit")} ${visit.visit}` }),
    button(text("check_all"), () => void checkAll(), { disabled: isBusy(), id: "check-all" }),
    button(text("close"), () => void close(), { className: "main", disabled: isBusy(), id: "close" }),
  );
  const cards = visit.devices.map(deviceCard);
  return h(
    "div",
    { className: "board" },
    facts,
    ...(cards.length ? cards : [h("section", { textContent: text("no_devices") })]),
    h(
      "section",
      { className: "log" },
      h("h2", { textContent: text("results") }),
      model.results.length ? h("ol", { reversed: true }, ...model.results.map(resultLine)) : h("p", { textContent: text("none") }),
    ),
  );
}

const isBusy = () => model.running !== null || !devices.isConnected;

function deviceCard({ component, kind, model: make, tests, has_paper: hasPaper }) {
  const status = devices.statuses.get(component) ?? {};
  const faults = status.faults ?? [];
  const told = devices.isConnected ? (status.device ?? "unknown") : "unknown";
  const state = told === "online" && faults.length > 0 ? "troubled" : told;
  const tone = { online: "good", deviceBusy: "good", starting: "warn", troubled: "warn", unknown: "" }[state] ?? "bad";
  const label = state === "unknown" ? word("words", state) : word("states", state);
  const card = h(
    "section",
    { className: "device" },
    h(
      "h2",
      {},
      h("span", { textContent: word("kinds", kind) }),
      h("span", { className: `badge ${tone}`, textContent: label }),
    ),
    h("p", { className: "make", textContent: make ? `${component} · ${make}` : component }),
    faults.length ? h("ul", { className: "faults" }, ...faults.map(faultLine)) : null,
    readings(status),
    h(
      "div",
      { className: "doings" },
      ...tests.map((name) =>
        button(word("tests", name), () => void test(component, name), { disabled: isBusy(), id: `${component}-${name}` }),
      ),
      hasPaper
        ? button(text("change_paper"), () => void beginPaper(component), {
            disabled: isBusy(), className: "paper", id: `${component}-paper`,
          })
        : null,
    ),
    ...(model.running?.component === component ? [] : model.offers)
      .filter((offer) => offer.component === component)
      .map(offerLine),
    running(component),
    ...model.results.filter((result) => result.component === component).slice(0, 1).map(lastResult),
  );
  card.dataset.component = component;
  return card;
}

const faultLine = (code) =>
  h("li", {}, h("strong", { textContent: faultText(code) }), h("span", { textContent: remedy(code) }));

function readings(status) {
  const rows = Object.entries(status).filter(([name]) => !HIDDEN.has(name));
  if (rows.length === 0) return null;
  return h("dl", {}, ...pairs(rows));
}

function saidOf(name, value) {
  if (typeof value === "number") return value;
  return name === "faults" ? String(value).split(",").map(faultText).join(" · ") : word("words", value);
}

const pairs = (rows) =>
  rows.flatMap(([name, value]) => [
    h("dt", { textContent: word("values", name) }),
    h("dd", { textContent: saidOf(name, value) }),
  ]);

/** An update of the device's firmware: to be had, or why not. */
function offerLine(offer) {
  const { component, runs, version, why_not: whyNot } = offer;
  const line = h("p", { className: "offer" }, `${text("firmware")} ${runs ?? text("unknown")} → ${version}`);
  if (whyNot) line.append(h("small", { textContent: word("whys", whyNot) }));
  else {
    line.append(
      button(text("update"), () => askUpdate(offer), { disabled: isBusy(), id: `${component}-firmware-${version}` }),
    );
  }
  return line;
}

function firmwareView() {
  const { component, runs, version } = model.update;
  return [
    h("h2", { id: "firmware-title", textContent: `${text("update")} · ${kindOf(component)}` }),
    h("p", { className: "big", textContent: `${runs ?? text("unknown")} → ${version}` }),
    h("ul", {}, ...["stay", "away", "takes"].map((key) => h("li", { textContent: text(`update_${key}`) }))),
    h(
      "div",
      { className: "doings" },
      button(text("update_now"), () => void updateFirmware(model.update), { className: "main", id: "firmware-go" }),
      button(text("cancel"), dropUpdate, { id: "firmware-drop" }),
    ),
  ];
}

function running(component) {
  if (model.running?.component !== component) return null;
  const { say, percent } = model.running;
  if (percent !== undefined) {
    const label = `${word("says", say)} ${percent} %`;
    const bar = h("progress", { max: 100, value: percent });
    bar.setAttribute("aria-label", label);
    return h("div", { className: "running" }, h("p", { textContent: label }), bar);
  }
  return h(
    "div",
    { className: "running" },
    h("p", { textContent: say ? word("says", say) : text("running") }),
    button(text("cancel"), () => devices.cancel(), { id: "cancel" }),
  );
}

function lastResult(result) {
  const line = h("div", { className: `result ${result.outcome}`, role: "status" }, h("p", { textContent: summary(result) }));
  if (result.fault) line.append(h("p", { className: "remedy", textContent: remedy(result.fault) }));
  if (result.outcome === "asked") {
    const seen = { print_receipt: "look_at_paper", print_page: "look_at_paper", lights: "look_at_lights" }[result.test];
    if (seen) line.append(h("p", { textContent: word("says", seen) }));
    line.append(
      button(text("good"), () => void confirmResult(result.no, true), { className: "main", disabled: isBusy(), id: `good-${result.no}` }),
      button(text("bad"), () => void confirmResult(result.no, false), { disabled: isBusy(), id: `bad-${result.no}` }),
    );
  } else if (Object.keys(result.values).length > 0) {
    line.append(h("dl", {}, ...pairs(Object.entries(result.values).filter(isWorthSaying(result)))));
  }
  return line;
}

/** What a result has besides its summary, which names its fault already. */
const isWorthSaying = (result) => ([name, value]) => value !== "" && !(name === "faults" && value === result.fault);

function summary({ test: name, outcome, fault, why, took_s: tookS }) {
  const ended = `${{ passed: "✓", failed: "✗", asked: "?" }[outcome]} ${text(outcome)}`;
  const reason = [why && why !== "fault" ? word("whys", why) : null, fault ? faultText(fault) : null].filter(Boolean);
  return [`${word("tests", name)} · ${ended}`, ...reason, `${tookS.toFixed(1)}\u00a0s`].join(" · ");
}

const resultLine = (result) =>
  h("li", { className: result.outcome, value: result.no }, `${kindOf(result.component)} · ${summary(result)}`);

function closedView() {
  const { results, passed, failed, digest, is_signed: isSigned } = model.closing;
  return h(
    "section",
    { className: "enter" },
    h("h2", { textContent: text("closed") }),
    h("p", { textContent: text("closed_text") }),
    h("p", { className: "big", textContent: `${results} · ${text("passed")} ${passed} · ${text("failed")} ${failed}` }),
    h("p", { textContent: isSigned ? text("signed") : text("not_signed") }),
    h("p", { className: "hint", textContent: `${text("digest")} ${digest.slice(0, 16)}…` }),
    button(text("again"), () => {
      leave();
      show();
    }, { id: "again" }),
  );
}

function paperView() {
  const { paper } = model;
  const order = ["open", "take_out", "put_in", "close", "check", "print", "look", "done"];
  const here = order.indexOf(paper.step);
  const isOver = paper.choices.length === 0 && model.running === null;
  const steps = order.map((step, place) => {
    const item = h("li", { className: place < here ? "past" : place === here ? "here" : "", textContent: word("steps", step) });
    if (place === here) item.setAttribute("aria-current", "step");
    return item;
  });
  const met = paper.is_met === undefined ? null : h("p", { className: paper.is_met ? "met" : "unmet", textContent: word("met", paper.is_met) });
  const why = paper.why ? h("p", { className: "why", role: "alert", textContent: reasonOf(paper.why) }) : null;
  const go = (event) =>
    button(word("events", event), () => void movePaper(event), {
      disabled: isBusy(),
      className: event === "next" || event === "good" ? "main" : "",
      id: `paper-${event}`,
    });
  const shut = button(text("shut"), () => {
    model.paper = null;
    at("paper").close();
    show();
  }, { className: "main", id: "paper-shut" });
  return [
    h("h2", { id: "paper-title", textContent: `${text("change_paper")} · ${kindOf(paper.component)}` }),
    h("ol", { className: "steps" }, ...steps),
    paper.step === "stopped" ? h("p", { textContent: word("steps", "stopped") }) : null,
    model.running ? h("p", { className: "running", textContent: model.running.say ? word("says", model.running.say) : text("running") }) : met,
    why,
    h("div", { className: "doings" }, ...(isOver ? [shut] : paper.choices.map(go))),
  ].filter((part) => part !== null);
}

const kindOf = (component) =>
  word("kinds", model.visit?.devices.find((device) => device.component === component)?.kind ?? component);
const reasonOf = (why) => (WORDS.whys[why] ? word("whys", why) : `${faultText(why)} · ${remedy(why)}`);

/** What has the keyboard, by id: everything is drawn anew, and a disabled button loses it for a while. */
let focused = "";

function keepFocus() {
  const place = [at("paper"), at("firmware")].find((dialog) => dialog.open) ?? document;
  for (const id of [model.running ? "cancel" : "", focused, ...otherwise()]) {
    const found = id ? place.querySelector(`#${CSS.escape(id)}`) : null;
    if (found === null || found.disabled) continue;
    found.focus();
    return;
  }
}

/** Where the keyboard goes when what had it is gone. */
function otherwise() {
  if (focused === "" || model.running) return [];
  const asked = model.results.filter(({ outcome }) => outcome === "asked").map(({ no }) => `good-${no}`);
  return [...(model.paper?.choices ?? []).map((event) => `paper-${event}`), "paper-shut", ...asked, "check-all", "again"];
}

let isPressed = false;
let isWaiting = false;

/** Draw everything anew; not between finger down and up, or the button under the finger would be gone. */
function show() {
  isWaiting = isPressed;
  if (isPressed) return;
  document.documentElement.lang = model.language === "zh" ? "zh-CN" : "en";
  document.title = text("title");
  for (const heading of document.querySelectorAll("[data-text]")) heading.textContent = text(heading.dataset.text);
  at("language").textContent = text("language");
  at("language").lang = model.language === "zh" ? "en" : "zh-CN";
  const link = at("link");
  link.textContent = devices.isConnected ? text("connected") : text("lost");
  link.className = `badge ${devices.isConnected ? "good" : "bad"}`;
  const message = model.message ? h("p", { className: "stale", role: "alert", textContent: model.message }) : null;
  const view = { enter: enterView, board: boardView, closed: closedView }[model.view]();
  at("page").replaceChildren(...[message, view].filter((part) => part !== null));
  if (model.paper !== null) at("paper").replaceChildren(...paperView());
  if (model.update !== null) at("firmware").replaceChildren(...firmwareView());
  keepFocus();
}

function release() {
  setTimeout(() => {
    isPressed = false;
    if (isWaiting) show();
  });
}

document.addEventListener("focusin", ({ target }) => {
  if (target.id !== "cancel") focused = target.id;
});
document.addEventListener("pointerdown", () => (isPressed = true), true);
document.addEventListener("pointerup", release, true);
document.addEventListener("pointercancel", release, true);
at("paper").addEventListener("cancel", (event) => event.preventDefault());
at("language").addEventListener("click", () => {
  model.language = model.language === "zh" ? "en" : "zh";
  show();
});
setInterval(() => void lookAtPaper(), PAPER_LOOK_MS);
show();
