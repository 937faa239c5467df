import { createPinia, setActivePinia } from "pinia";
import { beforeEach, describe, expect, it } from "vitest";

import { FakeEnvironment } from "../../../web_kit/tests/bench";
import type { KioskView } from "../src/kiosks/model";
import { useNow } from "../src/live/now";
import { useLive } from "../src/live/store";
import { serverClock } from "../src/server";
import { kiosk } from "./kiosk";

let environment: FakeEnvironment;
let told: string[];

function row(kid: string, changes: Partial<KioskView> = {}): KioskView {
  const view: KioskView & { heardMs?: unknown } = kiosk(kid, changes);
  delete view.heardMs;
  return view;
}

function started() {
  const live = useLive();
  live.start({ refused: () => told.push("refused"), alarmsChanged: () => told.push("alarms") }, environment);
  environment.socket.onopen?.();
  return live;
}

/** The page's clock stands where the environment's does. */
function tick(live: ReturnType<typeof useLive>): void {
  useNow().nowMs.value = environment.now();
  live.tick();
}

beforeEach(() => {
  setActivePinia(createPinia());
  environment = new FakeEnvironment();
  told = [];
});

describe("the live store", () => {
  it("has the rows of the snapshot and the changes after it", () => {
    const live = started();
    expect(live.isLoaded).toBe(false);
    environment.socket.say({ t: "snap", topic: "kiosks", seq: 1, rows: [row("a"), row("b")] });
    expect(live.isLoaded).toBe(true);
    const before = live.kiosks.get("a");
    environment.advance(100);
    environment.socket.say({ t: "d", topic: "kiosks", seq: 2, prev: 1, rows: [row("b", { alarm_worst: "critical" })] });
    expect(live.kiosks.get("a")).toBe(before);
    expect(live.critical).toBe(1);
    environment.advance(100);
    environment.socket.say({ t: "d", topic: "kiosks", seq: 3, prev: 2, rows: [], gone: ["a"] });
    expect([...live.kiosks.keys()]).toEqual(["b"]);
  });

  it("counts ages from when the kiosk was heard, however old the row is", () => {
    const live = started();
    const hourAgo = new Date(serverClock.nowMs() - 3_600_000).toISOString();
    environment.socket.say({ t: "snap", topic: "kiosks", seq: 1, rows: [row("a", { last_seen_at: hourAgo, age_s: 4 })] });
    const heardMs = live.kiosks.get("a")?.heardMs ?? Number.NaN;
    expect((environment.now() - heardMs) / 1_000).toBeCloseTo(3_600, 0);
  });

  it("ages while the server is silent, and says when it is lost", () => {
    const live = started();
    environment.socket.say({ t: "snap", topic: "kiosks", seq: 1, rows: [] });
    tick(live);
    expect([live.freshness, live.ageS]).toEqual(["fresh", 0]);
    environment.advance(16_000);
    tick(live);
    expect(live.freshness).toBe("ageing");
    environment.socket.say({ t: "ping" });
    tick(live);
    expect(live.freshness).toBe("fresh");
    environment.socket.onclose?.();
    expect([live.status, live.freshness]).toEqual(["lost", "stale"]);
    expect(live.isLoaded).toBe(true);
  });

  it("passes on changed alarms and refusals", () => {
    started();
    const alarm = { kid: "a", component: "host", code: "disk_low" };
    environment.socket.say({ t: "snap", topic: "alarms", seq: 7, rows: [alarm] });
    expect(told).toEqual(["alarms"]);
    environment.socket.onclose?.();
    environment.advance(60_000);
    environment.socket.onclose?.();
    expect(told).toContain("refused");
  });

  it("takes over a row that a request returned", () => {
    const live = started();
    environment.socket.say({ t: "snap", topic: "kiosks", seq: 1, rows: [row("a")] });
    live.put(row("a", { state: "quarantined" }));
    expect(live.kiosks.get("a")?.state).toBe("quarantined");
  });

  it("forgets everything when it stops", () => {
    const live = started();
    environment.socket.say({ t: "snap", topic: "kiosks", seq: 1, rows: [row("a")] });
    live.stop();
    expect([live.kiosks.size, live.isLoaded, live.ageS]).toEqual([0, false, null]);
    expect(environment.socket.isClosed).toBe(true);
  });
});
