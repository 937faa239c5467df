/**
 * Keeps the lease of a patient session: renews it while the patient is there, and gives it back at the end.
 *
 * While a page holds it no other page serves a patient, and the kiosk is neither updated nor restarted.
 */
import type { Environment } from "../live/connection";
import type { DeviceConnection } from "./connection";
import { CommandFailed } from "./failure";
import { type Observable, Subject } from "./observable";
import type { DeviceSchemas } from "./protocol";

export type SessionState = DeviceSchemas["SessionState"];
/** Why a session is over: at its end, because nobody was there, or because the agent gave it to nobody or another. */
export type SessionEnd = "ended" | "left" | "lost";

export const RENEW_MS = 20_000;

export interface SessionOptions {
  /** Whether the patient still does something; without their doing the lease runs out by itself. */
  isPatientThere: () => boolean;
  onOver: (end: SessionEnd) => void;
}

export class SessionKeeper {
  private readonly leaseSubject = new Subject<string | null>(null);
  private options: SessionOptions | null = null;
  private cancelTimer: () => void = () => undefined;
  private forget: () => void = () => undefined;
  private isRenewing = false;

  constructor(
    private readonly connection: DeviceConnection,
    private readonly environment: Environment,
  ) {}

  /** The lease's number while this page holds it. */
  get lease(): Observable<string | null> {
    return this.leaseSubject;
  }

  /** Take the lease; rejects with `sessionActive` when another page serves a patient. */
  async begin(options: SessionOptions): Promise<SessionState> {
    if (this.leaseSubject.value !== null) throw new CommandFailed("Session.Begin", "sequenceError");
    const state = await this.connection.call("Session.Begin", {});
    this.options = options;
    this.leaseSubject.set(state.lease ?? null);
    // After a loss the lease may live on: ask before it has run out.
    this.forget = this.connection.state.subscribe((now) => {
      if (now === "connected") void this.renew();
    });
    this.wait();
    return state;
  }

  /** A payment begins or is over: while it lasts nothing may interrupt the kiosk. */
  async pay(isPaying: boolean): Promise<void> {
    await this.connection.call("Session.Pay", { lease: this.held("Session.Pay"), paying: isPaying });
  }

  /** The patient is gone. Never rejects: a lease that cannot be given back runs out by itself. */
  async end(): Promise<void> {
    const lease = this.leaseSubject.value;
    if (lease === null) return;
    this.finish("ended");
    try {
      await this.connection.call("Session.End", { lease });
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
    }
  }

  private held(verb: string): string {
    const lease = this.leaseSubject.value;
    if (lease === null) throw new CommandFailed(verb, "commandErrorCode", { errorCode: "noSession" });
    return lease;
  }

  private wait(): void {
    this.cancelTimer = this.environment.after(RENEW_MS, () => {
      this.wait();
      void this.renew();
    });
  }

  private async renew(): Promise<void> {
    const lease = this.leaseSubject.value;
    if (lease === null || this.isRenewing) return;
    this.isRenewing = true;
    try {
      if (this.options?.isPatientThere() === true) await this.connection.call("Session.Renew", { lease });
      else await this.look(lease);
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      // Anything else is a bad moment; the next renewal will tell.
      if (error.errorCode === "noSession" && this.leaseSubject.value === lease) this.finish("lost");
    } finally {
      this.isRenewing = false;
    }
  }

  /** Nobody is there: let the lease run out, and notice when it has. */
  private async look(lease: string): Promise<void> {
    const state = await this.connection.call("Session.State", {});
    if (state.lease !== lease && this.leaseSubject.value === lease) this.finish("left");
  }

  private finish(end: SessionEnd): void {
    this.cancelTimer();
    this.forget();
    const options = this.options;
    this.options = null;
    this.leaseSubject.set(null);
    options?.onOver(end);
  }
}
