"""A small fleet server on a real broker: server state, batches in, receipts out. For tests of the agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from kit.clock import Clock, SystemClock, ulid
from kit.mqtt import Message, MqttClient, MqttError, MqttSettings, Will
from kit.supervise import spawn
from support.uplink_server import UplinkServer
from support.waiting import wait_for
from wire.envelope import decode, encode
from wire.presence import Birth, Live, Presence, ServerState
from wire.topics import SERVER_STATE, Channel, every_kiosk, parse, topic

_UP = (Channel.PRESENCE, Channel.BIRTH, Channel.LIVE, Channel.LOG)


@dataclass(slots=True)
class FleetPeer:
    """`async with FleetPeer(port)`; `offset_s` is what its clock is ahead."""

    port: int
    offset_s: float = 0.0
    backfill_per_s: float | None = 1_000.0
    gives_receipts: bool = True
    server: UplinkServer = field(default_factory=UplinkServer)
    presence: list[Presence] = field(default_factory=list)
    births: list[Birth] = field(default_factory=list)
    lives: list[Live] = field(default_factory=list)
    client: MqttClient = field(init=False)
    _clock: Clock = field(default_factory=SystemClock)
    _epoch: str = ""
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._epoch = ulid(self._clock)

    async def __aenter__(self) -> Self:
        settings = MqttSettings(host="127.0.0.1", port=self.port, client_id="fleet-peer", tls=False, retry_cap_s=0.2)
        self.client = MqttClient(
            settings,
            clock=self._clock,
            subscriptions=[(every_kiosk(channel), 1) for channel in _UP],
            will=lambda: Will(SERVER_STATE, self._state(online=False)),
            on_connected=lambda: self.say(online=True),
        )
        self._task = asyncio.get_running_loop().create_task(self._run(), name="fleet-peer")
        await wait_for(lambda: self.client.is_connected, what="the peer's connection")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def say(self, *, online: bool) -> None:
        """Publish the server's state, retained."""
        await self.client.publish(SERVER_STATE, self._state(online=online), retain=True)

    async def receipt(self, kid: str, payload: bytes) -> None:
        """Send a receipt."""
        await self.client.publish(topic(kid, Channel.RECEIPT), payload)

    def _state(self, *, online: bool) -> bytes:
        utc = self._clock.utc() + timedelta(seconds=self.offset_s)
        return encode(ServerState(online=online, epoch=self._epoch, utc=utc, backfill_per_s=self.backfill_per_s))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            _ = spawn(group, self.client.run(), "peer-mqtt")
            _ = spawn(group, self._listen(), "peer-listen")

    async def _listen(self) -> None:
        while True:
            for message in await self.client.messages():
                await self._take(message)

    async def _take(self, message: Message) -> None:
        address = parse(message.topic)
        if address.channel is Channel.PRESENCE:
            self.presence.append(decode(Presence, message.payload))
        elif address.channel is Channel.BIRTH:
            self.births.append(decode(Birth, message.payload))
        elif address.channel is Channel.LIVE:
            self.lives.append(decode(Live, message.payload))
        else:
            answer = self.server.take(message.payload)
            if answer is not None and self.gives_receipts:
                with suppress(MqttError):  # the broker may be gone; the kiosk asks again by sending again
                    await self.receipt(address.kid, answer)
