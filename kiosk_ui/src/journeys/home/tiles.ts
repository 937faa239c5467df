/** What a patient can do here now: the platform's word and the devices' word together, each with its reason. */
import type { PatientFunction } from "@kiosk/web-kit/devices/connection";

import type { BusinessFunction, ChannelStatus, PlatformStatus } from "../../platform/types";

export type ClosedReason = "offline" | "his_down" | "no_channel" | "on_battery" | "device_down";
export type Note = "no_receipt" | "no_ticket" | "number_only" | "scan_screen_only";

export interface Tile {
  function: BusinessFunction;
  isOpen: boolean;
  reason: ClosedReason | null;
  /** What goes on, but with less than usual. */
  notes: Note[];
}

export const TILES: readonly BusinessFunction[] = ["register", "pay_bill"];

/** Guards of the power supply: with these up no payment begins. */
const POWER: ReadonlySet<string> = new Set(["on_battery", "battery_low"]);

export function tilesOf(status: PlatformStatus | null, devices: readonly PatientFunction[]): Tile[] {
  return TILES.map((name) => {
    const reason = closedBecause(name, status, devices);
    return { function: name, isOpen: reason === null, reason, notes: reason === null ? notesOf(name, devices) : [] };
  });
}

function closedBecause(
  name: BusinessFunction,
  status: PlatformStatus | null,
  devices: readonly PatientFunction[],
): ClosedReason | null {
  if (status === null) return "offline";
  const found = status.functions.find((one) => one.function === name);
  if (found === undefined) return "his_down";
  if (!found.is_open) return found.reason ?? "his_down";
  const pay = find(devices, "pay");
  if (pay?.because.some(({ code }) => POWER.has(code)) === true) return "on_battery";
  if (isLost(pay) && !status.channels.some(canShowCode)) return "device_down";
  return null;
}

function notesOf(name: BusinessFunction, devices: readonly PatientFunction[]): Note[] {
  const notes: Note[] = [];
  if (isLost(find(devices, "identify"))) notes.push("number_only");
  if (isLost(find(devices, "pay"))) notes.push("scan_screen_only");
  const paper = name === "register" ? "print_ticket" : "print_receipt";
  if (isLost(find(devices, paper))) notes.push(name === "register" ? "no_ticket" : "no_receipt");
  return notes;
}

function find(devices: readonly PatientFunction[], name: string): PatientFunction | undefined {
  return devices.find((one) => one.function === name);
}

function isLost(status: PatientFunction | undefined): boolean {
  return status?.state === "lost";
}

function canShowCode(channel: ChannelStatus): boolean {
  return channel.is_open && channel.methods.includes("qr_code");
}
