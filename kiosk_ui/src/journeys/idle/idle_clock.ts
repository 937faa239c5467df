/** When a patient who does nothing is asked, and when they are taken to be gone. Time is given. */

export const QUIET_MS = 60_000;
export const RING_MS = 30_000;
export const EXTENSIONS = 10;
/** Where the machine reads everything more slowly, so does the patient. */
export const ELDER_FACTOR = 2;

export type Idle = { phase: "active" } | { phase: "asking"; leftMs: number; ofMs: number } | { phase: "gone" };

const ACTIVE: Idle = { phase: "active" };

export class IdleClock {
  private lastMs: number;
  private extensions = 0;
  factor = 1;

  constructor(nowMs: number) {
    this.lastMs = nowMs;
  }

  /** A touch or something a device did: the patient is there. */
  active(nowMs: number): void {
    this.lastMs = nowMs;
    this.extensions = 0;
  }

  /** "I need more time", at most ten times without doing anything else. */
  extend(nowMs: number): void {
    if (this.extensions >= EXTENSIONS) return;
    this.extensions += 1;
    this.lastMs = nowMs;
  }

  get canExtend(): boolean {
    return this.extensions < EXTENSIONS;
  }

  /** While it is held (money is on its way, or nobody is expected) nothing runs out, and the clock begins anew after it. */
  look(nowMs: number, isHeld: boolean): Idle {
    if (isHeld) {
      this.lastMs = nowMs;
      return ACTIVE;
    }
    const quietMs = nowMs - this.lastMs - QUIET_MS * this.factor;
    const ofMs = RING_MS * this.factor;
    if (quietMs < 0) return ACTIVE;
    if (quietMs >= ofMs) return { phase: "gone" };
    return { phase: "asking", leftMs: ofMs - quietMs, ofMs };
  }
}
