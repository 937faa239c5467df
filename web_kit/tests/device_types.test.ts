/** What the compiler knows of commands: a page that asks wrongly is not built. Checked by `npm run types`. */
import { describe, expectTypeOf, it } from "vitest";

import type { DeviceConnection } from "../src/devices/connection";
import type { EventOf, News, RequestOf, ResultOf } from "../src/devices/protocol";

describe("the types of commands", () => {
  it("are those of the agent", () => {
    expectTypeOf<RequestOf<"Session.Pay">>().toEqualTypeOf<{ lease: string; paying: boolean }>();
    expectTypeOf<ResultOf<"Session.State">["activity"]>().toEqualTypeOf<"idle" | "in_session" | "paying" | "unknown">();
    expectTypeOf<ResultOf<"IdCardReader.Read">["number"]>().toEqualTypeOf<string>();
    expectTypeOf<ResultOf<"Maintenance.MovePaper">["step"]>().extract<"done">().toEqualTypeOf<"done">();
  });

  it("tell media apart", () => {
    type Code = Extract<ResultOf<"Media.ReadFirst">["first"], { medium: "code" }>;
    expectTypeOf<Code["text"]>().toEqualTypeOf<string>();
  });

  it("tell events and news apart by their names", () => {
    expectTypeOf<EventOf<"Media.ReadFirst">["name"]>().toEqualTypeOf<"Media.ReaderTrouble">();
    expectTypeOf<EventOf<"Media.ReadFirst">["payload"]["is_over"]>().toEqualTypeOf<boolean>();
    expectTypeOf<Extract<News, { name: "Printer.JobChangedEvent" }>["payload"]["job"]["no"]>().toEqualTypeOf<number>();
  });

  it("refuse what there is not", () => {
    const wrong = (devices: DeviceConnection) => {
      // @ts-expect-error no such command
      void devices.call("Session.Stay", {});
      // @ts-expect-error a lease is needed
      void devices.call("Session.End", {});
    };
    expectTypeOf(wrong).toBeFunction();
  });
});
