/** An agent in the hands of the test, on the fake socket. */
import { DeviceConnection } from "../src/devices/connection";
import type { News } from "../src/devices/protocol";
import { FakeEnvironment } from "./bench";

export interface Sent {
  header: { name: string; requestId: number; type: string; timeout?: number };
  payload: Record<string, unknown>;
}

export class Bench {
  readonly environment = new FakeEnvironment();
  readonly news: News[] = [];
  refusals = 0;
  token = "first";
  readonly connection = new DeviceConnection({
    url: "ws://127.0.0.1:8600/api/v1/devices",
    token: () => this.token,
    environment: this.environment,
    onRefused: () => (this.refusals += 1),
    onNews: (news) => this.news.push(news),
  });

  /** Open the newest socket, tell how things are, and take the first command as the agent does. */
  welcome(...statuses: Record<string, unknown>[]): void {
    this.environment.socket.onopen?.();
    for (const status of statuses) this.status(status);
    this.acknowledge(this.last.header.requestId);
  }

  get sent(): Sent[] {
    return this.environment.socket.sent as unknown as Sent[];
  }

  get last(): Sent {
    const last = this.sent.at(-1);
    if (last === undefined) throw new Error("nothing was sent");
    return last;
  }

  /** Commands other than the connection's own probes. */
  get commands(): Sent[] {
    return this.sent.filter(({ header, payload }) => header.name !== "Common.Cancel" || !isEmpty(payload["requestIds"]));
  }

  status(payload: Record<string, unknown>): void {
    this.say({ name: "Common.StatusChangedEvent", type: "unsolicited" }, payload);
  }

  acknowledge(requestId: number, status?: string): void {
    this.say({ name: "Any.Name", type: "acknowledge", requestId, ...(status === undefined ? {} : { status }) }, {});
  }

  event(requestId: number, name: string, payload: Record<string, unknown>): void {
    this.say({ name, type: "event", requestId }, payload);
  }

  complete(requestId: number, payload: Record<string, unknown> = {}, completionCode = "success"): void {
    this.say({ name: "Any.Name", type: "completion", requestId, completionCode }, payload);
  }

  say(header: Record<string, unknown>, payload: Record<string, unknown>): void {
    this.environment.socket.say({ header, payload });
  }
}

function isEmpty(list: unknown): boolean {
  return Array.isArray(list) && list.length === 0;
}

/** Lets everything that only waits for promises happen. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}
