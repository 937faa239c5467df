/** A connection's surroundings in the hands of the test: time stands still until it is told to move. */
import type { Environment, Listener, LiveStatus, SocketLike } from "../src/live/connection";

export class FakeSocket implements SocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  isClosed = false;

  constructor(
    readonly url = "",
    readonly protocols: readonly string[] = [],
  ) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.isClosed = true;
  }

  /** The server speaks. */
  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

interface Timer {
  atMs: number;
  run: () => void;
}

export class FakeEnvironment implements Environment {
  readonly sockets: FakeSocket[] = [];
  chance = 0.5;
  private timeMs = 1_000;
  private timers: Timer[] = [];

  openSocket(url: string, protocols?: readonly string[]): SocketLike {
    const socket = new FakeSocket(url, protocols);
    this.sockets.push(socket);
    return socket;
  }

  now(): number {
    return this.timeMs;
  }

  random(): number {
    return this.chance;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.timeMs + ms, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass; timers run in order, at their moment. */
  advance(ms: number): void {
    const endMs = this.timeMs + ms;
    for (;;) {
      const due = this.timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== due);
      this.timeMs = due.atMs;
      due.run();
    }
    this.timeMs = endMs;
  }

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (last === undefined) throw new Error("no connection was opened");
    return last;
  }
}

export class Recorder implements Listener {
  readonly changes: { topic: string; keys: string[] | null }[] = [];
  readonly statuses: LiveStatus[] = [];
  refusals = 0;

  changed(topic: string, keys: ReadonlySet<string> | null): void {
    this.changes.push({ topic, keys: keys === null ? null : [...keys] });
  }

  status(status: LiveStatus): void {
    this.statuses.push(status);
  }

  refused(): void {
    this.refusals += 1;
  }
}
