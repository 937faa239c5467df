"""Which device a command means, and what a page sees of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import Field

from agent.devices.manager import DeviceManager
from agent.devices.types import Driver
from agent.errors import DeviceFault
from agent.links.base import LinkError
from agent.local_api.dialogue import Refusal
from agent.local_api.payload import Request
from wire.device_api import CompletionCode
from wire.envelope import ComponentName
from wire.faults import Fault
from wire.profile import Capability

T = TypeVar("T")


class DeviceRequest(Request):
    """A command for one device."""

    component: ComponentName | None = Field(default=None, description="needed where a kiosk has several of the kind")


class Bench:
    """The devices of this kiosk as commands name them."""

    def __init__(self, devices: DeviceManager) -> None:
        """Look for devices there."""
        self.devices = devices

    def find(self, capability: Capability, component: str | None = None) -> str:
        """The component that a command means.

        Raises:
            Refusal: there is no such device, or there are several and none was named.
        """
        names = self.all_of(capability)
        if component is not None:
            if component not in names:
                raise Refusal("noSuchComponent", f"no {capability.value} of this name")
            return component
        if len(names) > 1:
            raise Refusal("componentNeeded", f"one of {', '.join(names)}", completion=CompletionCode.INVALID_DATA)
        if not names:
            raise Refusal("noSuchComponent", f"this kiosk has no {capability.value}")
        return names[0]

    def all_of(self, capability: Capability) -> Sequence[str]:
        """The components of a kind, in the order of the kiosk's profile."""
        return [seen.component for seen in self.devices.seen() if seen.capability is capability]

    async def use(self, component: str, work: Callable[[Driver], Awaitable[T]]) -> T:
        """Let `work` use the device.

        Raises:
            DeviceFault: it is busy, out of order, or failed.
        """
        try:
            return await self.devices.use(component, work)
        except LinkError as error:
            raise DeviceFault(Fault.UNPLUGGED, str(error)) from None
