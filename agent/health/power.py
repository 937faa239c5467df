"""What a power cut means for patients: on battery nobody starts to pay, on a low one the kiosk ends and switches off.

Unknown is not on battery: a UPS that is not heard is an alarm of its own and stops nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.devices.manager import Seen, Sink
from agent.reporter import Reporter
from kit.logs import get_logger
from wire.envelope import Scalar
from wire.faults import Fault
from wire.presence import Activity
from wire.profile import Capability

PATIENCE_S: Final = 60.0
"""The longest a patient who does not pay may hold up a shutdown; a payment is always waited for."""
_LOOK_S: Final = 0.5
_COMMAND_S: Final = 30.0
log = get_logger(__name__)


class PowerState:
    """What is known of the mains, for whoever begins something with a patient."""

    def __init__(self) -> None:
        """The mains are there as far as is known."""
        self._on_battery: set[str] = set()
        self._low: set[str] = set()

    @property
    def is_on_battery(self) -> bool:
        """Whether a supply says that it runs on its battery."""
        return bool(self._on_battery)

    @property
    def is_low(self) -> bool:
        """Whether a supply says that its battery will not last."""
        return bool(self._low)

    def note(self, seen: Seen) -> None:
        """Take what a supply says."""
        for fault, names in ((Fault.ON_BATTERY, self._on_battery), (Fault.BATTERY_LOW, self._low)):
            if fault in seen.status.faults:
                names.add(seen.component)
            else:
                names.discard(seen.component)


class PowerGuard:
    """A `Sink` that listens for supplies, and switches the kiosk off in time."""

    def __init__(
        self,
        state: PowerState,
        rest: Sink,
        reporter: Reporter,
        activity: Callable[[], Activity],
        command: Sequence[str],
    ) -> None:
        """Keep `state`; `command` switches the machine off, none leaves that to the supply itself."""
        self._state = state
        self._rest = rest
        self._reporter = reporter
        self._activity = activity
        self._command = tuple(command)
        self._news = asyncio.Event()
        self._is_done = False

    async def changed(self, seen: Seen) -> None:
        """See `Sink`."""
        if seen.capability is Capability.UPS:
            self._state.note(seen)
            self._news.set()
        await self._rest.changed(seen)

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """See `Sink`."""
        await self._rest.happened(component, name, fields)

    def alive(self, seen: Seen) -> None:
        """See `Sink`."""
        self._rest.alive(seen)

    async def run(self) -> None:
        """Wait for a battery that will not last, let the patient finish, switch off."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not self._state.is_low:
                self._is_done = False
            elif not self._is_done and await self._may_end():
                self._is_done = True
                await self._switch_off()

    async def _may_end(self) -> bool:
        """Whether it is still to be switched off once the patient is gone or had their time."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + PATIENCE_S
        while self._state.is_low:
            activity = self._activity()
            if activity is Activity.IDLE or (activity is not Activity.PAYING and loop.time() >= until_s):
                return True
            await asyncio.sleep(_LOOK_S)
        log.info("power.back")
        return False

    async def _switch_off(self) -> None:
        log.warning("power.switching_off", has_command=bool(self._command))
        await self._reporter.audit("agent", "switch_off", "ok", target="host", fields={"why": Fault.BATTERY_LOW.value})
        if not self._command:
            return
        child = await asyncio.create_subprocess_exec(*self._command)
        try:
            async with asyncio.timeout(_COMMAND_S):
                await child.wait()
        except TimeoutError:
            log.exception("power.command_hangs")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            log.error("power.not_switched_off", exit_code=child.returncode)
