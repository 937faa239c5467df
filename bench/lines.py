"""The bare lines of the ingest bench: `python -m bench.lines limit|paho|paho_sqlite PLAN STORE`.

- `limit`: MQTT 5 parsed by hand on asyncio, msgspec, asyncpg binary COPY.
- `paho`: paho-mqtt in its thread, a deque, pydantic, the same COPY.
- `paho_sqlite`: the same in front of sqlite3's executemany.

They keep no cursor, send no receipt, check no sender: only the expensive part is there. Prints `ready`, then when
the last row was committed and how much processor time that took.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # has no types
import msgspec
import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.messages import Plan, load
from simulators.mqtt.codec import Connect, encode_connect, encode_subscribe
from wire.topics import ROOT
from wire.uplink import Batch

FILTER = f"{ROOT}/+/up/log"
COLUMNS = ("kiosk_no", "at", "stream_no", "seq", "kiosk_at", "received_at", "hist", "span_s", "component", "sample")
TABLE = "bench_sample"
GROUP_MESSAGES = 40
POLL_S = 0.01
IDLE_S = 60.0
_KID_AT = len(ROOT) + 1
Message = tuple[str, bytes]
Row = tuple[int, datetime, int, int, datetime, datetime, bool, float | None, str, bytes]
Reader = Callable[[Message], list[Row]]


class Sample(msgspec.Struct):
    """A telemetry record for msgspec."""

    seq: int
    record_class: str
    at: datetime
    boot: str
    mono_ms: int
    kind: str
    values: dict[str, float]
    component: str = "host"
    offset_s: float = 0.0
    hist: bool = False


class Samples(msgspec.Struct):
    """A batch for msgspec."""

    v: int
    epoch: str
    first_seq: int
    records: list[Sample]


class RawSubscriber(asyncio.Protocol):
    """Reads PUBLISH packets without properties, acknowledges all of one read in one write."""

    def __init__(self, client_id: str, queue: deque[Message], ready: asyncio.Event) -> None:
        self._client_id = client_id
        self._queue = queue
        self._ready = ready
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(encode_connect(Connect(self._client_id, 60, clean_start=True)))

    def data_received(self, data: bytes) -> None:
        """Cut packets."""
        buffer = self._rest + data if self._rest else data
        at, size, acks = 0, len(buffer), []
        assert self._transport is not None
        while size - at >= 5:
            head, place, length, shift = buffer[at], at + 1, 0, 0
            while True:
                byte = buffer[place]
                length |= (byte & 127) << shift
                place += 1
                shift += 7
                if not byte & 128:
                    break
            end = place + length
            if end > size:
                break
            if head >> 4 == 3:
                topic_end = place + 2 + int.from_bytes(buffer[place : place + 2])
                acks.append(b"\x40\x02" + buffer[topic_end : topic_end + 2])
                assert buffer[topic_end + 2] == 0
                self._queue.append((buffer[place + 2 : topic_end].decode(), buffer[topic_end + 3 : end]))
            elif head >> 4 == 2:
                assert buffer[place + 1] == 0, "refused"
                self._transport.write(encode_subscribe(1, [(FILTER, 1)]))
            elif head >> 4 == 9:
                self._ready.set()
            at = end
        self._rest = buffer[at:]
        if acks:
            self._transport.write(b"".join(acks))


def _context(plan: Plan) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=plan.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*plan.subscriber[1:])
    return context


async def _subscribe_raw(plan: Plan, queue: deque[Message]) -> None:
    ready = asyncio.Event()
    await asyncio.get_running_loop().create_connection(
        lambda: RawSubscriber(plan.subscriber[0], queue, ready),
        plan.host,
        plan.port,
        ssl=_context(plan),
        server_hostname="localhost",
    )
    await ready.wait()


def _subscribe_paho(plan: Plan, queue: deque[Message]) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, plan.subscriber[0], protocol=paho.MQTTv5)
    client.tls_set_context(_context(plan))
    client.on_message = lambda _client, _data, message: queue.append((message.topic, bytes(message.payload)))
    client.on_connect = lambda found, *_: found.subscribe(FILTER, 1)
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.ReceiveMaximum = 100
    client.connect("localhost", plan.port, clean_start=True, properties=properties)
    client.loop_start()
    while not subscribed:
        time.sleep(POLL_S)
    return client


def _msgspec_reader(plan: Plan) -> Reader:
    decode = msgspec.json.Decoder(Samples).decode
    encode = msgspec.json.Encoder().encode

    def read(message: Message) -> list[Row]:
        number, now = plan.kiosk_nos[message[0][_KID_AT:-7]], datetime.now(UTC)
        return [
            (
                number,
                one.at - timedelta(seconds=one.offset_s),
                1,
                one.seq,
                one.at,
                now,
                one.hist,
                None,
                one.component,
                encode(one.values),
            )
            for one in decode(message[1]).records
        ]

    return read


def _pydantic_reader(plan: Plan) -> Reader:
    def read(message: Message) -> list[Row]:
        number, now = plan.kiosk_nos[message[0][_KID_AT:-7]], datetime.now(UTC)
        return [
            (
                number,
                one.at - timedelta(seconds=one.offset_s or 0.0),
                1,
                one.seq,
                one.at,
                now,
                one.hist,
                one.span_s,  # type: ignore[union-attr]  # all of them are telemetry
                one.component,  # type: ignore[union-attr]
                orjson.dumps(one.values),  # type: ignore[union-attr]
            )
            for one in Batch.model_validate_json(message[1]).records
        ]

    return read


async def _into_postgres(store: str, queue: deque[Message], read: Reader, expected: int) -> float:
    """Take at most 2,000 rows a transaction; the moment of the last commit."""
    link = await asyncpg.connect(store)
    await link.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda body: b"\x01" + body, decoder=bytes, format="binary"
    )
    done, last_s = 0, time.monotonic()
    while done < expected:
        assert time.monotonic() - last_s < IDLE_S, f"{done} of {expected} came"
        if len(queue) < GROUP_MESSAGES // 4:
            await asyncio.sleep(POLL_S)
            if not queue:
                continue
        rows = [row for _ in range(min(GROUP_MESSAGES, len(queue))) for row in read(queue.popleft())]
        await link.copy_records_to_table(TABLE, records=rows, columns=COLUMNS)
        done, last_s = done + len(rows), time.monotonic()
        await asyncio.sleep(0)
    await link.close()
    return last_s


def _into_sqlite(store: str, queue: deque[Message], read: Reader, expected: int) -> float:
    link = sqlite3.connect(store, isolation_level=None)
    link.execute("PRAGMA journal_mode = WAL").fetchone()
    link.execute("PRAGMA synchronous = NORMAL")
    insert = f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of ours
    done, last_s = 0, time.monotonic()
    while done < expected:
        assert time.monotonic() - last_s < IDLE_S, f"{done} of {expected} came"
        if not queue:
            time.sleep(POLL_S)
            continue
        rows = [_plain(row) for _ in range(min(GROUP_MESSAGES, len(queue))) for row in read(queue.popleft())]
        link.execute("BEGIN IMMEDIATE")
        link.executemany(insert, rows)
        link.execute("COMMIT")
        done, last_s = done + len(rows), time.monotonic()
    link.close()
    return last_s


def _plain(row: Row) -> Sequence[Any]:
    no, at, stream_no, seq, kiosk_at, received_at, *rest, sample = row
    moments = (int(moment.timestamp() * 1e6) for moment in (at, kiosk_at, received_at))
    at_us, kiosk_us, received_us = moments
    return (no, at_us, stream_no, seq, kiosk_us, received_us, *rest, sample.decode())


async def _run_postgres(side: str, plan: Plan, store: str) -> float:
    queue: deque[Message] = deque()
    if side == "limit":
        await _subscribe_raw(plan, queue)
    else:
        _subscribe_paho(plan, queue)
    print("ready", flush=True)
    reader = _msgspec_reader(plan) if side == "limit" else _pydantic_reader(plan)
    return await _into_postgres(store, queue, reader, plan.records)


def _run_sqlite(plan: Plan, store: str) -> float:
    queue: deque[Message] = deque()
    _subscribe_paho(plan, queue)
    print("ready", flush=True)
    return _into_sqlite(store, queue, _pydantic_reader(plan), plan.records)


def main() -> None:
    """Entry point."""
    side, path, store = sys.argv[1:]
    plan = load(path)
    before_s = time.process_time()
    committed_s = _run_sqlite(plan, store) if side == "paho_sqlite" else asyncio.run(_run_postgres(side, plan, store))
    print(json.dumps({"committed_s": committed_s, "cpu_s": time.process_time() - before_s}), flush=True)


if __name__ == "__main__":
    main()
