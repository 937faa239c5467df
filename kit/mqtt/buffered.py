"""paho with a read buffer: it reads packet headers byte by byte, here from memory instead of from the kernel.

Hooks paho's `_create_socket`, the seam it has for its own WebSocket transport; `client_class` falls back to
plain paho, which is slower and otherwise the same, when a release no longer has it.
"""

from __future__ import annotations

import ssl
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import MQTTErrorCode

_READ_BYTES = 65_536
_HOOK = "_create_socket"
log = structlog.get_logger(module=__name__)


class ReadBuffer:
    """A socket whose `recv` takes up to 64 KiB at once and hands it out in small parts."""

    __slots__ = ("_at", "_data", "_socket")

    def __init__(self, wrapped: Any) -> None:  # noqa: ANN401 - a plain or a TLS socket
        self._socket = wrapped
        self._data = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """As socket.recv."""
        if self._at >= len(self._data):
            self._data = self._socket.recv(_READ_BYTES)
            self._at = 0
        part = self._data[self._at : self._at + size]
        self._at += len(part)
        return part

    def pending(self) -> int:
        """Bytes that can be read without asking the kernel."""
        waiting = len(self._data) - self._at
        if waiting or not isinstance(self._socket, ssl.SSLSocket):
            return waiting
        return self._socket.pending()

    def fileno(self) -> int:
        """As socket.fileno."""
        number: int = self._socket.fileno()
        return number

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the wrapped socket has
        return getattr(self._socket, name)


class _BufferedClient(paho.Client):
    """paho's client on top of `ReadBuffer`."""

    def _create_socket(self) -> Any:  # noqa: ANN401 - stands in for a socket
        return ReadBuffer(super()._create_socket())

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read on until the buffer is empty: `select` knows nothing of what is in it."""
        while True:
            result = super().loop_read(max_packets)
            link = self._sock
            if result or not isinstance(link, ReadBuffer) or link.pending() == 0:
                return result


def client_class() -> type[paho.Client]:
    """The buffered client where paho still has the seam, else paho's own."""
    if hasattr(paho.Client, _HOOK):
        return _BufferedClient
    log.warning("mqtt.unbuffered", missing=_HOOK)
    return paho.Client
