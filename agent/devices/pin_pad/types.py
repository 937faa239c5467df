"""What an encrypting PIN pad is to the rest of the agent: it hands out a block, never a digit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, Protocol


class BlockSpent(Exception):
    """An encrypted block was wanted a second time."""


class EncryptedBlock:
    """One encrypted PIN block: used once, then overwritten; never shown, never pickled."""

    __slots__ = ("_data", "_is_spent", "key_name")

    def __init__(self, data: bytes | bytearray, key_name: str) -> None:
        self._data = bytearray(data)
        self._is_spent = False
        self.key_name = key_name

    @contextmanager
    def use(self) -> Iterator[memoryview]:
        """The block, for the time of the `with`; afterwards its bytes are zero.

        Raises:
            BlockSpent: it was used or dropped before.
        """
        if self._is_spent:
            raise BlockSpent
        self._is_spent = True
        try:
            with memoryview(self._data) as view:
                yield view
        finally:
            self.drop()

    def drop(self) -> None:
        """Overwrite it unused."""
        self._is_spent = True
        self._data[:] = bytes(len(self._data))

    def __repr__(self) -> str:
        return "EncryptedBlock(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an encrypted block is not stored")


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What the acquirer wants; `account` are the twelve digits of the card number that the block is bound to."""

    account: str = field(repr=False)
    min_digits: int = 4
    max_digits: int = 6
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class PinEntry:
    """A finished entry. The number of digits is not told further than the screen."""

    block: EncryptedBlock
    digits: int = field(repr=False)


class PinPad(Protocol):
    """Takes a PIN."""

    async def enter(self, request: PinRequest) -> PinEntry | None:
        """Let the patient type; None when they cancelled or let the time pass.

        Raises:
            DeviceFault: the pad failed, or gave anything but an encrypted block.
            LinkError: the link failed.
        """

    async def cancel(self) -> None:
        """End an entry that runs. Raises: LinkError."""
