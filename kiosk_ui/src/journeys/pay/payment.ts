/**
 * Paying one order: what was sent, what is known of it, and that nothing is ever sent twice as two attempts.
 *
 * An attempt without an answer is in doubt: the page shows "do not pay again" until the platform says where the order
 * stands; only an order that was never submitted is sent once more, with the same key.
 */
import { ref, type Ref, shallowRef } from "vue";

import { ApiProblem } from "@kiosk/web-kit/api/problem";

import type { Order, PaymentRequest } from "../../platform/types";
import { type Stage, stageOf } from "./order_view";

export interface PaymentParts {
  pay: (order: string, request: PaymentRequest, key: string) => Promise<Order>;
  /** False when no payment may begin now. */
  mayBegin: () => Promise<boolean>;
  /** The order as it is now. */
  ask: (order: string) => Promise<Order>;
  newKey: () => string;
}

interface Attempt {
  request: PaymentRequest;
  key: string;
  /** How the order was when the attempt began; a newer one has heard of it. */
  version: number;
}

export type Refusal = { code: "on_battery" | "not_sent" } | { problem: ApiProblem };
const RESENDS = 2;

export class Payment {
  readonly order: Ref<Order>;
  readonly isReached = ref(true);
  readonly isSending = ref(false);
  readonly refusal = shallowRef<Refusal | null>(null);
  private readonly inDoubt = shallowRef<Attempt | null>(null);
  private resends = 0;

  constructor(
    order: Order,
    private readonly parts: PaymentParts,
  ) {
    this.order = shallowRef(order);
  }

  get stage(): Stage {
    if (this.inDoubt.value !== null) return this.isReached.value ? "wait" : "unknown";
    if (this.isSending.value) return "wait";
    return stageOf(this.order.value, this.isReached.value);
  }

  get isOpen(): boolean {
    return this.inDoubt.value !== null || this.isSending.value;
  }

  async submit(request: PaymentRequest): Promise<void> {
    if (this.stage !== "choose") return;
    this.refusal.value = null;
    this.isSending.value = true;
    if (!(await this.parts.mayBegin())) {
      this.isSending.value = false;
      this.refusal.value = { code: "on_battery" };
      return;
    }
    this.resends = 0;
    await this.send({ request, key: this.parts.newKey(), version: this.order.value.version });
  }

  /** The platform said how the order is; older news changes nothing. */
  learn(order: Order): void {
    this.isReached.value = true;
    if (order.order !== this.order.value.order || order.version < this.order.value.version) return;
    this.order.value = order;
    const attempt = this.inDoubt.value;
    if (attempt === null || this.isSending.value) return;
    const isUntouched = order.advice === "pay" && order.version === attempt.version;
    if (isUntouched && this.resends < RESENDS) {
      this.resends += 1;
      void this.send(attempt);
    } else {
      this.inDoubt.value = null;
      if (isUntouched) this.refusal.value = { code: "not_sent" };
    }
  }

  reached(isReached: boolean): void {
    this.isReached.value = isReached;
  }

  private async send(attempt: Attempt): Promise<void> {
    this.isSending.value = true;
    try {
      const order = await this.parts.pay(this.order.value.order, attempt.request, attempt.key);
      this.inDoubt.value = null;
      this.learn(order);
    } catch (error) {
      if (error instanceof ApiProblem && error.status < 500) {
        this.inDoubt.value = null;
        this.refusal.value = { problem: error };
      } else {
        this.inDoubt.value = attempt;
      }
    } finally {
      this.isSending.value = false;
    }
    if (this.inDoubt.value !== null) await this.clarify();
  }

  /** Asks once by itself; when nobody answers, whoever follows the order learns it later. */
  private async clarify(): Promise<void> {
    try {
      this.learn(await this.parts.ask(this.order.value.order));
    } catch {
      this.isReached.value = false;
    }
  }
}
