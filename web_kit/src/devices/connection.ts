/**
 * The page's one connection to the devices of its kiosk: commands as promises, status as a store.
 *
 * It comes back by itself, and what was open when it broke is rejected with `connection_lost`: whether a command was
 * done is then not known, so it is never sent again here. Time, timers, chance and the socket are given.
 */
import { Backoff } from "../backoff";
import type { Environment, SocketLike } from "../live/connection";
import { CommandFailed, type FailureReason } from "./failure";
import { type Observable, Subject } from "./observable";
import {
  type DeviceSchemas,
  type EventOf,
  type Message,
  type News,
  parseMessage,
  PROTOCOL,
  type RequestOf,
  type ResultOf,
  TOKEN_PREFIX,
  type VerbName,
} from "./protocol";
import { ComponentStatuses, type Statuses } from "./statuses";

export type ConnectionState = "connecting" | "connected" | "lost" | "stopped";

export const PROBE_MS = 10_000;
export const SILENCE_MS = 25_000;
/** How much longer than a command's own deadline the page waits for its completion. */
export const GRACE_MS = 5_000;
const BACKOFF_BASE_MS = 250;
const BACKOFF_CAP_MS = 5_000;
const STATUS = "Common.StatusChangedEvent";
const FUNCTIONS = "Common.FunctionsChanged";
const CONSUMABLES = "Common.ConsumablesChanged";
const HELP = "Kiosk.HelpChanged";
const CANCEL = "Common.Cancel";

export type PatientFunction = DeviceSchemas["FunctionStatus"];
export type Consumable = DeviceSchemas["ConsumableStatus"];
export type Help = DeviceSchemas["HelpState"];

export interface DeviceConnectionOptions {
  url: string;
  /** The token of this boot; asked for at each attempt. */
  token: () => string;
  environment: Environment;
  /** An attempt was turned away or nobody was there; a restarted agent has another token. */
  onRefused?: () => void;
  /** What belongs to no command; what the stores hold is not told here. */
  onNews?: (news: News) => void;
}

export interface CallOptions<N extends VerbName> {
  /** Ends the command as `canceled`, unless it is complete by then. */
  signal?: AbortSignal;
  /** Shortens the command's own limit. */
  timeoutMs?: number;
  onEvent?: (event: EventOf<N>) => void;
}

interface OpenCommand {
  name: string;
  onEvent: ((event: { name: string; payload: unknown }) => void) | null;
  resolve: (payload: unknown) => void;
  reject: (error: CommandFailed) => void;
  release: () => void;
}

export class DeviceConnection {
  private readonly stateSubject = new Subject<ConnectionState>("stopped");
  private readonly statuses = new ComponentStatuses();
  private readonly functionsSubject = new Subject<readonly PatientFunction[]>([]);
  private readonly consumablesSubject = new Subject<readonly Consumable[]>([]);
  private readonly helpSubject = new Subject<Help>({ is_called: false });
  private readonly backoff: Backoff;
  private socket: SocketLike | null = null;
  private lastId = 0;
  private probeId: number | null = null;
  private lastHeardMs = 0;
  private readonly open = new Map<number, OpenCommand>();
  private cancelProbe: () => void = () => undefined;
  private cancelRetry: () => void = () => undefined;

  constructor(private readonly options: DeviceConnectionOptions) {
    this.backoff = new Backoff(BACKOFF_BASE_MS, BACKOFF_CAP_MS, () => options.environment.random());
  }

  get state(): Observable<ConnectionState> {
    return this.stateSubject;
  }

  /** How every component is; while the connection is lost, how it was. */
  get components(): Observable<Statuses> {
    return this.statuses.all;
  }

  /** What patients can do here with the devices as they are; empty until it was told. */
  get functions(): Observable<readonly PatientFunction[]> {
    return this.functionsSubject;
  }

  /** Paper, toner and the like, with what is left. */
  get consumables(): Observable<readonly Consumable[]> {
    return this.consumablesSubject;
  }

  /** Whether staff was called to this kiosk. */
  get help(): Observable<Help> {
    return this.helpSubject;
  }

  start(): void {
    if (this.stateSubject.value !== "stopped") return;
    this.connect();
  }

  stop(): void {
    this.cancelRetry();
    this.drop();
    this.stateSubject.set("stopped");
  }

  /** Try now instead of after the backoff. */
  poke(): void {
    if (this.stateSubject.value !== "lost") return;
    this.cancelRetry();
    this.connect();
  }

