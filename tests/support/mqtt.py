"""Clients of `kit.mqtt` under test, and a broker that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from kit.mqtt import Message, MqttClient
from kit.supervise import Backoff
from support.waiting import wait_for

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14
READY_S = 10.0


class Quick(Backoff):
    """Waits hardly at all, and counts."""

    def __init__(self) -> None:
        super().__init__(base_s=0.02, cap_s=0.05)
        self.waits = 0
        self.resets = 0

    def next_s(self) -> float:
        """As `Backoff`."""
        self.waits += 1
        return super().next_s()

    def reset(self) -> None:
        """As `Backoff`."""
        self.resets += 1
        super().reset()


@asynccontextmanager
async def started(*clients: MqttClient) -> AsyncIterator[None]:
    """Let these clients run, connected or not; at the end they are closed, and one that failed fails the test.

    No TaskGroup: it would wrap a test's own assertion into a group.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(client.run(), name=client.name) for client in clients]
    try:
        yield
    finally:
        for client in clients:
            await client.close()
        done, late = await asyncio.wait(tasks, timeout=READY_S)
        assert not late, f"still running after close: {[task.get_name() for task in late]}"
    for task in done:
        task.result()


@asynccontextmanager
async def connected(*clients: MqttClient) -> AsyncIterator[None]:
    """Let these clients run and wait until all are connected."""
    async with started(*clients):
        for client in clients:
            await is_connected(client)
        yield


async def is_connected(client: MqttClient) -> None:
    """Wait for the connection."""
    await wait_for(lambda: client.is_connected, timeout_s=READY_S, what=f"{client.name}: {client.last_error}")


async def take(client: MqttClient, count: int, *, timeout_s: float = READY_S) -> list[Message]:
    """So many messages, as they come."""
    found: list[Message] = []
    async with asyncio.timeout(timeout_s):
        while len(found) < count:
            found += await client.messages()
    return found


@dataclass(slots=True)
class Peer:
    """One connection of a `ScriptedBroker`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def packet(self) -> tuple[int, bytes]:
        """The next packet: its head byte and its body."""
        head = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await self.reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return head, await self.reader.readexactly(length)

    async def expect(self, kind: int) -> bytes:
        """The body of the next packet, which must be of this kind; pings in between are answered."""
        while True:
            head, body = await self.packet()
            if head >> 4 == PINGREQ:
                self.send(0xD0, b"")
                continue
            if head >> 4 == DISCONNECT != kind:
                raise ConnectionResetError("the client has left")
            assert head >> 4 == kind, f"packet {head >> 4} instead of {kind}"
            return body

    def send(self, head: int, body: bytes) -> None:
        """Send a packet of up to 16,383 bytes."""
        length = bytes([len(body)]) if len(body) < 0x80 else bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
        self.writer.write(bytes([head]) + length + body)

    async def accept(self, properties: bytes = b"", *, flags: int = 0, code: int = 0) -> bytes:
        """Read CONNECT and answer with CONNACK."""
        body = await self.expect(CONNECT)
        self.send(CONNACK << 4, bytes([flags, code, len(properties)]) + properties)
        return body

    async def publication(self) -> tuple[int, bytes]:
        """Packet id and payload of the next PUBLISH with QoS 1 and without properties."""
        body = await self.expect(PUBLISH)
        at = 2 + int.from_bytes(body[:2], "big")
        assert body[at + 2] == 0, "no properties were expected"
        return int.from_bytes(body[at : at + 2], "big"), body[at + 3 :]

    def acknowledge(self, packet_id: int) -> None:
        """Answer a PUBLISH."""
        self.send(PUBACK << 4, packet_id.to_bytes(2, "big"))

    def deliver(self, topic: bytes, payload: bytes, packet_id: int = 0) -> None:
        """Send a PUBLISH; with a packet id it has QoS 1."""
        number = packet_id.to_bytes(2, "big") if packet_id else b""
        self.send(0x32 if packet_id else 0x30, len(topic).to_bytes(2, "big") + topic + number + b"\0" + payload)

    async def ended(self) -> None:
        """Wait until the client has closed."""
        while await self.reader.read(4_096):
            pass


@dataclass(slots=True)
class ScriptedBroker:
    """Plays `script` for every connection and then closes it; a script that fails, fails the test.

    A client that leaves in the middle of a script is no failure.
    """

    script: Callable[[Peer], Awaitable[None]]
    ssl_context: ssl.SSLContext | None = None
    connections: int = 0
    failure: BaseException | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where the test ends
            self.failure = error
        finally:
            writer.close()
            self._tasks.discard(task)

    async def __aenter__(self) -> Self:
        """Listen on a port of the kernel's choice."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl_context)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await wait_for(lambda: not self._tasks, what="the scripts to end")
        if self.failure is not None:
            raise self.failure
