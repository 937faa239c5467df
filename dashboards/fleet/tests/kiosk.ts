import type { Kiosk } from "../src/kiosks/model";

/** A kiosk for tests: ordinary unless told otherwise. */
export function kiosk(kid: string, changes: Partial<Kiosk> = {}): Kiosk {
  return {
    kid,
    asset_no: kid.toUpperCase(),
    serial: `SN-${kid}`,
    place: "大厅",
    area: "门诊楼",
    floor: "1F",
    x: null,
    y: null,
    profile: "lobby",
    state: "enrolled",
    presence: "online",
    presence_since: null,
    last_seen_at: null,
    age_s: null,
    agent_version: "0.1.0",
    activity: "idle",
    alarms_open: 0,
    alarm_worst: null,
    cpu_percent: 10,
    memory_percent: 20,
    disk_percent: 30,
    temperature_c: 40,
    clock_offset_s: 0,
    functions: [],
    consumables: [],
    heardMs: 0,
    ...changes,
  };
}