  /** Resolves as soon as commands can be given. */
  connected(signal?: AbortSignal): Promise<void> {
    if (this.stateSubject.value === "connected") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        forget();
        signal?.removeEventListener("abort", abort);
        finish();
      };
      const abort = (): void => settle(() => reject(new CommandFailed("connect", "canceled")));
      const forget = this.stateSubject.subscribe((state) => {
        if (state === "connected") settle(resolve);
      });
      if (signal?.aborted === true) abort();
      else signal?.addEventListener("abort", abort);
    });
  }

  /**
   * Give a command; resolves with the payload of its completion, rejects with `CommandFailed`.
   *
   * Nothing is queued: without a connection it is rejected at once.
   */
  call<N extends VerbName>(name: N, request: RequestOf<N>, options: CallOptions<N> = {}): Promise<ResultOf<N>> {
    const { signal, timeoutMs, onEvent } = options;
    if (signal?.aborted === true) return Promise.reject(new CommandFailed(name, "canceled"));
    if (this.socket === null || this.stateSubject.value !== "connected") {
      return Promise.reject(new CommandFailed(name, "not_connected"));
    }
    return new Promise((resolve, reject) => {
      const id = this.send(name, request, timeoutMs);
      const abort = (): void => this.cancel(id);
      const giveUp = (): void => {
        this.cancel(id);
        this.fail(id, "no_answer");
      };
      const cancelDeadline =
        timeoutMs === undefined ? null : this.options.environment.after(timeoutMs + GRACE_MS, giveUp);
      signal?.addEventListener("abort", abort);
      this.open.set(id, {
        name,
        onEvent: (onEvent as OpenCommand["onEvent"]) ?? null,
        resolve: resolve as OpenCommand["resolve"],
        reject,
        release: () => {
          cancelDeadline?.();
          signal?.removeEventListener("abort", abort);
        },
      });
    });
  }

  private cancel(id: number): void {
    this.send(CANCEL, { requestIds: [id] });
  }

  private send(name: string, payload: object, timeoutMs?: number): number {
    this.lastId += 1;
    const header = { name, type: "command", requestId: this.lastId };
    const timeout = timeoutMs === undefined ? {} : { timeout: Math.ceil(timeoutMs) };
    this.socket?.send(JSON.stringify({ header: { ...header, ...timeout }, payload }));
    return this.lastId;
  }

  // --- the socket ------------------------------------------------------------------------------------------

  private connect(): void {
    const { environment, token, url } = this.options;
    const socket = environment.openSocket(url, [PROTOCOL, `${TOKEN_PREFIX}${token()}`]);
    let wasOpen = false;
    this.socket = socket;
    this.lastId = 0;
    this.lastHeardMs = environment.now();
    this.stateSubject.set("connecting");
    socket.onopen = () => {
      wasOpen = true;
      this.statuses.begin();
      this.probe();
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.lose(wasOpen);
    this.watch();
  }

  /** An agent that hangs keeps its sockets open: ask for nothing from time to time, and expect an answer. */
  private watch(): void {
    const { environment } = this.options;
    this.cancelProbe = environment.after(PROBE_MS, () => {
      if (environment.now() - this.lastHeardMs >= SILENCE_MS) {
        this.lose(true);
        return;
      }
      if (this.stateSubject.value === "connected") this.probe();
      this.watch();
    });
  }

  private probe(): void {
    this.probeId = this.send(CANCEL, { requestIds: [] });
  }

  private lose(wasOpen: boolean): void {
    this.drop();
    this.stateSubject.set("lost");
    this.cancelRetry = this.options.environment.after(this.backoff.next(), () => this.connect());
    if (!wasOpen) this.options.onRefused?.();
  }

  private drop(): void {
    this.cancelProbe();
    this.probeId = null;
    this.statuses.abandon();
    const socket = this.socket;
    this.socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    for (const id of [...this.open.keys()]) this.fail(id, "connection_lost");
  }

  // --- what the agent says ---------------------------------------------------------------------------------

  private receive(data: unknown): void {
    this.lastHeardMs = this.options.environment.now();
    const message = typeof data === "string" ? parseMessage(data) : null;
    if (message === null) return;
    const { name, requestId, type } = message.header;
    if (type === "acknowledge") this.acknowledged(message);
    else if (type === "completion") this.completed(message);
    else if (type === "event") this.open.get(requestId ?? 0)?.onEvent?.({ name, payload: message.payload });
    else this.hear(message);
  }

  private hear({ header: { name }, payload }: Message): void {
    if (name === STATUS) this.statuses.apply(payload);
    else if (name === FUNCTIONS) this.functionsSubject.set(listOf(payload["functions"]));
    else if (name === CONSUMABLES) this.consumablesSubject.set(listOf(payload["consumables"]));
    else if (name === HELP) this.helpSubject.set(payload as unknown as Help);
    else this.options.onNews?.({ name, payload } as unknown as News);
  }

  private acknowledged({ header }: Message): void {
    const id = header.requestId ?? 0;
    if (id === this.probeId) {
      this.probeId = null;
      // The agent tells how everything is before it takes the first command.
      this.statuses.settle();
      this.backoff.reset();
      this.stateSubject.set("connected");
    } else if (header.status !== undefined) {
      this.fail(id, header.status as FailureReason);
    }
  }

  private completed({ header, payload }: Message): void {
    const id = header.requestId ?? 0;
    if (header.completionCode !== "success") {
      const detail = header.errorDescription === undefined ? {} : { detail: header.errorDescription };
      this.fail(id, (header.completionCode ?? "internalError") as FailureReason, { ...payload, ...detail });
      return;
    }
    this.take(id)?.resolve(payload);
  }

  private fail(id: number, reason: FailureReason, facts: object = {}): void {
    const command = this.take(id);
    command?.reject(new CommandFailed(command.name, reason, facts));
  }

  private take(id: number): OpenCommand | null {
    const command = this.open.get(id) ?? null;
    this.open.delete(id);
    command?.release();
    return command;
  }
}

function listOf<T>(value: unknown): readonly T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}
