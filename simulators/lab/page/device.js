/* One device of a kiosk as a card: how it is, what can be done to it. */

import { make, notice } from "./dom.js";
import { defaults, formOf } from "./forms.js";
import { iconOf } from "./icons.js";
import { Refused } from "./lab.js";
import { Receipts, Reports } from "./papers.js";
import { Sight } from "./sight.js";
import { isChinese, label, text, wordText, wordsText } from "./texts.js";

/* Facts whose values are words of the lab's tables. */
const WORDED = new Map([["scene", wordText], ["card", wordText], ["faults", wordsText], ["status", wordsText]]);
const GROUPS = ["patient", "staff", "wear", "link"];

export class DeviceCard {
  constructor(lab, kiosk, row, kind) {
    this.lab = lab;
    this.kiosk = kiosk;
    this.row = row;
    this.kind = kind;
    this.last = {};
    this.dot = make("span", { className: "dot", "aria-hidden": "true" });
    this.mood = make("span", { className: "mood" });
    this.model = make("span", { className: "model" });
    this.facts = make("dl", { className: "facts" });
    this.troubles = make("p", { className: "troubles", hidden: true });
    this.armed = make("p", { className: "troubles", hidden: true });
    this.extra = this.extraOf();
    this.element = make("article", { className: "card", dataset: { component: row.component, kind: kind.kind } },
      this.head(), this.troubles, this.armed, this.facts, this.buttons(), this.extra ? this.extra.element : null);
    this.update(row);
  }

  /* What comes out of the device, or what it sees. */
  extraOf() {
    if (this.kind.kind === "receipt_printer") return new Receipts(this.lab, this.kiosk, this.row.component);
    if (this.kind.kind === "report_printer") return new Reports(this.lab, this.kiosk, this.row.component);
    if (this.kind.kind === "face_camera") return new Sight(this.lab, this.kiosk, this.row.component);
    return null;
  }

  head() {
    const icon = make("span", { className: "icon" }, iconOf(this.kind.kind));
    const words = make("div", {}, make("h3", {}, label(this.kind)),
      make("p", { className: "muted small" }, `${this.row.component} · `, this.model));
    return make("header", { className: "card-head" }, icon, words,
      make("p", { className: "mood-line" }, this.dot, this.mood));
  }

  buttons() {
    const groups = ["patient", "staff"].map((group) => make("div", { className: `actions ${group}` },
      ...this.kind.actions.filter((action) => action.group === group).map((action) => this.button(action))));
    const more = make("button", { type: "button", className: "button fault" }, text("faults"));
    more.addEventListener("click", () => this.openDrawer());
    groups[1].append(more);
    return make("div", { className: "all-actions" }, ...groups);
  }

  button(action) {
    const main = make("button", { type: "button", className: "button", dataset: { action: action.name } },
      label(action));
    main.addEventListener("click", () => this.quick(action));
    if (action.arguments.length === 0) return main;
    const options = make("button", {
      type: "button", className: "button options", "aria-label": `${label(action)}: ${text("options")}`,
    }, "⋯");
    options.addEventListener("click", () => this.openDrawer(action));
    return make("span", { className: "split" }, main, options);
  }

  quick(action) {
    const given = this.last[action.name] ?? defaults(action);
    if (given === null) this.openDrawer(action);
    else this.act(action, given);
  }

  async act(action, given) {
    this.last[action.name] = given;
    try {
      this.update(await this.lab.act(this.kiosk, this.row.component, action.name, given));
      notice(text("done", { name: `${this.kiosk} ${label(this.kind)}`, action: label(action) }));
      return true;
    } catch (error) {
      notice(error instanceof Refused ? error.message : text("unreachable"), true);
      return false;
    }
  }

  get isTroubled() {
    return this.moodName() !== "plugged";
  }

  moodName() {
    const alarms = this.kind.facts.filter((fact) => fact.tone === "alarm" && this.row.state[fact.name]);
    if (this.row.state.absent) return "absent";
    if (!this.row.plugged) return "unplugged";
    if (this.row.troubles.length > 0) return "troubled";
    if (alarms.length > 0) return "alarmed";
    return this.row.armed.length > 0 ? "armed" : "plugged";
  }

  update(row) {
    this.row = { ...this.row, ...row };
    const mood = this.moodName();
    this.element.dataset.mood = mood;
    this.mood.textContent = text(mood);
    this.model.textContent = this.row.model;
    sayAll(this.troubles, text("waiting"), this.row.troubles.map(troubleText));
    sayAll(this.armed, text("armed"), this.row.armed.map(wordText));
    const shown = this.kind.facts.filter((fact) => isShown(fact, this.row.state[fact.name]));
    this.facts.replaceChildren(...shown.map((fact) => factOf(fact, this.row.state[fact.name])));
    this.facts.hidden = shown.length === 0;
    if (this.extra) this.extra.update(this.row.state, this.row.plugged);
  }

  openDrawer(only = null) {
    const drawer = document.getElementById("drawer");
    const close = make("button", { type: "button", className: "button" }, text("close"));
    close.addEventListener("click", () => drawer.close());
    const title = `${this.kiosk} · ${label(this.kind)}`;
    const shown = only ? [only] : this.kind.actions;
    const groups = GROUPS.filter((group) => shown.some((action) => action.group === group));
    drawer.replaceChildren(
      make("header", {}, make("h2", { id: "drawer-title" }, title), close),
      make("p", { className: "muted small port" }, `${text("port")}: ${this.row.port}`),
      ...groups.map((group) => this.section(group, shown, only !== null)));
    drawer.showModal();
  }

  section(group, actions, isOpen) {
    const rows = actions.filter((action) => action.group === group).map((action) => this.line(action, isOpen));
    return make("section", { className: `group group-${group}` }, make("h3", {}, text(`group_${group}`)), ...rows);
  }

  line(action, isOpen) {
    if (action.arguments.length === 0) {
      const button = make("button", { type: "button", className: "button wide", dataset: { action: action.name } },
        label(action));
      button.addEventListener("click", () => this.act(action, {}));
      return button;
    }
    const send = async (given) => {
      if (await this.act(action, given) && isOpen) document.getElementById("drawer").close();
    };
    const form = formOf(action, this.kind, this.last[action.name] ?? {}, send);
    return make("details", { open: isOpen, dataset: { action: action.name } },
      make("summary", {}, label(action)), form);
  }
}

/* A line that is there when there is something to say. */
function sayAll(line, title, words) {
  line.hidden = words.length === 0;
  const said = isChinese() ? `${title}：${words.join("；")}` : `${title}: ${words.join("; ")}`;
  line.textContent = line.hidden ? "" : said;
}

/* `delay 2` in words. */
function troubleText(trouble) {
  const [fault, value] = trouble.split(" ");
  return wordText(fault).replace("{n}", value);
}

function isShown(fact, value) {
  if (value === undefined || value === null) return false;
  return fact.tone === "light" || typeof value !== "boolean" || value;
}

function factOf(fact, value) {
  const isOn = value === true || (fact.tone === "alarm" && Boolean(value));
  const words = (WORDED.get(fact.name) ?? String)(value);
  const said = typeof value === "boolean" ? text(value ? "yes" : "no") : words;
  const chip = make("div", { className: `fact ${fact.tone}${isOn ? " on" : ""}` },
    make("dt", {}, label(fact)), make("dd", {}, said));
  if (typeof value === "boolean") chip.classList.add("boolean");
  return chip;
}
