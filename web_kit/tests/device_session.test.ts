import { beforeEach, describe, expect, it } from "vitest";

import { RENEW_MS, type SessionEnd, SessionKeeper } from "../src/devices/session";
import { Bench, settled } from "./device_bench";

let bench: Bench;
let keeper: SessionKeeper;
let ends: SessionEnd[];
let isThere: boolean;

beforeEach(async () => {
  bench = new Bench();
  bench.connection.start();
  bench.welcome();
  keeper = new SessionKeeper(bench.connection, bench.environment);
  ends = [];
  isThere = true;
  const begun = keeper.begin({ isPatientThere: () => isThere, onOver: (end) => ends.push(end) });
  await answer("Session.Begin", { activity: "in_session", lease: "L1", expires_in_s: 60 });
  await begun;
});

/** The agent completes the newest command, which must be this one. */
async function answer(name: string, payload: Record<string, unknown>, code = "success"): Promise<void> {
  await settled();
  expect(bench.commands.at(-1)?.header.name).toBe(name);
  bench.complete(bench.commands.at(-1)?.header.requestId ?? 0, payload, code);
  await settled();
}

describe("a session", () => {
  it("is renewed while the patient is there", async () => {
    for (let round = 0; round < 3; round += 1) {
      bench.environment.advance(RENEW_MS);
      expect(bench.commands.at(-1)?.payload).toEqual({ lease: "L1" });
      await answer("Session.Renew", { activity: "in_session", lease: "L1" });
    }
    expect(keeper.lease.value).toBe("L1");
    expect(ends).toEqual([]);
  });

  it("runs out when nobody is there, and says so", async () => {
    isThere = false;
    bench.environment.advance(RENEW_MS);
    await answer("Session.State", { activity: "in_session", lease: "L1" });
    bench.environment.advance(RENEW_MS);
    await answer("Session.State", { activity: "idle" });
    expect([keeper.lease.value, ends]).toEqual([null, ["left"]]);
    const count = bench.commands.length;
    bench.environment.advance(RENEW_MS);
    expect(bench.commands).toHaveLength(count);
  });

  it("is given back at its end, once", async () => {
    const ended = keeper.end();
    await answer("Session.End", { activity: "idle" });
    await ended;
    await keeper.end();
    expect([keeper.lease.value, ends]).toEqual([null, ["ended"]]);
    const count = bench.commands.length;
    bench.environment.advance(RENEW_MS);
    expect(bench.commands).toHaveLength(count);
  });

  it("is over when the agent gave it away", async () => {
    bench.environment.advance(RENEW_MS);
    await answer("Session.Renew", { errorCode: "noSession" }, "commandErrorCode");
    expect(ends).toEqual(["lost"]);
    await expect(keeper.pay(true)).rejects.toMatchObject({ errorCode: "noSession" });
  });

  it("outlives a lost connection, and is asked for as soon as there is a new one", async () => {
    bench.environment.socket.onclose?.();
    await settled();
    bench.environment.advance(5_000);
    bench.welcome();
    await answer("Session.Renew", { activity: "in_session", lease: "L1" });
    expect(ends).toEqual([]);
    bench.environment.socket.onclose?.();
    const ended = keeper.end();
    await ended;
    expect([keeper.lease.value, ends]).toEqual([null, ["ended"]]);
  });

  it("protects a payment", async () => {
    const paying = keeper.pay(true);
    expect(bench.commands.at(-1)?.payload).toEqual({ lease: "L1", paying: true });
    await answer("Session.Pay", { activity: "paying", lease: "L1" });
    await paying;
  });

  it("is not begun twice", async () => {
    await expect(keeper.begin({ isPatientThere: () => true, onOver: () => undefined })).rejects.toMatchObject({
      reason: "sequenceError",
    });
  });
});
