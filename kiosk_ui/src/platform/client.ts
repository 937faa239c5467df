/** The patient platform as functions; a request ends in time with an answer, a refusal or `Unreachable`. */
import { type ApiProblem, problemOf, Unreachable } from "@kiosk/web-kit/api/problem";

import type * as wire from "./types";

export const DEADLINE_MS = 15_000;
/** A payment code is asked of the channel while the request is open. */
export const PAY_DEADLINE_MS = 40_000;
/** The version of the contract this page was built for; a platform that means something else refuses it. */
const CONTRACT = "1";
const BASE = "/platform/v1";
/** A gateway on the way has nobody behind it, or lost what was behind it: as good as no answer. */
const GATEWAY_STATUS: ReadonlySet<number> = new Set([502, 504]);
const GATEWAY_CODES: ReadonlySet<string> = new Set(["http_503", "platform_unreachable", "platform_down", "not_enrolled"]);

export interface PlatformOptions {
  token: string;
  fetch?: typeof fetch;
  /** Told after every request whether somebody answered. */
  onReached?: (isReached: boolean) => void;
}

interface Send {
  method?: "GET" | "POST" | "DELETE";
  body?: object;
  signal?: AbortSignal | undefined;
  deadlineMs?: number;
  headers?: Record<string, string>;
  /** Reaches the platform even when the page is left meanwhile. */
  keepalive?: boolean;
}

export class Platform {
  constructor(private readonly options: PlatformOptions) {}

  status(signal?: AbortSignal): Promise<wire.PlatformStatus> {
    return this.send("/status", { signal });
  }

  openSession(medium: wire.Medium, signal?: AbortSignal): Promise<wire.PatientSession> {
    return this.send("/sessions", { method: "POST", body: { medium }, signal });
  }

  async closeSession(session: string): Promise<void> {
    await this.send(path`/sessions/${session}`, { method: "DELETE", keepalive: true });
  }

  bills(session: string, signal?: AbortSignal): Promise<wire.Bills> {
    return this.send(path`/sessions/${session}/bills`, { signal });
  }

  async departments(session: string, signal?: AbortSignal): Promise<wire.Department[]> {
    const answer = await this.send<{ departments: wire.Department[] }>(path`/sessions/${session}/departments`, { signal });
    return answer.departments;
  }

  async doctors(session: string, department: string, signal?: AbortSignal): Promise<wire.Doctor[]> {
    const place = path`/sessions/${session}/departments/${department}/doctors`;
    return (await this.send<{ doctors: wire.Doctor[] }>(place, { signal })).doctors;
  }

  async slots(session: string, department: string, doctor: string, signal?: AbortSignal): Promise<wire.Slot[]> {
    const place = path`/sessions/${session}/departments/${department}/doctors/${doctor}/slots`;
    return (await this.send<{ slots: wire.Slot[] }>(place, { signal })).slots;
  }

  lockSlot(session: string, slot: Pick<wire.Slot, "schedule" | "number">): Promise<wire.SlotLock> {
    const body = { schedule: slot.schedule, number: slot.number };
    return this.send(path`/sessions/${session}/slot-locks`, { method: "POST", body });
  }

  async unlockSlot(session: string, lock: string): Promise<void> {
    await this.send(path`/sessions/${session}/slot-locks/${lock}`, { method: "DELETE", keepalive: true });
  }

  makeOrder(session: string, request: wire.OrderRequest): Promise<wire.Order> {
    return this.send(path`/sessions/${session}/orders`, { method: "POST", body: request });
  }

  /** The same key is the same attempt: it may be sent again when no answer came. */
  pay(order: string, request: wire.PaymentRequest, key: string): Promise<wire.Order> {
    const headers = { "Idempotency-Key": key };
    const place = path`/orders/${order}/pay`;
    return this.send(place, { method: "POST", body: request, headers, deadlineMs: PAY_DEADLINE_MS });
  }

  cancel(order: string): Promise<wire.Order> {
    return this.send(path`/orders/${order}/cancel`, { method: "POST", body: {}, keepalive: true });
  }

  /** The order as it is, or as soon as it is newer than `after`. */
  order(order: string, after: number | null, waitS: number, signal?: AbortSignal): Promise<wire.Order> {
    const query = after === null ? "" : `?after=${after}&wait_s=${waitS}`;
    return this.send(path`/orders/${order}` + query, { signal, deadlineMs: DEADLINE_MS + waitS * 1_000 });
  }

  async openOrders(signal?: AbortSignal): Promise<wire.Order[]> {
    return (await this.send<{ orders: wire.Order[] }>("/open-orders", { signal })).orders;
  }

  receipt(order: string, signal?: AbortSignal): Promise<wire.ReceiptPaper> {
    return this.send(path`/orders/${order}/receipt`, { signal });
  }

  reportFulfilment(order: string, report: wire.FulfilmentReport): Promise<wire.Order> {
    return this.send(path`/orders/${order}/fulfilment`, { method: "POST", body: report });
  }

  private async send<T>(place: string, how: Send = {}): Promise<T> {
    const response = await this.fetched(place, how);
    const body: unknown = await response.json().catch(() => null);
    if (response.ok) {
      this.options.onReached?.(true);
      return body as T;
    }
    const problem = problemOf(response.status, body);
    const isReached = !isGateway(problem);
    this.options.onReached?.(isReached);
    throw isReached ? problem : new Unreachable(problem.code, { cause: problem });
  }

  private async fetched(place: string, how: Send): Promise<Response> {
    const { signal, deadlineMs = DEADLINE_MS } = how;
    const deadline = AbortSignal.timeout(deadlineMs);
    const ending = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    try {
      return await (this.options.fetch ?? globalThis.fetch)(BASE + place, { ...this.request(how), signal: ending });
    } catch (error) {
      if (signal?.aborted === true) throw error;
      this.options.onReached?.(false);
      throw new Unreachable("no answer", { cause: error });
    }
  }

  private request({ method = "GET", body, headers = {}, keepalive = false }: Send): RequestInit {
    const always = { Authorization: `Bearer ${this.options.token}`, "X-Platform-Contract": CONTRACT, ...headers };
    if (body === undefined) return { method, cache: "no-store", keepalive, headers: always };
    const typed = { ...always, "Content-Type": "application/json" };
    return { method, cache: "no-store", keepalive, headers: typed, body: JSON.stringify(body) };
  }
}

function isGateway(problem: ApiProblem): boolean {
  return GATEWAY_STATUS.has(problem.status) || GATEWAY_CODES.has(problem.code);
}

/** An address with its parts escaped. */
function path(texts: TemplateStringsArray, ...parts: string[]): string {
  return texts.reduce((whole, text, index) => whole + encodeURIComponent(parts[index - 1] ?? "") + text);
}
