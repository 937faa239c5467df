/**
 * One WebSocket for everything that moves: subscribes, resumes, notices silence, comes back with jitter.
 *
 * Time, timers, chance and the socket itself are given, so that tests own them.
 */
import { Backoff } from "../backoff";
import { type Delta, parseMessage, type Snapshot, type Subscription } from "./protocol";
import { TopicRows } from "./topic";

export type LiveStatus = "connecting" | "live" | "lost";

export interface SocketLike {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Environment {
  openSocket(url: string, protocols?: string[]): SocketLike;
  /** Milliseconds that never jump. */
  now(): number;
  after(ms: number, run: () => void): () => void;
  random(): number;
}

export interface Listener {
  /** Rows of a topic changed; `keys` is null when all of them may have. At most ten times a second. */
  changed(topic: string, keys: ReadonlySet<string> | null): void;
  status(status: LiveStatus): void;
  /** The server closed before it let us in: perhaps the session ended. */
  refused(): void;
}

export const PING_MS = 10_000;
export const SILENCE_MS = 25_000;
export const FLUSH_MS = 100;
export const RESYNC_MS = 5_000;
const BACKOFF_BASE_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;

export class LiveConnection {
  /** When the server was last heard, on the `now()` scale; null before the first message. */
  lastHeardMs: number | null = null;

  private status: LiveStatus = "connecting";
  private socket: SocketLike | null = null;
  private isOpen = false;
  private isRunning = false;
  private cancelPing: () => void = () => undefined;
  private cancelRetry: () => void = () => undefined;
  private cancelFlush: (() => void) | null = null;
  private lastFlushMs = Number.NEGATIVE_INFINITY;
  private readonly dirty = new Map<string, Set<string> | null>();
  private readonly resyncs = new Map<string, () => void>();
  private readonly backoff: Backoff;

  constructor(
    private readonly url: string,
    private readonly topics: readonly TopicRows[],
    private readonly environment: Environment,
    private readonly listener: Listener,
  ) {
    this.backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_CAP_MS, () => environment.random());
  }

  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.connect();
  }

  stop(): void {
    this.isRunning = false;
    this.cancelRetry();
    this.cancelFlush?.();
    this.cancelFlush = null;
    this.dirty.clear();
    this.drop();
  }

  /** Try now instead of after the backoff: the network is back, or somebody looks again. */
  poke(): void {
    if (!this.isRunning || this.socket !== null) return;
    this.cancelRetry();
    this.connect();
  }

  private connect(): void {
    const socket = this.environment.openSocket(this.url);
    this.socket = socket;
    this.isOpen = false;
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      this.isOpen = true;
      this.subscribe(this.topics);
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.lose(wasOpen);
    this.watch(this.environment.now());
  }

  /** Ping, and give up on a connection that says nothing: a half-open one would show old values for hours. */
  private watch(sinceMs: number): void {
    this.cancelPing = this.environment.after(PING_MS, () => {
      const heardMs = Math.max(this.lastHeardMs ?? sinceMs, sinceMs);
      if (this.environment.now() - heardMs >= SILENCE_MS) {
        this.lose(true);
        return;
      }
      if (this.isOpen) this.socket?.send(JSON.stringify({ t: "ping" }));
      this.watch(sinceMs);
    });
  }

  private subscribe(topics: readonly TopicRows[], isFresh = false): void {
    const sub = topics.map(({ topic, seq }): Subscription =>
      seq === null || isFresh ? { topic } : { topic, since: seq },
    );
    this.socket?.send(JSON.stringify({ sub }));
  }

  private receive(data: unknown): void {
    this.lastHeardMs = this.environment.now();
    this.backoff.reset();
    this.setStatus("live");
    const message = typeof data === "string" ? parseMessage(data) : null;
    if (message === null) return;
    if (message.t === "snap" || message.t === "d") this.take(message);
    else if (message.t === "ping") this.socket?.send(JSON.stringify({ t: "pong" }));
  }

  private take(message: Snapshot | Delta): void {
    const topic = this.topics.find((one) => one.topic === message.topic);
    if (topic === undefined) return;
    const outcome = topic.apply(message);
    if (outcome.kind === "gap") {
      this.resync(topic);
    } else if (outcome.kind === "replaced") {
      this.settle(topic);
      this.mark(topic.topic, null);
    } else if (outcome.kind === "changed") {
      this.settle(topic);
      this.mark(topic.topic, outcome.keys);
    }
  }

  /** Ask for what was missed; when that brings nothing, for everything. */
  private resync(topic: TopicRows): void {
    if (this.resyncs.has(topic.topic)) return;
    this.subscribe([topic]);
    const retry = (): void => {
      this.subscribe([topic], true);
      this.resyncs.set(topic.topic, this.environment.after(RESYNC_MS, retry));
    };
    this.resyncs.set(topic.topic, this.environment.after(RESYNC_MS, retry));
  }

  private settle(topic: TopicRows): void {
    this.resyncs.get(topic.topic)?.();
    this.resyncs.delete(topic.topic);
  }

  private mark(topic: string, keys: readonly string[] | null): void {
    const known = this.dirty.get(topic);
    if (keys === null || known === null) this.dirty.set(topic, null);
    else this.dirty.set(topic, new Set([...(known ?? []), ...keys]));
    if (this.cancelFlush !== null) return;
    const waitMs = Math.max(0, this.lastFlushMs + FLUSH_MS - this.environment.now());
    if (waitMs === 0) this.flush();
    else this.cancelFlush = this.environment.after(waitMs, () => this.flush());
  }

  private flush(): void {
    this.cancelFlush = null;
    this.lastFlushMs = this.environment.now();
    const changes = [...this.dirty];
    this.dirty.clear();
    for (const [topic, keys] of changes) this.listener.changed(topic, keys);
  }

  private lose(wasOpen: boolean): void {
    this.drop();
    if (!this.isRunning) return;
    this.setStatus("lost");
    this.cancelRetry = this.environment.after(this.backoff.next(), () => this.connect());
    if (!wasOpen) this.listener.refused();
  }

  private drop(): void {
    this.cancelPing();
    for (const cancel of this.resyncs.values()) cancel();
    this.resyncs.clear();
    const socket = this.socket;
    this.socket = null;
    this.isOpen = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private setStatus(status: LiveStatus): void {
    if (this.status === status) return;
    this.status = status;
    this.listener.status(status);
  }
}
