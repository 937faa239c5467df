/**
 * One patient at one kiosk: the screen, what was chosen on the way, and how the patient is let go.
 *
 * The page keeps nothing beyond itself: the end of a session is a new document, and after a reload the platform says
 * which transaction is open.
 */
import { computed, type InjectionKey, inject, ref, shallowRef, watch } from "vue";

import type { Environment } from "@kiosk/web-kit/live/connection";

import type { Barred, Devices } from "../device/devices";
import type { Platform } from "../platform/client";
import type * as wire from "../platform/types";
import { ELDER_FACTOR, IdleClock, type Idle } from "./idle/idle_clock";
import { canStep, type Goal, progress, type Screen, step, type Step } from "./machine";
import { isMoneyPending, isUnfinished, orderToResume } from "./pay/order_view";
import { tilesOf } from "./home/tiles";

export interface Page {
  /** A new document in the place of this one; `left` are orders that the patient walked away from. */
  replace(left: readonly string[]): void;
  left: ReadonlySet<string>;
  wallMs: () => number;
}

export interface KioskParts {
  platform: Platform;
  devices: Devices;
  environment: Environment;
  page: Page;
}

const TICK_MS = 500;
const LOOK_MS = 10_000;
const LOOK_AGAIN_MS = 3_000;
const FAREWELL_MS = 2_000;
const BARRED_MS = 15_000;
const RENEW_PAYING_MS = 60_000;
const LEFT_MOST = 5;
/** Screens where nobody is expected, or that end by themselves. */
const WITHOUT_CLOCK: ReadonlySet<Screen> = new Set<Screen>(["starting", "idle", "out_of_service"]);

export type OutReason = "agent_lost" | "maintenance" | "batteryLow" | "offline" | "his_down" | "no_channel" | "on_battery" | "device_down";

export class Kiosk {
  readonly screen = ref<Screen>("starting");
  readonly goal = ref<Goal | null>(null);
  readonly isElder = ref(false);
  readonly isLow = ref(false);
  readonly isHelpOpen = ref(false);
  /** Staff was called to this kiosk, by this patient or one before. */
  readonly isStaffCalled = ref(false);
  readonly isLeaving = ref(false);

  readonly status = shallowRef<wire.PlatformStatus | null>(null);
  readonly isReached = ref(true);
  readonly isAgentThere = ref(true);
  readonly barred = ref<Barred>(null);
  private readonly isReconciled = ref(false);
  private readonly isRefused = ref(false);

  readonly session = shallowRef<string | null>(null);
  readonly patient = shallowRef<wire.Patient | null>(null);
  readonly department = shallowRef<wire.Department | null>(null);
  readonly doctor = shallowRef<wire.Doctor | null>(null);
  readonly lock = shallowRef<wire.SlotLock | null>(null);
  readonly order = shallowRef<wire.Order | null>(null);
  /** A sentence for the next screen: why the patient is back here. */
  readonly notice = ref<string | null>(null);

  readonly idle = shallowRef<Idle>({ phase: "active" });
  readonly nowMs = ref(0);
  private readonly clock: IdleClock;
  private serverAheadMs = 0;
  private payingSinceMs: number | null = null;
  private leaving = new AbortController();
  /** Orders that earlier patients walked away from and that are still open. */
  private stillLeft: string[] = [];

  readonly tiles;
  readonly progress = computed(() => progress(this.goal.value, this.screen.value));
  readonly isMoneyPending = computed(() => this.order.value !== null && isMoneyPending(this.order.value));
  readonly outReason = computed<OutReason | null>(() => this.outBecause());

