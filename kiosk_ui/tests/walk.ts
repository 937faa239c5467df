/** The whole page in front of a hospital and an agent that do as they are told. */
import { type App as VueApp, createApp, nextTick } from "vue";

import App from "../src/App.vue";
import { Devices } from "../src/device/devices";
import { chooseLocale } from "../src/i18n";
import { Kiosk, KIOSK } from "../src/journeys/kiosk";
import { Platform } from "../src/platform/client";
import { Agent, CARD } from "./agent";
import { Hospital } from "./hospital";
import { START_MS } from "./samples";

export class Walk {
  readonly hospital = new Hospital();
  readonly agent = new Agent();
  readonly replaced: string[][] = [];
  readonly kiosk: Kiosk;
  private app: VueApp | null = null;

  constructor(left: readonly string[] = []) {
    const platform = new Platform({
      token: "t",
      fetch: this.hospital.fetch as typeof fetch,
      onReached: (isReached) => this.kiosk.reached(isReached),
    });
    const { environment } = this.agent;
    const beganMs = environment.now();
    const wallMs = (): number => START_MS + environment.now() - beganMs;
    this.hospital.wallMs = wallMs;
    this.kiosk = new Kiosk({
      platform,
      devices: new Devices(this.agent.connection, environment),
      environment,
      page: {
        left: new Set(left),
        replace: (orders) => this.replaced.push([...orders]),
        wallMs,
      },
    });
  }

  async start(): Promise<void> {
    chooseLocale("zh-CN");
    document.body.innerHTML = '<div id="app"></div>';
    this.agent.start();
    this.kiosk.start();
    this.app = createApp(App).provide(KIOSK, this.kiosk);
    this.app.mount("#app");
    await this.settled();
  }

  end(): void {
    this.app?.unmount();
  }

  get text(): string {
    return document.body.textContent ?? "";
  }

  get title(): string {
    return document.querySelector("h1")?.textContent ?? "";
  }

  button(text: string): HTMLButtonElement {
    const found = [...document.querySelectorAll("button")].find((one) => one.textContent?.includes(text));
    if (found === undefined) throw new Error(`no button "${text}" on: ${this.text}`);
    return found;
  }

  has(text: string): boolean {
    return [...document.querySelectorAll("button")].some((one) => one.textContent?.includes(text));
  }

  async press(text: string): Promise<void> {
    const button = this.button(text);
    if (button.disabled) throw new Error(`"${text}" cannot be pressed`);
    button.dispatchEvent(new Event("pointerdown", { bubbles: true }));
    button.click();
    await this.settled();
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.agent.environment.advance(Math.min(left, 1_000));
      await this.settled(20);
    }
    await this.settled();
  }

  async settled(turns = 60): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await nextTick();
    // Bodies of answers are read in a task of their own.
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await nextTick();
  }

  async toGoal(tile: string): Promise<void> {
    await this.press("点击开始");
    await this.press(tile);
    this.agent.ends("Media.ReadFirst", CARD);
    await this.settled();
    await this.press("是我本人");
  }

  async toPay(): Promise<void> {
    await this.toGoal("缴费");
    await this.press("确认，去支付");
  }
}
