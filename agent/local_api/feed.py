"""What all pages hear: how each component is now, and what happens without being asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wire.device_api import DeviceMessage, MessageHeader, MessageType
from wire.envelope import Scalar

STATUS: Final = "Common.StatusChangedEvent"
Json = dict[str, Any]  # Any: whatever JSON a message carries
Hear = Callable[[DeviceMessage], None]


class Feed:
    """Keeps the last status of every component, and tells pages of changes only."""

    def __init__(self) -> None:
        self._status: dict[str, Json] = {}
        self._facts: dict[str, Json] = {}
        self._pages: set[Hear] = set()

    def join(self, hear: Hear) -> None:
        """Tell this page everything as it is now, and what changes from now on."""
        for component, status in self._status.items():
            hear(_unsolicited(STATUS, {"component": component, **status}))
        for name, payload in self._facts.items():
            hear(_unsolicited(name, payload))
        self._pages.add(hear)

    def leave(self, hear: Hear) -> None:
        """Tell this page nothing more."""
        self._pages.discard(hear)

    def status(self, component: str, status: Mapping[str, Scalar | list[str] | None]) -> None:
        """How a component is, as often as wanted; pages hear of what differs."""
        before = self._status.get(component, {})
        changed = {key: value for key, value in status.items() if before.get(key, _ABSENT) != value}
        changed |= {key: None for key in before if key not in status}
        self._status[component] = dict(status)
        if changed:
            self.event(STATUS, {"component": component, **changed})

    def fact(self, name: str, payload: Json) -> None:
        """Something that is so until the next such message; a page that joins later hears it too."""
        if self._facts.get(name) != payload:
            self._facts[name] = payload
            self.event(name, payload)

    def event(self, name: str, payload: Json) -> None:
        """Something happened that belongs to no command."""
        message = _unsolicited(name, payload)
        for hear in list(self._pages):
            hear(message)


_ABSENT: Final = object()


def _unsolicited(name: str, payload: Json) -> DeviceMessage:
    return DeviceMessage(header=MessageHeader(name=name, type=MessageType.UNSOLICITED), payload=payload)
