"""At most so many calls a second to one channel: the merchant as a whole is shut out when it asks more often."""

from __future__ import annotations

import asyncio
from typing import Final

BURST: Final = 3
"""A merchant may call each interface 33 times in any second; with these, the 29 of the setting stay below that.

Each process keeps its own pace: two of them get 13 each, which is 32 with both bursts.
"""


class Pace:
    """Lets callers through in the order they came: `BURST` at once, then `per_s` a second, never more in any second.

    Waiting is real time of the running loop, whatever the clock of the orders says.
    """

    def __init__(self, per_s: float) -> None:
        """Nobody has asked yet."""
        self.per_s = per_s
        self._full_at_s = 0.0
        """When every token that was taken is back."""

    async def turn(self) -> None:
        """Wait for one's turn."""
        now_s = asyncio.get_running_loop().time()
        self._full_at_s = max(self._full_at_s, now_s) + 1.0 / self.per_s
        wait_s = self._full_at_s - now_s - BURST / self.per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