  constructor(readonly parts: KioskParts) {
    this.clock = new IdleClock(parts.environment.now());
    this.nowMs.value = parts.page.wallMs();
    const functions = shallowRef(parts.devices.functions.value);
    parts.devices.functions.subscribe((now) => (functions.value = now));
    parts.devices.help.subscribe((now) => (this.isStaffCalled.value = now.is_called));
    this.tiles = computed(() => tilesOf(this.isReached.value ? this.status.value : null, functions.value));
    this.watchAgent();
    watch(this.isElder, (isElder) => (this.clock.factor = isElder ? ELDER_FACTOR : 1));
    watch(this.outReason, () => this.openOrClose());
  }

  start(): void {
    this.tick();
    void this.look();
  }

  // --- the way ---------------------------------------------------------------------------------------------

  /** Ends with the screen: what a screen waits for is given up when it is left. */
  get screenSignal(): AbortSignal {
    return this.leaving.signal;
  }

  go(by: Step, notice: string | null = null): void {
    const next = step(this.screen.value, by);
    this.leaving.abort();
    this.leaving = new AbortController();
    this.notice.value = notice;
    this.screen.value = next;
    this.active();
    if (next === "idle") this.openOrClose();
  }

  async touch(): Promise<void> {
    const barred = await this.parts.devices.begin();
    if (barred !== null) {
      this.barred.value = barred;
      this.parts.environment.after(BARRED_MS, () => (this.barred.value = null));
    } else if (canStep(this.screen.value, "touched")) {
      this.go("touched");
    }
  }

  choose(goal: Goal): void {
    this.goal.value = goal;
    if (this.session.value === null) this.go("goal");
    else this.toBusiness();
  }

  toBusiness(): void {
    this.go(this.goal.value === "register" ? "to_register" : "to_bill");
  }

  identified(found: wire.PatientSession): void {
    this.session.value = found.session;
    this.patient.value = found.patient;
    this.go("identified");
  }

  /** Not the one who was read: their session ends before anybody sees more of it. */
  notMe(): void {
    const session = this.session.value;
    this.session.value = null;
    this.patient.value = null;
    if (session !== null) void this.parts.platform.closeSession(session).catch(() => undefined);
    this.go("not_me");
  }

  ordered(order: wire.Order): void {
    this.order.value = order;
    this.go("ordered");
  }

  // --- time ------------------------------------------------------------------------------------------------

  active(): void {
    this.clock.active(this.parts.environment.now());
    this.idle.value = { phase: "active" };
  }

  extend(): void {
    this.clock.extend(this.parts.environment.now());
    this.idle.value = { phase: "active" };
  }

  /** How long until a moment of the platform's clock. */
  leftMs(moment: string): number {
    return Date.parse(moment) - this.nowMs.value;
  }

  private tick(): void {
    const { environment, page } = this.parts;
    const nowMs = environment.now();
    this.nowMs.value = page.wallMs() + this.serverAheadMs;
    this.idle.value = this.clock.look(nowMs, this.isHeld());
    if (this.idle.value.phase === "gone") void this.leave();
    this.keepPaying(nowMs);
    environment.after(TICK_MS, () => this.tick());
  }

  /** Nothing may interrupt the kiosk while it is paying; false when no payment may begin now. */
  beginPaying(): Promise<boolean> {
    this.payingSinceMs = this.parts.environment.now();
    return this.parts.devices.pay(true);
  }

  private keepPaying(nowMs: number): void {
    const isPaying = this.isMoneyPending.value || this.isSubmitting;
    if (isPaying && (this.payingSinceMs === null || nowMs - this.payingSinceMs >= RENEW_PAYING_MS)) {
      void this.beginPaying();
    } else if (!isPaying && this.payingSinceMs !== null) {
      this.payingSinceMs = null;
      void this.parts.devices.pay(false);
    }
  }

  private isHeld(): boolean {
    return WITHOUT_CLOCK.has(this.screen.value) || this.isMoneyPending.value || this.isLeaving.value || this.isSubmitting;
  }

  /** A payment was sent and nobody said yet what became of it. */
  isSubmitting = false;

  // --- the surroundings ------------------------------------------------------------------------------------

