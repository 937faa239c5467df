/** A hospital of one patient behind `fetch`: it does what the test says, and remembers what it was asked. */
import type { Order, PatientSession, PlatformStatus } from "../src/platform/types";
import { anOrder, aStatus, at, START_MS } from "./samples";

export interface Asked {
  method: string;
  path: string;
  body: Record<string, unknown> | null;
  key: string | null;
}

type Answer = [status: number, body: unknown];
const ok = (body: unknown): Answer => [200, body];
export const problem = (status: number, code: string): Answer => [status, { status, code, title: code }];

export class Hospital {
  readonly asked: Asked[] = [];
  status: PlatformStatus = aStatus();
  order: Order | null = null;
  openOrders: Order[] = [];
  isElder = false;
  /** The next answers to `METHOD /path-end`, each used once, before the usual one. `lost` answers nothing. */
  private readonly scripted: { method: string; end: string; answer: Answer | "lost" | "lost_after" }[] = [];
  isDown = false;
  wallMs: () => number = () => START_MS;
  private waiting: (() => void)[] = [];

  next(method: string, end: string, answer: Answer | "lost" | "lost_after"): void {
    this.scripted.push({ method, end, answer });
  }

  /** The order changes, and whoever waits for it hears so. */
  becomes(but: Partial<Order>): void {
    if (this.order === null) throw new Error("there is no order");
    this.order = { ...this.order, ...but, version: this.order.version + 1 };
    this.wake();
  }

  wake(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  of(method: string, end: string): Asked[] {
    return this.asked.filter((one) => one.method === method && (one.path.split("?")[0] ?? "").endsWith(end));
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const path = String(input).replace("/platform/v1", "");
    const method = init.method ?? "GET";
    const key = new Headers(init.headers).get("Idempotency-Key");
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as Record<string, unknown>) : null;
    this.asked.push({ method, path, body, key });
    if (this.isDown) throw new TypeError("fetch failed");
    const [status, answer] = await this.answered(method, path, body, init.signal ?? null);
    return new Response(status === 204 ? null : JSON.stringify(answer), { status });
  };

  private async answered(method: string, path: string, body: Asked["body"], signal: AbortSignal | null): Promise<Answer> {
    const [place = "", query = ""] = path.split("?");
    const index = this.scripted.findIndex((one) => one.method === method && place.endsWith(one.end));
    if (index === -1) return await this.usual(method, place, query, body, signal);
    const { answer } = this.scripted.splice(index, 1)[0] as (typeof this.scripted)[number];
    if (typeof answer !== "string") return answer;
    if (answer === "lost_after") await this.usual(method, place, query, body, signal);
    throw new TypeError("fetch failed");
  }

  private async usual(method: string, place: string, query: string, body: Asked["body"], signal: AbortSignal | null): Promise<Answer> {
    if (method === "DELETE") return [204, null];
    const end = `${method} ${place.replace(/\/(s|o|l)-\d+/g, "")}`;
    const fixed = this.fixed(end);
    if (fixed !== null) return fixed;
    if (end === "POST /sessions/orders") return [201, this.made(body)];
    if (end === "POST /orders/pay") return [202, this.paid(body)];
    if (end === "POST /orders/cancel") return ok(this.now({ money: "closed", advice: "ended", is_settled: true, reason: "cancelled", can_cancel: false }));
    if (end === "POST /orders/fulfilment") return ok(this.now({ fulfilment: body?.["state"] as Order["fulfilment"] }));
    if (end === "GET /orders") return await this.polled(query, signal);
    return problem(404, "not_found");
  }

  private fixed(end: string): Answer | null {
    const department = { department: "d1", name: "内科", pinyin: "neike", location: "2 区", floor: "2F", has_slots: true };
    const slot = { schedule: "p1", number: 7, date: "2026-03-18", begin: "08:30", end: "09:00", left: 3, fee_fen: 900 };
    const lines = [{ name: "阿莫西林", specification: "0.25g*24", quantity: "2", unit: "盒", amount_fen: 12_350 }];
    const bill = { bill: "r1", kind: "处方", department: "内科", doctor: "李样例", issued_at: at(0), amount_fen: 12_350, lines };
    const answers: Record<string, unknown> = {
      "GET /status": { ...this.status, now: new Date(this.wallMs()).toISOString() },
      "GET /open-orders": { orders: this.openOrders },
      "POST /sessions": this.session,
      "GET /sessions/bills": { bills: [bill], bill_hash: "h1", total_fen: 12_350 },
      "GET /sessions/departments": { departments: [department] },
      "GET /sessions/departments/d1/doctors": { doctors: [{ doctor: "x1", name: "王样例", title: "主任医师", fee_fen: 900, left: 3 }] },
      "GET /sessions/departments/d1/doctors/x1/slots": { slots: [slot] },
      "POST /sessions/slot-locks": { lock: "l-1", expires_at: at(300), fee_fen: 900, queue_number: "7", department: "内科", doctor: "王样例", begin: "08:30", end: "09:00" },
      "GET /orders/receipt": { template: "payment_receipt", fields: { hospital: "样例医院" }, lines: [] },
    };
    return end in answers ? ok(answers[end]) : null;
  }

  private get session(): PatientSession {
    const patient = { display_name: "赵*", number_tail: "123X", phone: null, is_elder: this.isElder, is_new: false };
    return { session: "s-1", expires_at: at(600), patient };
  }

  private made(body: Asked["body"]): Order {
    const isBill = body?.["business"] === "bill";
    this.order = anOrder(isBill ? {} : { business: "registration", amount_fen: 900 });
    return this.order;
  }

  private paid(body: Asked["body"]): Order {
    const isCode = body?.["method"] === "qr_code";
    if (this.order?.money !== "created") return this.order as Order;
    return this.now({
      money: "pending",
      channel: body?.["channel"] as Order["channel"],
      method: body?.["method"] as Order["method"],
      qr_text: isCode ? "weixin://wxpay/bizpayurl?pr=1" : null,
      advice: isCode ? "show_code" : "confirm_on_phone",
      expires_at: at(120),
    });
  }

  private now(but: Partial<Order>): Order {
    this.becomes(but);
    return this.order as Order;
  }

  private async polled(query: string, signal: AbortSignal | null): Promise<Answer> {
    const after = Number(new URLSearchParams(query).get("after") ?? "-1");
    while ((this.order?.version ?? 0) <= after && !this.isDown) {
      await new Promise<void>((resolve, reject) => {
        this.waiting.push(resolve);
        signal?.addEventListener("abort", () => reject(new DOMException("gone", "AbortError")));
      });
    }
    if (this.isDown) throw new TypeError("fetch failed");
    return ok(this.order);
  }
}
