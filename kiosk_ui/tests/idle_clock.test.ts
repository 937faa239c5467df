import { describe, expect, it } from "vitest";

import { ELDER_FACTOR, EXTENSIONS, IdleClock, QUIET_MS, RING_MS } from "../src/journeys/idle/idle_clock";

describe("the idle clock", () => {
  it("asks after a minute and lets go half a minute later", () => {
    const clock = new IdleClock(0);
    expect(clock.look(QUIET_MS - 1, false)).toEqual({ phase: "active" });
    expect(clock.look(QUIET_MS, false)).toEqual({ phase: "asking", leftMs: RING_MS, ofMs: RING_MS });
    expect(clock.look(QUIET_MS + 20_000, false)).toEqual({ phase: "asking", leftMs: 10_000, ofMs: RING_MS });
    expect(clock.look(QUIET_MS + RING_MS, false)).toEqual({ phase: "gone" });
  });

  it("leaves at least twenty seconds to say that more time is needed", () => {
    expect(RING_MS).toBeGreaterThanOrEqual(20_000);
    expect(EXTENSIONS).toBeGreaterThanOrEqual(10);
  });

  it("begins anew with whatever the patient or a device does", () => {
    const clock = new IdleClock(0);
    clock.active(50_000);
    expect(clock.look(50_000 + QUIET_MS - 1, false).phase).toBe("active");
  });

  it("gives older people twice the time", () => {
    const clock = new IdleClock(0);
    clock.factor = ELDER_FACTOR;
    expect(clock.look(2 * QUIET_MS - 1, false).phase).toBe("active");
    expect(clock.look(2 * QUIET_MS, false)).toEqual({ phase: "asking", leftMs: 2 * RING_MS, ofMs: 2 * RING_MS });
  });

  it("never runs while it is held, and has its full time afterwards", () => {
    const clock = new IdleClock(0);
    for (let ms = 0; ms <= 3_600_000; ms += 30_000) expect(clock.look(ms, true)).toEqual({ phase: "active" });
    expect(clock.look(3_600_000 + QUIET_MS - 1, false).phase).toBe("active");
  });

  it("can be extended ten times without doing anything else", () => {
    const clock = new IdleClock(0);
    let now = 0;
    for (let times = 0; times < EXTENSIONS; times += 1) {
      now += QUIET_MS + 1_000;
      clock.extend(now);
      expect(clock.look(now, false).phase).toBe("active");
    }
    now += QUIET_MS + 1_000;
    clock.extend(now);
    expect(clock.canExtend).toBe(false);
    expect(clock.look(now, false).phase).toBe("asking");
    clock.active(now);
    expect(clock.canExtend).toBe(true);
  });
});
