"""paho with a read buffer: it reads packet headers byte by byte, here from memory instead of from the kernel.

Hooks paho's `_create_socket`, the seam it has for its own WebSocket transport. A release without that seam is
used plain, which is slower and otherwise the same; `is_buffered` tells, and the network thread logs it.
"""

from __future__ import annotations

import ssl
from typing import Any

import paho.mqtt.client as paho

_READ_BYTES = 65_536
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ReadBuffer:
    """A socket whose `recv` takes up to 64 KiB at once and hands it out in small parts.

    Remembers why reading or writing failed: paho itself only says that the connection was lost.
    """

    __slots__ = ("_at", "_data", "_socket", "failure")

    def __init__(self, wrapped: Any) -> None:  # noqa: ANN401 - a plain or a TLS socket
        self.failure: OSError | None = None
        self._socket = wrapped
        self._data = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """As socket.recv."""
        if self._at >= len(self._data):
            try:
                self._data = self._socket.recv(_READ_BYTES)
            except OSError as error:
                self._note(error)
                raise
            self._at = 0
        part = self._data[self._at : self._at + size]
        self._at += len(part)
        return part

    def send(self, data: bytes | bytearray) -> int:
        """As socket.send."""
        try:
            sent: int = self._socket.send(data)
        except OSError as error:
            self._note(error)
            self._look_for_alert()
            raise
        return sent

    def _note(self, error: OSError) -> None:
        if not isinstance(error, _NOT_NOW):
            self.failure = error

    def _look_for_alert(self) -> None:
        """A peer that ended TLS says why; that may lie unread when a write finds the connection closed."""
        if self.failure is None or not isinstance(self._socket, ssl.SSLSocket):
            return
        try:
            self._socket.recv(_READ_BYTES)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return
        except ssl.SSLError as error:
            self._note(error)
        except OSError:
            return

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


class BufferedClient(paho.Client):
    """paho's client on top of `ReadBuffer`."""

    def _create_socket(self) -> Any:  # noqa: ANN401 - stands in for a socket
        return ReadBuffer(super()._create_socket())


def is_buffered(client: paho.Client) -> bool:
    """Whether this connected client reads through our buffer."""
    return isinstance(client.socket(), ReadBuffer)


def pending_bytes(link: Any) -> int:  # noqa: ANN401 - a `ReadBuffer`, or the plain socket of the fallback
    """Bytes that poll(2) knows nothing of."""
    pending = getattr(link, "pending", None)
    count: int = pending() if pending is not None else 0
    return count
