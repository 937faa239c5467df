import { beforeEach, describe, expect, it } from "vitest";

import { GRACE_MS, PROBE_MS, SILENCE_MS } from "../src/devices/connection";
import { CommandFailed } from "../src/devices/failure";
import { Bench, settled } from "./device_bench";

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
  bench.connection.start();
});

/** What a rejected command was rejected with. */
async function failureOf(command: Promise<unknown>): Promise<CommandFailed> {
  const error: unknown = await command.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof CommandFailed)) throw new Error("it did not fail");
  return error;
}

describe("getting in", () => {
  it("offers the protocol and the token of this boot", () => {
    expect(bench.environment.socket.protocols).toEqual(["kiosk.v1", "token.first"]);
  });

  it("is connected once everything was told", () => {
    bench.environment.socket.onopen?.();
    bench.status({ component: "receipt_printer", device: "online", paper: "full" });
    expect(bench.connection.state.value).toBe("connecting");
    expect(bench.connection.components.value.size).toBe(0);
    bench.acknowledge(1);
    expect(bench.connection.state.value).toBe("connected");
    expect(bench.connection.components.value.get("receipt_printer")).toEqual({ device: "online", paper: "full" });
  });

  it("lets others wait for it, but not for ever", async () => {
    const leaving = new AbortController();
    const gone = failureOf(bench.connection.connected(leaving.signal));
    const ready = bench.connection.connected();
    leaving.abort();
    bench.welcome();
    await ready;
    await bench.connection.connected();
    expect((await gone).reason).toBe("canceled");
  });

  it("tells when it is turned away, and asks for the token again", () => {
    bench.token = "second";
    bench.environment.socket.onclose?.();
    expect(bench.refusals).toBe(1);
    bench.environment.advance(5_000);
    expect(bench.environment.socket.protocols).toContain("token.second");
  });

  it("waits longer and longer, with jitter, up to its cap", () => {
    bench.environment.chance = 1;
    const waits: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      bench.environment.socket.onclose?.();
      const [before, count] = [bench.environment.now(), bench.environment.sockets.length];
      while (bench.environment.sockets.length === count) bench.environment.advance(50);
      waits.push(bench.environment.now() - before);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  });
});

describe("a command", () => {
  beforeEach(() => bench.welcome());

  it("resolves with what its completion says, whatever others do", async () => {
    const first = bench.connection.call("Session.State", {});
    const second = bench.connection.call("Session.Begin", {});
    const [one, two] = bench.commands;
    expect([one?.header, two?.header]).toEqual([
      { name: "Session.State", type: "command", requestId: 2 },
      { name: "Session.Begin", type: "command", requestId: 3 },
    ]);
    bench.acknowledge(2);
    bench.acknowledge(3);
    bench.complete(3, { activity: "in_session", lease: "L" });
    bench.complete(2, { activity: "idle" });
    expect(await first).toEqual({ activity: "idle" });
    expect((await second).lease).toBe("L");
  });

  it("tells its own events, and none after its end", async () => {
    const heard: unknown[] = [];
    const reading = bench.connection.call("Session.State", {}, { onEvent: (event) => heard.push(event) });
    bench.event(2, "Card.InsertedEvent", { slot: "upper" });
    bench.event(9, "Card.InsertedEvent", { slot: "other" });
    bench.complete(2);
    bench.event(2, "Card.InsertedEvent", { slot: "late" });
    await reading;
    expect(heard).toEqual([{ name: "Card.InsertedEvent", payload: { slot: "upper" } }]);
  });

  it("says why it failed", async () => {
    const refused = failureOf(bench.connection.call("Session.Begin", {}));
    bench.complete(2, { errorCode: "sessionActive" }, "commandErrorCode");
    expect(await refused).toMatchObject({ reason: "commandErrorCode", errorCode: "sessionActive", isUntouched: false });
    const wrong = failureOf(bench.connection.call("Session.End", { lease: "x".repeat(65) }));
    bench.complete(3, { fields: ["lease"] }, "invalidData");
    expect(await wrong).toMatchObject({ reason: "invalidData", fields: ["lease"], isUntouched: true });
    const busy = failureOf(bench.connection.call("Session.State", {}));
    bench.acknowledge(4, "tooManyRequests");
    expect((await busy).reason).toBe("tooManyRequests");
  });

  it("is cancelled by its signal, and ends when the agent says so", async () => {
    const leaving = new AbortController();
    const reading = bench.connection.call("Session.State", {}, { signal: leaving.signal });
    leaving.abort();
    expect(bench.last).toEqual({
      header: { name: "Common.Cancel", type: "command", requestId: 3 },
      payload: { requestIds: [2] },
    });
    bench.complete(2, {}, "canceled");
    expect((await failureOf(reading)).reason).toBe("canceled");
  });

  it("that was complete before it was cancelled is complete", async () => {
    const leaving = new AbortController();
    const reading = bench.connection.call("Session.State", {}, { signal: leaving.signal });
    leaving.abort();
    bench.complete(2, { activity: "idle" });
    expect(await reading).toEqual({ activity: "idle" });
    const sent = bench.sent.length;
    expect((await failureOf(bench.connection.call("Session.State", {}, { signal: leaving.signal }))).reason).toBe("canceled");
    expect(bench.sent).toHaveLength(sent);
  });

  it("has a deadline, and is cancelled when nobody answers it", async () => {
    const reading = failureOf(bench.connection.call("Session.State", {}, { timeoutMs: 2_000.4 }));
    expect(bench.commands.at(-1)?.header.timeout).toBe(2_001);
    bench.environment.advance(2_000 + GRACE_MS + 1);
    expect((await reading).reason).toBe("no_answer");
    expect(bench.commands.at(-1)?.payload).toEqual({ requestIds: [2] });
    bench.complete(2);
  });

  it("leaves no timer and no listener behind", async () => {
    const staying = new AbortController();
    const reading = bench.connection.call("Session.State", {}, { signal: staying.signal, timeoutMs: 1_000 });
    bench.complete(2);
    await reading;
    const sent = bench.commands.length;
    staying.abort();
    bench.environment.advance(GRACE_MS);
    expect(bench.commands).toHaveLength(sent);
  });
});

