/** The kiosk's devices as the journeys need them: readers, the scanner, the printer, and the lease on all of it. */
import type { ConnectionState, DeviceConnection, Help, PatientFunction } from "@kiosk/web-kit/devices/connection";
import { CommandFailed } from "@kiosk/web-kit/devices/failure";
import type { Observable } from "@kiosk/web-kit/devices/observable";
import type { DeviceSchemas, RequestOf } from "@kiosk/web-kit/devices/protocol";
import { SessionKeeper } from "@kiosk/web-kit/devices/session";
import type { Environment } from "@kiosk/web-kit/live/connection";

import type { Read } from "../journeys/identify/medium";
import { type PrintOutcome, outcomeOf, outcomeOfJob, printRequest } from "../journeys/takeaway/printing";
import type { Order, ReceiptPaper } from "../platform/types";

export type CodeRead = DeviceSchemas["CodeRead"];
/** A reader that waits for the medium once more, or takes no part any more. */
export type Trouble = DeviceSchemas["ReaderTrouble"];
/** Why no patient may be served now; null when one may. */
export type Barred = "maintenance" | "batteryLow" | null;

const AGAIN_MS = 3_000;
const CALL_MS = 5_000;
const CODE_MS = 30_000;
const PRINT_ANSWER_MS = 60_000;
const JOBS_LOOKED_AT = 50;
const SCANNED: RequestOf<"BarcodeReader.Read">["expect"] = ["wechat_pay", "alipay_pay"];
const BARRED: ReadonlySet<string | null> = new Set(["maintenance", "batteryLow"]);

export class Devices {
  private readonly keeper: SessionKeeper;
  private isServing = false;

  constructor(
    private readonly connection: DeviceConnection,
    private readonly environment: Environment,
  ) {
    this.keeper = new SessionKeeper(connection, environment);
    connection.state.subscribe((now) => {
      if (now === "connected" && this.keeper.lease.value === null) void this.goOn();
    });
  }

  get state(): Observable<ConnectionState> {
    return this.connection.state;
  }

  get functions(): Observable<readonly PatientFunction[]> {
    return this.connection.functions;
  }

  get help(): Observable<Help> {
    return this.connection.help;
  }

  /** Tells the fleet that somebody is stuck here; false when nobody was told. Pressing again is the same call. */
  async callStaff(screen: string, caseNumber: string | null): Promise<boolean> {
    const request = { screen, ...(caseNumber === null ? {} : { case_number: caseNumber }) };
    return this.isDone(this.connection.call("Kiosk.CallStaff", request, { timeoutMs: CALL_MS }));
  }

  async withdrawCall(): Promise<boolean> {
    return this.isDone(this.connection.call("Kiosk.WithdrawCall", {}, { timeoutMs: CALL_MS }));
  }

  /** What an engineer's phone scans to prove to stand here; null when the kiosk cannot make one. */
  async checkInCode(): Promise<string | null> {
    try {
      return (await this.connection.call("Kiosk.CheckInCode", {}, { timeoutMs: CODE_MS })).code;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      return null;
    }
  }

  private async isDone(call: Promise<unknown>): Promise<boolean> {
    try {
      await call;
      return true;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      return false;
    }
  }

  /** A patient is there: nothing may interrupt the kiosk. */
  async begin(): Promise<Barred> {
    this.isServing = true;
    if (this.keeper.lease.value !== null) return null;
    try {
      await this.taken();
      return null;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      if (!BARRED.has(error.errorCode)) return null; // without the agent nothing else would work either
      this.isServing = false;
      return error.errorCode as Barred;
    }
  }

  private async taken(): Promise<void> {
    const options = { isPatientThere: () => this.isServing, onOver: () => void this.goOn() };
    try {
      await this.keeper.begin(options);
    } catch (error) {
      if (!(error instanceof CommandFailed) || error.errorCode !== "sessionActive") throw error;
      // This kiosk has one screen: what is left is the lease of this page as it was before it was loaded anew.
      const { lease } = await this.connection.call("Session.State", {});
      if (lease != null) await this.connection.call("Session.End", { lease });
      await this.keeper.begin(options);
    }
  }

  /** The longest lease is over, or was lost; the patient is still there. */
  private async goOn(): Promise<void> {
    if (this.isServing) await this.begin();
  }

  /** False when no payment may begin; every minute anew while one lasts. */
  async pay(isPaying: boolean): Promise<boolean> {
    try {
      if (this.keeper.lease.value !== null) await this.keeper.pay(isPaying);
      return true;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      return error.errorCode !== "onBattery";
    }
  }

  async end(): Promise<void> {
    this.isServing = false;
    await this.keeper.end();
  }

  /** Whatever the patient shows first; arms all readers again until something came or the signal ends it. */
  readFirst(signal: AbortSignal, onTrouble: (trouble: Trouble) => void): Promise<Read> {
    const request = { id_card: true, cards: ["social" as const] };
    return this.untilRead(signal, onTrouble, async () => {
      const onEvent = (event: { payload: Trouble }): void => onTrouble(event.payload);
      return (await this.connection.call("Media.ReadFirst", request, { signal, onEvent })).first;
    });
  }

  readPaymentCode(signal: AbortSignal, onTrouble: (trouble: Trouble) => void): Promise<CodeRead> {
    return this.untilRead(signal, onTrouble, () =>
      this.connection.call("BarcodeReader.Read", { expect: SCANNED }, { signal }),
    );
  }

  private async untilRead<T>(
    signal: AbortSignal,
    onTrouble: (trouble: Trouble) => void,
    read: () => Promise<T>,
  ): Promise<T> {
    for (;;) {
      await this.connection.connected(signal);
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof CommandFailed) || error.reason === "canceled" || signal.aborted) throw error;
        if (error.reason === "timeOut") continue;
        const isOver = error.errorCode !== "codeSpent"; // a code that is refreshed may be shown again
        if (error.errorCode !== null) onTrouble({ component: "", errorCode: error.errorCode, is_over: isOver });
        await this.pause(AGAIN_MS, signal);
      }
    }
  }

  /** Prints once per key, however often it is asked; never rejects. */
  async print(order: Order, receipt: ReceiptPaper, attempt: number): Promise<PrintOutcome> {
    const request = printRequest(order, receipt, attempt);
    for (let isLast = false; ; isLast = true) {
      try {
        await this.connection.call("Printer.Print", request, { timeoutMs: PRINT_ANSWER_MS });
        return { state: "printed" };
      } catch (error) {
        if (!(error instanceof CommandFailed)) throw error;
        const outcome = error.errorCode === "printRefused" ? await this.printedBefore(request.key) : outcomeOf(error);
        if (outcome !== null) return outcome;
        if (isLast) return { state: "uncertain", reason: error.reason };
      }
      // The job goes on in the spool; the same key asks for it.
      await this.connection.connected(AbortSignal.timeout(PRINT_ANSWER_MS)).catch(() => undefined);
    }
  }

  /** After a reload the paper may say another time of printing, and its key is taken: how did that job end? */
  private async printedBefore(key: string): Promise<PrintOutcome> {
    const { jobs } = await this.connection.call("Printer.Jobs", { limit: JOBS_LOOKED_AT });
    return outcomeOfJob(jobs.find((job) => job.key === key)?.state ?? null);
  }

  private pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.environment.after(ms, resolve);
      signal.addEventListener("abort", () => {
        cancel();
        resolve();
      });
    });
  }
}
