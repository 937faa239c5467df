"""Run the benchmarks named on the command line, all of them without a name."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic

from bench import (
    ROOT,
    agent,
    alerts,
    devices,
    fleet,
    http,
    ingest,
    kiosk_page,
    outbox,
    payments,
    readers,
    recorder,
    sla,
)
from bench.harness import Row, merge, show

Bench = Callable[[], Awaitable[Sequence[Row]]]

RESULTS = ROOT / "bench" / "results.json"
BENCHES: Mapping[str, Bench] = {
    "ingest": ingest.ingest,
    "outbox": outbox.outbox,
    "agent": agent.agent,
    "fleet_server": fleet.fleet_server,
    "crowd": fleet.crowd,
    "backlog": fleet.backlog,
    "live": fleet.live,
    "http": http.http,
    "devices": devices.devices,
    "readers": readers.readers,
    "recorder": recorder.recorder,
    "payments": payments.payments,
    "kiosk_page": kiosk_page.kiosk_page,
    "alerts": alerts.alerts,
    "sla": sla.sla,
}


async def _run(names: Sequence[str]) -> Sequence[Row]:
    rows: list[Row] = []
    for name in names:
        print(f"{name} (load {os.getloadavg()[0]:.1f})", flush=True)
        started_s = monotonic()
        found = await BENCHES[name]()
        merge(RESULTS, found)
        rows += found
        print(f"  {monotonic() - started_s:.0f} s", flush=True)
    return rows


def main() -> None:
    """Entry point; ends with 1 when a goal is missed."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        sys.exit(2)
    rows = asyncio.run(_run(names))
    print(show(rows))
    sys.exit(0 if all(item.holds for item in rows) else 1)


if __name__ == "__main__":
    main()
