"""What every link can do; drivers see nothing else of a port, a socket or a USB pipe."""

from __future__ import annotations

from typing import Protocol


class LinkError(Exception):
    """The root of what can go wrong on a link; the text names the port, never bytes."""


class LinkLost(LinkError):
    """The port, the cable or the peer is gone, or was never there; only opening anew helps."""


class WrongPeer(LinkError):
    """Something else is there than was expected; it was let go of again without a byte."""


class LinkTimeout(LinkError, TimeoutError):
    """Nothing came, or nothing could be sent, in time; the link is still open."""


class ByteLink(Protocol):
    """A stream of bytes to one device. One task reads, one task writes; both may be the same."""

    @property
    def name(self) -> str:
        """Where it leads, for logs: a port, an address, a bus path."""

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not lost or closed since."""

    async def open(self) -> None:
        """Connect; what an earlier peer had sent is dropped.

        Raises:
            LinkLost: there is nothing to connect to, or it is in use.
        """

    async def read(self, *, timeout_s: float) -> bytes:
        """At least one byte, at most what is there (bounded by 64 KiB).

        Raises:
            LinkTimeout: nothing came.
            LinkLost: the other side is gone.
        """

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """Hand everything to the device.

        Raises:
            LinkTimeout: the device did not take it in time; an unknown part of it was sent.
            LinkLost: the other side is gone.
        """

    def discard(self) -> int:
        """Drop what has come and was not read; how many bytes."""

    async def close(self) -> None:
        """Let go of the port; closing twice is harmless."""
