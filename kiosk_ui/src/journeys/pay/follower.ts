/** Follows one order until the page leaves it: long polls, and comes back by itself when nobody answers. */
import { Backoff } from "@kiosk/web-kit/backoff";

import type { Order } from "../../platform/types";

export const WAIT_S = 20;
/** A platform that does not hold the request is not asked more often than this. */
export const BREATH_MS = 400;
/** One answer that did not come is no news; a second one is. */
const SILENT_TRIES = 2;
const BACKOFF_MS = { base: 500, cap: 4_000 };

export interface FollowerOptions {
  ask: (order: string, after: number | null, waitS: number, signal: AbortSignal) => Promise<Order>;
  after: (ms: number, run: () => void) => () => void;
  random: () => number;
  onOrder: (order: Order) => void;
  onReached: (isReached: boolean) => void;
}

export class OrderFollower {
  private readonly stopping = new AbortController();
  private readonly backoff: Backoff;

  constructor(private readonly options: FollowerOptions) {
    this.backoff = new Backoff(BACKOFF_MS.base, BACKOFF_MS.cap, options.random);
  }

  stop(): void {
    this.stopping.abort();
  }

  /** Ends when it is stopped. */
  async follow(order: string, version: number): Promise<void> {
    const { signal } = this.stopping;
    let known: number | null = version;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const found: Order = await this.options.ask(order, known, WAIT_S, signal);
        if (signal.aborted) return;
        known = found.version;
        failures = 0;
        this.backoff.reset();
        this.options.onOrder(found);
        this.options.onReached(true);
        await this.pause(BREATH_MS);
      } catch {
        if (signal.aborted) return;
        failures += 1;
        if (failures >= SILENT_TRIES) this.options.onReached(false);
        // Ask for the order as it is: with `after` the answer would wait for a change that may have been missed.
        known = null;
        await this.pause(BACKOFF_MS.base + this.backoff.next());
      }
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.after(ms, resolve);
      this.stopping.signal.addEventListener("abort", () => {
        cancel();
        resolve();
      });
    });
  }
}
