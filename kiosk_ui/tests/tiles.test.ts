import { describe, expect, it } from "vitest";

import type { PatientFunction } from "@kiosk/web-kit/devices/connection";

import { tilesOf } from "../src/journeys/home/tiles";
import { aStatus } from "./samples";

function device(name: string, state: PatientFunction["state"], code?: string): PatientFunction {
  const because = code === undefined ? [] : [{ component: "x", code }];
  return { function: name, state, because };
}

describe("the tiles", () => {
  it("are all open when everything works, also while nothing is known of the devices", () => {
    expect(tilesOf(aStatus(), []).map(({ isOpen, notes }) => [isOpen, notes])).toEqual([
      [true, []],
      [true, []],
    ]);
  });

  it("are never absent: a closed one has its reason", () => {
    const status = aStatus({ functions: [{ function: "register", is_open: false, reason: "his_down" }] });
    expect(tilesOf(status, []).map(({ reason }) => reason)).toEqual(["his_down", "his_down"]);
    expect(tilesOf(null, []).map(({ reason }) => reason)).toEqual(["offline", "offline"]);
  });

  it("stay open without the scanner as long as a code can be shown", () => {
    const devices = [device("pay", "lost", "unplugged"), device("identify", "lost"), device("print_receipt", "lost")];
    expect(tilesOf(aStatus(), devices)[1]).toEqual({
      function: "pay_bill",
      isOpen: true,
      reason: null,
      notes: ["number_only", "scan_screen_only", "no_receipt"],
    });
    const channels = aStatus().channels.map((one) => ({ ...one, methods: ["payment_code" as const] }));
    expect(tilesOf(aStatus({ channels }), devices)[1]?.reason).toBe("device_down");
  });

  it("close before the battery is empty", () => {
    expect(tilesOf(aStatus(), [device("pay", "lost", "battery_low")])[0]?.reason).toBe("on_battery");
  });
});