describe("a lost connection", () => {
  it("rejects what was open, refuses new commands and never sends anything twice", async () => {
    bench.welcome();
    const open = failureOf(bench.connection.call("Session.Begin", {}));
    bench.environment.socket.onclose?.();
    expect(await open).toMatchObject({ reason: "connection_lost", isUntouched: false });
    expect(await failureOf(bench.connection.call("Session.State", {}))).toMatchObject({
      reason: "not_connected",
      isUntouched: true,
    });
    bench.environment.advance(5_000);
    bench.welcome();
    expect(bench.commands).toEqual([]);
    void bench.connection.call("Session.State", {});
    expect(bench.last.header.requestId).toBe(2);
  });

  it("shows what was known until the new one has told everything", () => {
    bench.welcome({ component: "printer", device: "online" }, { component: "scanner", device: "online" });
    const seen: string[][] = [];
    bench.connection.components.subscribe((all) => seen.push([...all.keys()]));
    bench.environment.socket.onclose?.();
    bench.environment.advance(5_000);
    bench.environment.socket.onopen?.();
    bench.status({ component: "printer", device: "hardwareError" });
    expect([...bench.connection.components.value.keys()]).toEqual(["printer", "scanner"]);
    bench.environment.socket.onclose?.();
    bench.environment.advance(5_000);
    bench.welcome({ component: "printer", device: "online" });
    expect(seen).toEqual([["printer"]]);
  });

  it("is noticed when the agent hangs", () => {
    bench.welcome();
    bench.environment.advance(PROBE_MS);
    expect(bench.last.payload).toEqual({ requestIds: [] });
    bench.acknowledge(bench.last.header.requestId);
    const first = bench.environment.socket;
    bench.environment.advance(SILENCE_MS + PROBE_MS);
    expect(first.isClosed).toBe(true);
    expect(bench.environment.sockets.length).toBeGreaterThan(1);
  });

  it("is tried again at once when poked", () => {
    bench.welcome();
    bench.environment.chance = 1;
    bench.environment.socket.onclose?.();
    bench.connection.poke();
    bench.connection.poke();
    expect(bench.environment.sockets).toHaveLength(2);
  });

  it("stays away once stopped", async () => {
    bench.welcome();
    const open = failureOf(bench.connection.call("Session.State", {}));
    bench.connection.stop();
    bench.environment.advance(120_000);
    expect((await open).reason).toBe("connection_lost");
    expect(bench.environment.sockets).toHaveLength(1);
    expect(bench.connection.state.value).toBe("stopped");
  });
});

describe("news", () => {
  beforeEach(() => bench.welcome({ component: "printer", device: "online", paper: "full" }));

  it("changes one component and takes values back", () => {
    const before = bench.connection.components.value;
    bench.status({ component: "printer", paper: null, device: "offline" });
    expect(bench.connection.components.value.get("printer")).toEqual({ device: "offline" });
    expect(before.get("printer")).toEqual({ device: "online", paper: "full" });
  });

  it("tells what patients can do, and what is left of paper", () => {
    const functions = [{ function: "print_receipt", state: "down" }];
    bench.say({ name: "Common.FunctionsChanged", type: "unsolicited" }, { functions });
    bench.say({ name: "Common.ConsumablesChanged", type: "unsolicited" }, { consumables: null });
    expect(bench.connection.functions.value).toEqual(functions);
    expect(bench.connection.consumables.value).toEqual([]);
    expect(bench.news).toEqual([]);
  });

  it("that is no status is passed on", () => {
    bench.say({ name: "Common.DeviceEvent", type: "unsolicited" }, { component: "printer", name: "x" });
    expect(bench.news).toEqual([{ name: "Common.DeviceEvent", payload: { component: "printer", name: "x" } }]);
  });

  it("in a language nobody speaks is passed over", async () => {
    for (const data of ["no json", "[]", "{}", '{"header":{"name":"a","type":"later"}}', 7, null]) {
      bench.environment.socket.onmessage?.({ data });
    }
    bench.say({ name: "Common.StatusChangedEvent", type: "unsolicited" }, {});
    bench.complete(99);
    await settled();
    expect(bench.connection.state.value).toBe("connected");
  });
});
