/** An agent on the fake socket: it takes every command, and ends it when the test says so or at once. */
import { DeviceConnection } from "@kiosk/web-kit/devices/connection";

import { FakeEnvironment } from "../../web_kit/tests/bench";

interface Command {
  name: string;
  requestId: number;
  payload: Record<string, unknown>;
}

interface Ending {
  code: string;
  payload: Record<string, unknown>;
}

export class Agent {
  readonly environment = new FakeEnvironment();
  readonly taken: Command[] = [];
  private open: Command[] = [];
  /** How commands end at once; those that are not here wait. */
  readonly endings = new Map<string, Ending[]>();
  readonly connection = new DeviceConnection({
    url: "ws://127.0.0.1:8600/api/v1/devices",
    token: () => "t",
    environment: this.environment,
  });

  constructor() {
    const open = this.environment.openSocket.bind(this.environment);
    this.environment.openSocket = (url, protocols) => {
      const socket = open(url, protocols);
      socket.send = (text: string) => queueMicrotask(() => this.take(JSON.parse(text) as never));
      return socket;
    };
    this.endsWith("Session.Begin", { lease: "L", activity: "in_session" });
    this.endsWith("Session.Renew", { lease: "L", activity: "in_session" });
    this.endsWith("Session.Pay", { lease: "L", activity: "paying" });
    this.endsWith("Session.End", { activity: "idle" });
    this.endsWith("Printer.Print", { job: { no: 1 } });
  }

  endsWith(name: string, payload: Record<string, unknown>, code = "success"): void {
    this.endings.set(name, [{ code, payload }]);
  }

  start(): void {
    this.connection.start();
    this.environment.socket.onopen?.();
  }

  names(): string[] {
    return this.taken.map(({ name }) => name);
  }

  isWaiting(name: string): boolean {
    return this.open.some((command) => command.name === name);
  }

  /** The newest open command of that name ends. */
  ends(name: string, payload: Record<string, unknown>, code = "success"): void {
    const command = this.open.findLast((one) => one.name === name);
    if (command === undefined) throw new Error(`nobody waits for ${name}`);
    this.complete(command, { code, payload });
  }

  event(name: string, event: string, payload: Record<string, unknown>): void {
    const command = this.open.findLast((one) => one.name === name);
    this.environment.socket.say({ header: { name: event, type: "event", requestId: command?.requestId }, payload });
  }

  private take({ header, payload }: { header: Command; payload: Record<string, unknown> }): void {
    const command = { ...header, payload };
    this.environment.socket.say({ header: { name: header.name, type: "acknowledge", requestId: header.requestId }, payload: {} });
    if (header.name === "Common.Cancel") {
      const ids = payload["requestIds"] as number[];
      for (const one of this.open.filter(({ requestId }) => ids.includes(requestId))) this.complete(one, { code: "canceled", payload: {} });
      return;
    }
    this.taken.push(command);
    this.open.push(command);
    const ending = this.endings.get(header.name)?.[0];
    if (ending !== undefined) this.complete(command, ending);
  }

  private complete(command: Command, { code, payload }: Ending): void {
    this.open = this.open.filter((one) => one !== command);
    const header = { name: command.name, type: "completion", requestId: command.requestId, completionCode: code };
    this.environment.socket.say({ header, payload });
  }
}

export const CARD = {
  first: { medium: "id_card", component: "id_reader", name: "赵样例", number: "NUMBER-1", number_is_valid: true, sex: "female", address: "" },
};
