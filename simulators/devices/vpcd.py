"""A slot of vsmartcard's virtual reader: connecting is inserting a card, closing is pulling it out.

Each message is a big-endian u16 length and its bytes. One byte is a control: 0 power off, 1 power on, 2 reset, 4 give
the ATR (the only one that is answered); anything longer is a command APDU. vpcd asks for the ATR all the time.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from kit.supervise import TaskGroup, spawn
from simulators.devices.smart_card import CardFault, SmartCard

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

PORT = 35963
_OFF, _ON, _RESET, _GET_ATR = 0, 1, 2, 4


def to_port(host: str = "127.0.0.1", port: int = PORT) -> Connect:
    """How a slot reaches vpcd on this machine."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, port)

    return connect


class VpcdSlot:
    """`async with VpcdSlot(to_port()) as slot:` then `insert(card)` and `remove()` as often as wanted."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._group = TaskGroup()
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.remove()
        await self._group.__aexit__(None, None, None)

    @property
    def is_inserted(self) -> bool:
        """Whether a card is in."""
        return self._serving is not None and not self._serving.done()

    async def insert(self, card: SmartCard) -> None:
        """Put a card in; the one that is in is pulled out first.

        Raises:
            OSError: vpcd does not listen.
        """
        await self.remove()
        reader, writer = await self._connect()
        self._writer = writer
        card.power_up()
        self._serving = spawn(self._group, self._serve(card, reader, writer), "vpcd.card")

    async def remove(self) -> None:
        """Pull the card out; nothing when none is in."""
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()
            await asyncio.wait((serving,))

    async def _serve(self, card: SmartCard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack(">H", await _exactly(reader, writer, 2))
                message = await _exactly(reader, writer, length)
                if len(message) == 1:
                    await self._control(card, message[0], writer)
                    continue
                answer = card.exchange(message)
                if answer.delay_s:
                    await asyncio.sleep(answer.delay_s)
                if answer.is_yanked:
                    return
                if answer.data is not None:
                    await _send(writer, answer.data)
        except (OSError, EOFError):
            return
        finally:
            writer.close()

    async def _control(self, card: SmartCard, control: int, writer: asyncio.StreamWriter) -> None:
        if control == _GET_ATR:
            await _send(writer, b"\x00" if card.has(CardFault.MUTE_ATR) else card.atr)
        elif control in {_ON, _RESET}:
            card.power_up()


async def _exactly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> bytes:
    # vpcd sends length and body apart: without this each message waits 40 ms for our delayed acknowledgement.
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return await reader.readexactly(count)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(struct.pack(">H", len(data)) + data)
    await writer.drain()
