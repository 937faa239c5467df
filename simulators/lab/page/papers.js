/* What came out of printers: receipts as pictures, report jobs as a list. */

import { calm, make } from "./dom.js";
import { devicePath } from "./lab.js";
import { stateText, text } from "./texts.js";

const REPORTS_SHOWN = 4;

export class Receipts {
  constructor(lab, kiosk, component) {
    this.lab = lab;
    this.path = `${devicePath(kiosk, component)}/receipts`;
    this.total = 0;
    this.shown = 0;
    this.lines = -1;
    this.image = make("img", { className: "paper-image", alt: "", hidden: true });
    this.zoom = make("button", { type: "button", className: "paper-zoom" }, this.image);
    this.zoom.addEventListener("click", () => this.enlarge());
    this.caption = make("p", { className: "paper-caption" });
    this.older = this.step(-1, "older", "‹");
    this.newer = this.step(1, "newer", "›");
    const bar = make("div", { className: "paper-bar" }, this.older, this.caption, this.newer);
    this.element = make("div", { className: "paper" }, make("div", { className: "slot" }), this.zoom, bar);
    this.load = calm(() => this.fetch(), 300);
  }

  step(by, name, sign) {
    const button = make("button", { type: "button", className: "button icon", "aria-label": text(name) }, sign);
    button.addEventListener("click", () => {
      this.shown = Math.min(this.total, Math.max(1, this.shown + by));
      this.load();
    });
    return button;
  }

  update(state) {
    const isPrinting = state.lines !== this.lines && this.lines >= 0 && state.receipts === this.total;
    if (state.receipts !== this.total) this.shown = state.receipts;
    else if (isPrinting) this.shown = 0;
    const isNew = state.receipts !== this.total || state.lines !== this.lines;
    this.lines = state.lines;
    this.total = state.receipts;
    if (isNew) this.load();
    this.words();
  }

  words() {
    const isAny = this.shown > 0 || this.lines > 0;
    const said = this.shown > 0 ? text("receipt", { n: this.shown }) : text(isAny ? "printing" : "noReceipt");
    this.caption.textContent = said;
    this.image.alt = said;
    this.zoom.setAttribute("aria-label", `${text("enlarge")}: ${said}`);
    this.zoom.hidden = this.image.hidden;
    this.older.disabled = this.shown === 1 || this.total === 0;
    this.newer.disabled = this.shown === 0 || this.shown >= this.total;
  }

  async fetch() {
    if (this.shown === 0 && this.lines <= 0) return;
    const url = await this.lab.picture(`${this.path}/${this.shown || "now"}.png`);
    URL.revokeObjectURL(this.image.src);
    this.image.src = url;
    this.image.hidden = false;
    this.words();
  }

  async enlarge() {
    const dialog = document.getElementById("paper");
    const said = await (await this.lab.fetch(`${this.path}/${this.shown || "now"}.txt`)).text();
    const close = make("button", { type: "button", className: "button" }, text("close"));
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(
      make("header", {}, make("h2", { id: "paper-title" }, this.caption.textContent), close),
      make("div", { className: "paper-full" },
        make("img", { src: this.image.src, alt: this.image.alt }),
        make("pre", { tabIndex: 0, "aria-label": text("text") }, said)),
    );
    dialog.showModal();
  }
}

export class Reports {
  constructor(lab, kiosk, component) {
    this.lab = lab;
    this.path = `${devicePath(kiosk, component)}/reports`;
    this.seen = "";
    this.rows = make("ul", { className: "jobs" });
    this.element = make("div", { className: "reports" }, this.rows);
    this.load = calm(() => this.fetch(), 300);
    this.show([]);
  }

  update(state) {
    const now = `${state.jobs} ${state.pages} ${state.printing}`;
    if (now === this.seen) return;
    this.seen = now;
    this.load();
  }

  async fetch() {
    this.show(await this.lab.list(this.path));
  }

  show(jobs) {
    const newest = jobs.slice(-REPORTS_SHOWN).reverse();
    this.rows.replaceChildren(...newest.map((job) => make("li", {},
      make("span", { className: "job-name" }, `#${job.number} ${job.name}`),
      make("progress", { max: job.pages, value: job.printed, "aria-label": job.name }),
      make("span", { className: `job-state ${job.state}` },
        `${stateText(job.state)} · ${text("pages", job)}`))));
    if (newest.length === 0) this.rows.append(make("li", { className: "muted" }, text("noReports")));
  }
}
