"""Bytes for parsers to choke on: nothing but noise, or a frame that is damaged and whose check is made right again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

RANDOM, STRUCTURED = 100_000, 20_000
"""How many of each a parser has to survive."""


def noise(seed: int, count: int = RANDOM, *, size: int = 100) -> Iterator[bytes]:
    """Random bytes of random lengths."""
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.randbytes(rng.randrange(size))


def damaged(seed: int, body: bytes, seal: Callable[[bytes], bytes], count: int = STRUCTURED) -> Iterator[bytes]:
    """Frames whose `body` was changed before `seal` made a frame with a right check of it, so that they get through.

    Every third is damaged once more afterwards, and stands between two of the first kind.
    """
    rng = random.Random(seed)
    for number in range(count):
        frame = seal(_changed(rng, body))
        if number % 3 == 0:
            broken = bytearray(frame)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            frame += bytes(broken) + frame
        yield frame


def _changed(rng: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 1:
                del changed[at : at + rng.randint(1, 5)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randint(1, 5))
            case _:
                changed[at:at] = changed[: rng.randint(0, 9)]
    return bytes(changed) or b"\x00"
