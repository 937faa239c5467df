/* What a camera sees, drawn by the lab; the host's own stream is not disturbed. */

import { calm, make } from "./dom.js";
import { Refused, devicePath } from "./lab.js";
import { text, wordText } from "./texts.js";

export class Sight {
  constructor(lab, kiosk, component) {
    this.lab = lab;
    this.path = `${devicePath(kiosk, component)}/picture.jpg`;
    this.seen = "";
    this.image = make("img", { className: "sight-image", alt: "", hidden: true });
    this.nothing = make("p", { className: "sight-nothing" }, text("noPreview"));
    this.element = make("div", { className: "sight" }, this.image, this.nothing);
    this.load = calm(() => this.fetch(), 300);
  }

  update(state, isPlugged) {
    const now = `${state.scene} ${state.pictures} ${state.faults} ${isPlugged}`;
    this.isDark = !isPlugged;
    this.image.alt = text("preview", { scene: wordText(state.scene) });
    if (now === this.seen) return;
    this.seen = now;
    this.load();
  }

  async fetch() {
    try {
      const before = this.image.src;
      this.image.src = await this.lab.picture(this.path);
      if (before) URL.revokeObjectURL(before);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof TypeError)) throw error;
      this.isDark = true;
    }
    this.image.hidden = this.isDark;
    this.nothing.hidden = !this.isDark;
  }
}
