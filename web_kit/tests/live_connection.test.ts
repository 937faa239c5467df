import { beforeEach, describe, expect, it } from "vitest";

import { FLUSH_MS, LiveConnection, PING_MS, RESYNC_MS, SILENCE_MS } from "../src/live/connection";
import type { Row } from "../src/live/protocol";
import { TopicRows } from "../src/live/topic";
import { FakeEnvironment, Recorder } from "./bench";

let environment: FakeEnvironment;
let recorder: Recorder;
let kiosks: TopicRows;
let connection: LiveConnection;

const snap = (seq: number, ...kids: string[]) => ({
  t: "snap",
  topic: "kiosks",
  seq,
  rows: kids.map((kid) => ({ kid })),
});
const delta = (seq: number, prev: number, ...kids: string[]) => ({
  t: "d",
  topic: "kiosks",
  seq,
  prev,
  rows: kids.map((kid) => ({ kid, seq })),
});

beforeEach(() => {
  environment = new FakeEnvironment();
  recorder = new Recorder();
  kiosks = new TopicRows("kiosks", (row: Row) => String(row["kid"]));
  connection = new LiveConnection("ws://fleet/live", [kiosks], environment, recorder);
  connection.start();
});

function open(): void {
  environment.socket.onopen?.();
}

/** Open, subscribed and filled. */
function live(): void {
  open();
  environment.socket.say(snap(10, "a", "b"));
  environment.advance(FLUSH_MS);
}

describe("a live connection", () => {
  it("subscribes when it opens and is live with the first message", () => {
    open();
    expect(environment.socket.sent).toEqual([{ sub: [{ topic: "kiosks" }] }]);
    environment.socket.say(snap(10, "a"));
    expect(recorder.statuses).toEqual(["live"]);
    expect(recorder.changes).toEqual([{ topic: "kiosks", keys: null }]);
    expect(connection.lastHeardMs).toBe(environment.now());
  });

  it("tells changes at most ten times a second, together", () => {
    live();
    recorder.changes.length = 0;
    environment.socket.say(delta(11, 10, "a"));
    for (let seq = 12; seq <= 60; seq += 1) environment.socket.say(delta(seq, seq - 1, seq % 2 === 0 ? "a" : "b"));
    expect(recorder.changes).toEqual([{ topic: "kiosks", keys: ["a"] }]);
    environment.advance(FLUSH_MS);
    expect(recorder.changes.slice(1)).toEqual([{ topic: "kiosks", keys: ["a", "b"] }]);
    expect(kiosks.rows.get("a")?.["seq"]).toBe(60);
  });

  it("asks for what it missed, from where it was", () => {
    live();
    environment.socket.say(delta(14, 13, "a"));
    expect(environment.socket.sent.at(-1)).toEqual({ sub: [{ topic: "kiosks", since: 10 }] });
    environment.socket.say(delta(15, 14, "a"));
    expect(environment.socket.sent).toHaveLength(2);
    for (let seq = 11; seq <= 15; seq += 1) environment.socket.say(delta(seq, seq - 1, "b"));
    expect(kiosks.seq).toBe(15);
    environment.advance(RESYNC_MS);
    expect(environment.socket.sent.filter((message) => "sub" in message)).toHaveLength(2);
  });

  it("asks for everything when that did not help", () => {
    live();
    environment.socket.say(delta(14, 13, "a"));
    environment.advance(RESYNC_MS);
    expect(environment.socket.sent.at(-1)).toEqual({ sub: [{ topic: "kiosks" }] });
    environment.socket.say(snap(14, "z"));
    expect([...kiosks.rows.keys()]).toEqual(["z"]);
  });

  it("does not tell of duplicates", () => {
    live();
    recorder.changes.length = 0;
    environment.socket.say(delta(10, 9, "a"));
    environment.advance(FLUSH_MS);
    expect(recorder.changes).toEqual([]);
  });

  it("comes back after a loss, resumes and keeps its rows meanwhile", () => {
    live();
    environment.socket.onclose?.();
    expect(recorder.statuses).toEqual(["live", "lost"]);
    expect(kiosks.rows.size).toBe(2);
    environment.advance(500);
    expect(environment.sockets).toHaveLength(2);
    open();
    expect(environment.socket.sent).toEqual([{ sub: [{ topic: "kiosks", since: 10 }] }]);
    expect(recorder.refusals).toBe(0);
    environment.socket.say(delta(11, 10, "a"));
    expect(recorder.statuses).toEqual(["live", "lost", "live"]);
  });

  it("waits longer and longer, with jitter, up to its cap", () => {
    environment.chance = 1;
    const waits: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      environment.socket.onclose?.();
      const before = environment.now();
      const count = environment.sockets.length;
      while (environment.sockets.length === count) environment.advance(250);
      waits.push(environment.now() - before);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("tells when the server does not let it in", () => {
    environment.socket.onclose?.();
    expect(recorder.refusals).toBe(1);
  });

  it("pings, and gives up on a silent server", () => {
    live();
    environment.advance(PING_MS);
    expect(environment.socket.sent.at(-1)).toEqual({ t: "ping" });
    environment.socket.say({ t: "pong" });
    const first = environment.socket;
    environment.advance(SILENCE_MS + PING_MS);
    expect(first.isClosed).toBe(true);
    expect(recorder.statuses).toEqual(["live", "lost"]);
    expect(environment.sockets.length).toBeGreaterThan(1);
  });

  it("answers the server's ping", () => {
    live();
    environment.socket.say({ t: "ping" });
    expect(environment.socket.sent.at(-1)).toEqual({ t: "pong" });
  });

  it("gives up on a handshake that never ends", () => {
    environment.advance(SILENCE_MS + PING_MS);
    expect(environment.sockets[0]?.isClosed).toBe(true);
    expect(environment.sockets.length).toBeGreaterThan(1);
  });

  it("tries at once when poked, and not twice", () => {
    live();
    environment.chance = 1;
    environment.socket.onclose?.();
    connection.poke();
    connection.poke();
    expect(environment.sockets).toHaveLength(2);
    environment.advance(5_000);
    expect(environment.sockets).toHaveLength(2);
  });

  it("is quiet after it was stopped", () => {
    live();
    const socket = environment.socket;
    environment.socket.say(delta(11, 10, "a"));
    environment.socket.say(delta(12, 11, "a"));
    recorder.changes.length = 0;
    connection.stop();
    environment.advance(120_000);
    expect(socket.isClosed).toBe(true);
    expect(environment.sockets).toHaveLength(1);
    expect(recorder.changes).toEqual([]);
  });

  it("survives messages that it does not understand", () => {
    live();
    environment.socket.onmessage?.({ data: "no json" });
    environment.socket.say({ t: "error", topic: "later", code: "unknown_topic" });
    environment.socket.say(delta(11, 10, "a"));
    expect(kiosks.seq).toBe(11);
  });
});
