"""What pages hear of devices, beside what the fleet hears: the words of CWA 17852 (Common.device) and what is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen, Sink
from agent.local_api.feed import Feed
from wire.consumables import ConsumableStatus
from wire.device_api import ConsumablesChanged, FunctionsChanged
from wire.envelope import Scalar
from wire.functions import FunctionStatus

EVENT: Final = "Common.DeviceEvent"
FUNCTIONS: Final = "Common.FunctionsChanged"
CONSUMABLES: Final = "Common.ConsumablesChanged"
ORDERS: Final = "Payment.OrdersChanged"
DEVICE: Final[Mapping[DeviceState, str]] = MappingProxyType(
    {
        DeviceState.ABSENT: "noDevice",
        DeviceState.STARTING: "starting",
        DeviceState.READY: "online",
        DeviceState.BUSY: "deviceBusy",
        DeviceState.FAULTED: "hardwareError",
        DeviceState.RECOVERING: "starting",
        DeviceState.UPDATING: "deviceBusy",
    }
)


class PageNews:
    """A `Sink` that tells pages and passes everything on."""

    def __init__(self, feed: Feed, rest: Sink) -> None:
        self._feed = feed
        self._rest = rest

    async def changed(self, seen: Seen) -> None:
        """See `Sink`."""
        faults = sorted(fault.value for fault in seen.faults)
        self._feed.status(
            seen.component,
            {**seen.status.values, "device": DEVICE[seen.state], "kind": seen.capability.value, "faults": faults},
        )
        await self._rest.changed(seen)

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """See `Sink`."""
        self._feed.event(EVENT, {"component": component, "name": name, **fields})
        await self._rest.happened(component, name, fields)

    def alive(self, seen: Seen) -> None:
        """See `Sink`."""
        self._rest.alive(seen)


def capability_news(feed: Feed) -> Callable[[Sequence[FunctionStatus], Sequence[ConsumableStatus]], None]:
    """What tells pages, those that join later too, what patients can do and what is left."""

    def tell(functions: Sequence[FunctionStatus], consumables: Sequence[ConsumableStatus]) -> None:
        now = FunctionsChanged(functions=list(functions)), ConsumablesChanged(consumables=list(consumables))
        for name, payload in zip((FUNCTIONS, CONSUMABLES), now, strict=True):
            feed.fact(name, payload.model_dump(mode="json", exclude_none=True))

    return tell
