/* The bench: every kiosk of a lab in a column of its own. */

import { DeviceCard } from "./device.js";
import { make } from "./dom.js";
import { Lab } from "./lab.js";
import { currentLanguage, isChinese, label, switchLanguage, text } from "./texts.js";

const LOG_ROWS = 200;

class Bench {
  constructor() {
    this.lab = new Lab();
    this.cards = new Map();
    this.summaries = new Map();
    this.isLinked = false;
    this.news = [];
    this.kiosks = [];
    this.kinds = new Map();
  }

  start() {
    document.getElementById("language").addEventListener("click", () => {
      switchLanguage();
      this.draw();
    });
    const button = document.getElementById("log-button");
    button.addEventListener("click", () => {
      const log = document.getElementById("log");
      log.hidden = !log.hidden;
      button.setAttribute("aria-expanded", String(!log.hidden));
    });
    this.draw();
    if (this.lab.token) this.lab.listen((item) => this.heard(item), (isLinked) => this.linked(isLinked));
  }

  async linked(isLinked) {
    this.isLinked = isLinked;
    if (isLinked) {
      const [kiosks, kinds] = await Promise.all([this.lab.list("/api/v1/kiosks"), this.lab.list("/api/v1/kinds")]);
      this.kiosks = kiosks;
      this.cards.clear();
      this.kinds = new Map(kinds.map((kind) => [kind.kind, kind]));
    }
    this.draw();
  }

  heard(item) {
    const card = this.cards.get(`${item.kiosk}/${item.component}`);
    if (!card) return;
    card.update({
      state: item.state, plugged: item.is_plugged, troubles: item.troubles, armed: item.armed, model: item.model,
    });
    this.summarise(item.kiosk);
    if (item.action !== null) {
      this.news.unshift({ at: new Date(), ...item });
      this.news.length = Math.min(this.news.length, LOG_ROWS);
      this.drawLog();
    }
  }

  draw() {
    document.documentElement.lang = currentLanguage();
    document.title = text("title");
    document.getElementById("title").textContent = text("title");
    document.getElementById("people").textContent = text("people");
    document.getElementById("language").textContent = text("other");
    document.getElementById("language").lang = isChinese() ? "en" : "zh-CN";
    document.getElementById("log-button").textContent = text("log");
    document.getElementById("log-title").textContent = text("log");
    const link = document.getElementById("link");
    link.textContent = text(this.isLinked ? "online" : this.lab.token ? "offline" : "unlinked");
    link.classList.toggle("on", this.isLinked);
    const main = document.getElementById("kiosks");
    if (!this.lab.token) main.replaceChildren(make("p", { className: "empty" }, text("noToken")));
    else if (this.isLinked || this.kiosks.length === 0) this.drawKiosks(main);
    main.classList.toggle("stale", !this.isLinked && this.kiosks.length > 0 && this.lab.token !== null);
    this.drawLog();
  }

  drawKiosks(main) {
    this.keepRows();
    this.cards.clear();
    this.summaries.clear();
    if (this.isLinked && this.kiosks.length === 0) {
      main.replaceChildren(make("p", { className: "empty" }, text("noKiosks")));
      return;
    }
    main.replaceChildren(...this.kiosks.map((kiosk) => this.column(kiosk)));
    for (const kiosk of this.kiosks) this.summarise(kiosk.name);
  }

  /* What cards have heard since the kiosks were listed outlives them. */
  keepRows() {
    for (const kiosk of this.kiosks) {
      kiosk.devices = kiosk.devices.map((row) => this.cards.get(`${kiosk.name}/${row.component}`)?.row ?? row);
    }
  }

  column(kiosk) {
    const cards = kiosk.devices.map((row) => {
      const card = new DeviceCard(this.lab, kiosk.name, row, this.kinds.get(row.kind));
      this.cards.set(`${kiosk.name}/${row.component}`, card);
      return card.element;
    });
    const summary = make("p", { className: "summary" });
    this.summaries.set(kiosk.name, summary);
    const head = make("header", { className: "kiosk-head" }, make("h2", {}, kiosk.name),
      make("p", { className: "profile" }, kiosk.profile), summary);
    return make("section", { className: "kiosk", "aria-label": kiosk.name, dataset: { kiosk: kiosk.name } }, head,
      make("div", { className: "devices" }, ...cards));
  }

  summarise(kiosk) {
    const all = [...this.cards].filter(([name]) => name.startsWith(`${kiosk}/`)).map(([, card]) => card);
    const bad = all.filter((card) => card.isTroubled).length;
    const summary = this.summaries.get(kiosk);
    summary.textContent = `${text("devices", { n: all.length })} · ${bad ? text("troubles", { n: bad }) : text("allWell")}`;
    summary.classList.toggle("bad", bad > 0);
  }

  drawLog() {
    const rows = this.news.map((item) => {
      const card = this.cards.get(`${item.kiosk}/${item.component}`);
      const action = card?.kind.actions.find((row) => row.name === item.action);
      const time = item.at.toLocaleTimeString(currentLanguage(), { hour12: false });
      return make("li", {}, make("time", {}, time), make("span", {}, item.kiosk),
        make("span", {}, card ? label(card.kind) : item.component),
        make("strong", {}, action ? label(action) : item.action));
    });
    if (rows.length === 0) rows.push(make("li", { className: "muted" }, text("noLog")));
    document.getElementById("log-rows").replaceChildren(...rows);
  }
}

new Bench().start();
