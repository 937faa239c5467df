/** The fleet as the server last told it: one connection, one copy of every row, ages that go on counting. */
import { defineStore } from "pinia";
import { computed, ref, shallowRef } from "vue";

import { browserEnvironment, liveUrl } from "@kiosk/web-kit/live/browser";
import { type Environment, LiveConnection, type LiveStatus } from "@kiosk/web-kit/live/connection";
import { freshnessOf } from "@kiosk/web-kit/live/freshness";
import type { Row } from "@kiosk/web-kit/live/protocol";
import { TopicRows } from "@kiosk/web-kit/live/topic";

import type { Kiosk, KioskView } from "../kiosks/model";
import { serverClock } from "../server";
import { useNow } from "./now";

const PATH = "/api/v1/live";

export interface LiveHooks {
  /** The server let nobody in: find out whether the session ended. */
  refused(): void;
  /** Alarms changed. */
  alarmsChanged(): void;
}

export const useLive = defineStore("live", () => {
  const kiosks = shallowRef<ReadonlyMap<string, Kiosk>>(new Map());
  const isLoaded = ref(false);
  const status = ref<LiveStatus>("connecting");
  const lastHeardMs = ref<number | null>(null);
  const { nowMs } = useNow();

  let connection: LiveConnection | null = null;

  const ageS = computed(() => (lastHeardMs.value === null ? null : Math.max(0, nowMs.value - lastHeardMs.value) / 1_000));
  const freshness = computed(() => (status.value === "lost" ? "stale" : freshnessOf(ageS.value)));
  const critical = computed(() => [...kiosks.value.values()].filter((kiosk) => kiosk.alarm_worst === "critical").length);

  function start(hooks: LiveHooks, environment: Environment = browserEnvironment): void {
    if (connection !== null) return;
    const rows = new TopicRows("kiosks", (row: Row) => String(row["kid"]));
    const alarms = new TopicRows("alarms", (row: Row) => `${row["kid"]}/${row["component"]}/${row["code"]}`);
    connection = new LiveConnection(liveUrl(globalThis.location, PATH), [rows, alarms], environment, {
      changed(topic, keys) {
        tick();
        if (topic === "kiosks") merge(rows, keys, environment.now());
        else hooks.alarmsChanged();
      },
      status(next) {
        tick();
        status.value = next;
      },
      refused: () => hooks.refused(),
    });
    connection.start();
  }

  function merge(rows: TopicRows, keys: ReadonlySet<string> | null, atMs: number): void {
    const next = new Map(keys === null ? [] : kiosks.value);
    for (const key of keys ?? rows.rows.keys()) {
      const row = rows.rows.get(key);
      if (row === undefined) next.delete(key);
      else next.set(key, kioskOf(row as unknown as KioskView, atMs));
    }
    kiosks.value = next;
    isLoaded.value = true;
  }

  /** Puts in a row that a request returned, until the live channel says more. */
  function put(row: KioskView): void {
    const atMs = browserEnvironment.now();
    kiosks.value = new Map(kiosks.value).set(row.kid, kioskOf(row, atMs));
  }

  /** What the connection heard becomes visible: at every change, and once a second for pings. */
  function tick(): void {
    lastHeardMs.value = connection?.lastHeardMs ?? null;
  }

  function poke(): void {
    connection?.poke();
  }

  function stop(): void {
    connection?.stop();
    connection = null;
    kiosks.value = new Map();
    isLoaded.value = false;
    status.value = "connecting";
    lastHeardMs.value = null;
  }

  return { kiosks, isLoaded, status, ageS, freshness, critical, nowMs, start, put, tick, poke, stop };
});

function kioskOf(row: KioskView, atMs: number): Kiosk {
  // Not from `age_s`: the server made the row when something changed, which may be long ago.
  const heardMs = row.last_seen_at == null ? null : atMs - (serverClock.nowMs() - Date.parse(row.last_seen_at));
  return { ...row, heardMs };
}
