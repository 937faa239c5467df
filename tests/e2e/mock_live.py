"""The live channel of the mock server: snapshots, changed rows by sequence, pings; and its misdeeds on demand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.mock_hospital import Hospital

Row = dict[str, Any]  # Any: a JSON object


class MockLive:
    """Everybody who watches, and the last change."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.seq = 100
        self.is_silent = False
        """Accepts connections but says nothing more, like a half-open link."""
        self.subscriptions: list[Mapping[str, object]] = []
        """What clients asked for, in order."""
        self._watching: dict[web.WebSocketResponse, set[str]] = {}

    @property
    def viewers(self) -> int:
        return len(self._watching)

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """Talk to one client until it leaves."""
        self._watching[socket] = set()
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or self.is_silent:
                    continue
                asked = json.loads(message.data)
                for wish in asked.get("sub", ()):
                    self.subscriptions.append(wish)
                    self._watching[socket].add(wish["topic"])
                    await socket.send_json(self._snapshot(wish["topic"]))
                if asked.get("t") == "ping":
                    await socket.send_json({"t": "pong"})
        finally:
            self._watching.pop(socket, None)

    def _snapshot(self, topic: str) -> Row:
        source = self.hospital.kiosks if topic == "kiosks" else self.hospital.alarms
        rows = [row.model_dump(mode="json") for row in source.values()]
        return {"t": "snap", "topic": topic, "seq": self.seq, "rows": rows}

    async def push(self, *kids: str, lose: bool = False) -> None:
        """Send the changed rows of some kiosks; a lost one raises the sequence but reaches nobody."""
        previous, self.seq = self.seq, self.seq + 1
        rows = [self.hospital.kiosks[kid].model_dump(mode="json") for kid in kids]
        if lose or self.is_silent:
            return
        for socket, topics in list(self._watching.items()):
            if "kiosks" in topics:
                await socket.send_json(
                    {"t": "d", "topic": "kiosks", "seq": self.seq, "prev": previous, "gone": [], "rows": rows}
                )

    async def cut(self) -> None:
        """Close every connection."""
        for socket in list(self._watching):
            await socket.close()
