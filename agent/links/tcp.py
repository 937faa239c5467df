"""TCP to one device; a peer that vanished without a word is noticed by keep-alive and by what it does not confirm."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

from agent.links.base import LinkLost
from agent.links.descriptor import DescriptorLink

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class TcpPatience:
    """How long a peer may be away before the connection counts as lost."""

    connect_s: float = CONNECT_S
    idle_s: int = 10
    probe_s: int = 5
    probes: int = 3
    unconfirmed_s: float = 20.0


class TcpLink(DescriptorLink):
    """One connection."""

    def __init__(self, host: str, port: int, patience: TcpPatience | None = None) -> None:
        super().__init__(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._address = (host, port)
        self._patience = patience if patience is not None else TcpPatience()
        self._socket: socket.socket | None = None

    @classmethod
    def of(cls, address: str, default_port: int) -> TcpLink:
        """`host`, `host:port` or `[v6]:port`.

        Raises:
            ValueError: the port is no number.
        """
        host, separator, port = address.rpartition(":")
        if not separator or (":" in host and not host.endswith("]")):
            return cls(address.strip("[]"), default_port)
        return cls(host.strip("[]"), int(port))

    async def open(self) -> None:
        """See `ByteLink`."""
        await self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience.connect_s):
                found = await loop.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
                self._socket = await self._connected(found[0])
        except TimeoutError:
            raise LinkLost(f"{self.name}: no connection in {self._patience.connect_s:g} s") from None
        except OSError as error:
            number = error.errno if error.errno is not None else 0
            reason = os.strerror(number) if number > 0 else error.strerror or type(error).__name__
            raise LinkLost(f"{self.name}: {reason}") from error
        self._attach(self._socket.fileno())

    async def close(self) -> None:
        """See `ByteLink`."""
        connection, self._socket = self._socket, None
        self._detach()
        if connection is not None:
            connection.close()

    async def _connected(self, found: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, address = found
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(0)
            patience = self._patience
            for level, option, value in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, patience.idle_s),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, patience.probe_s),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, patience.probes),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience.unconfirmed_s * 1_000)),
            ):
                connection.setsockopt(level, option, value)
            await asyncio.get_running_loop().sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return connection
