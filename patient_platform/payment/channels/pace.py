"""At most so many calls a second to one channel: the merchant as a whole is shut out when it asks more often."""

from __future__ import annotations

import asyncio
from typing import Final

WECHAT_PER_S: Final = 29.0
"""With the burst below what a merchant is allowed for code payments in any second (33 for each interface).

Each process keeps its own pace: whoever runs two of them has to halve it.
"""
BURST: Final = 3


class Pace:
    """Lets callers through in the order they came: `BURST` at once, then `per_s` a second, never more in any second.

    Waiting is real time of the running loop, whatever the clock of the orders says.
    """

    def __init__(self, per_s: float) -> None:
        """Nobody has asked yet."""
        self._per_s = per_s
        self._full_at_s = 0.0
        """When every token that was taken is back."""

    async def turn(self) -> None:
        """Wait for one's turn."""
        now_s = asyncio.get_running_loop().time()
        self._full_at_s = max(self._full_at_s, now_s) + 1.0 / self._per_s
        wait_s = self._full_at_s - now_s - BURST / self._per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