  reached(isReached: boolean): void {
    this.isReached.value = isReached;
  }

  private watchAgent(): void {
    const { state } = this.parts.devices;
    this.isAgentThere.value = state.value !== "lost";
    state.subscribe((now) => {
      if (now !== "connecting") this.isAgentThere.value = now === "connected";
    });
  }

  private async look(): Promise<void> {
    const { environment, page, platform } = this.parts;
    try {
      const askedMs = page.wallMs();
      const status = await platform.status();
      this.serverAheadMs = Date.parse(status.now) - (askedMs + page.wallMs()) / 2;
      this.status.value = status;
      this.isReached.value = true;
      if (!this.isReconciled.value) await this.reconcile();
      this.isRefused.value = false;
    } catch {
      // `reached` was told, unless the platform itself is in trouble: then the last status stands, if there is one.
      this.isRefused.value = true;
    }
    this.openOrClose();
    environment.after(this.isReconciled.value && this.isReached.value ? LOOK_MS : LOOK_AGAIN_MS, () => void this.look());
  }

  /** Where did the transaction stand when this page was loaded? */
  private async reconcile(): Promise<void> {
    const { devices, page, platform } = this.parts;
    const nowMs = page.wallMs() + this.serverAheadMs;
    const open = await platform.openOrders();
    const order = orderToResume(open, nowMs, page.left);
    this.stillLeft = open.map((one) => one.order).filter((one) => page.left.has(one));
    this.isReconciled.value = true;
    if (order === null || !canStep(this.screen.value, "resume")) return;
    await devices.begin();
    this.order.value = order;
    this.session.value = order.session;
    this.goal.value = order.business === "bill" ? "pay_bill" : "register";
    this.go("resume");
  }

  private openOrClose(): void {
    const isClosed = this.outReason.value !== null;
    if (isClosed && (this.screen.value === "starting" || this.screen.value === "idle")) this.go("closed");
    else if (!isClosed && this.isReconciled.value && canStep(this.screen.value, "ready")) this.go("ready");
  }

  private outBecause(): OutReason | null {
    if (!this.isAgentThere.value) return "agent_lost";
    if (this.barred.value !== null) return this.barred.value;
    if (!this.isReached.value || (this.isRefused.value && !this.isReconciled.value)) return "offline";
    if (this.status.value === null) return null; // nobody knows yet
    return this.tiles.value.some((tile) => tile.isOpen) ? null : (this.tiles.value[0]?.reason ?? "offline");
  }

  // --- the end ---------------------------------------------------------------------------------------------

  /** The patient goes: what is held for them is given back, and nothing of them stays in this document. */
  async leave(): Promise<void> {
    if (this.isLeaving.value) return;
    this.isLeaving.value = true;
    this.leaving.abort();
    const { devices, environment, page } = this.parts;
    const enough = new Promise<void>((resolve) => environment.after(FAREWELL_MS, resolve));
    await Promise.race([Promise.allSettled([this.giveBack(), devices.end()]), enough]);
    const order = this.order.value;
    page.replace([...this.stillLeft, ...(order !== null && isUnfinished(order) ? [order.order] : [])].slice(-LEFT_MOST));
  }

  private async giveBack(): Promise<void> {
    const { platform } = this.parts;
    const session = this.session.value;
    const order = this.order.value;
    if (order?.advice === "pay") await platform.cancel(order.order).catch(() => undefined);
    if (session === null) return;
    if (order === null && this.lock.value !== null) await platform.unlockSlot(session, this.lock.value.lock).catch(() => undefined);
    await platform.closeSession(session).catch(() => undefined);
  }
}

export const KIOSK: InjectionKey<Kiosk> = Symbol("kiosk");

export function useKiosk(): Kiosk {
  const kiosk = inject(KIOSK);
  if (kiosk === undefined) throw new Error("no kiosk was provided");
  return kiosk;
}
