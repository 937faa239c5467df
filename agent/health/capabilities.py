"""Follows the devices and says what that means: for patients' functions, and for what is used up.

A `Sink` between the manager and the alarms. Pages are told at once. The fleet gets a record on every edge (it is
written before the alarm that goes with it, whose commit takes it along) and the same again every hour, so that a lost
record heals. While devices are still starting the fleet is told nothing, for at most `START_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from agent.devices.manager import Seen, Sink
from agent.devices.profiles import Place, load
from agent.health.components import ComponentBook
from agent.health.consumables import ConsumableBook, Kept, Key
from agent.health.functions import Graph, Part, evaluate, graph_of
from agent.reporter import Reporter
from kit.blocking import CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from wire.consumables import CONSUMABLE_LEVEL, CONSUMABLE_USED, ConsumableStatus
from wire.device_api import ComponentHealth
from wire.envelope import Scalar
from wire.functions import FUNCTIONS_CHANGED, KIOSK, FunctionState, FunctionStatus, encode_fields
from wire.profile import ConsumableProfile, KioskProfile

START_S: Final = 30.0
LOOK_S: Final = 5.0
AGAIN_S: Final = 3_600.0
SAVE_S: Final = 10.0
STEP_PERCENT: Final = 5.0
"""A level that moved by this much is worth a record."""
FILE_BYTES_MAX: Final = 1_048_576
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a kiosk's profile says."""

    graph: Graph
    consumables: Mapping[Key, ConsumableProfile]


def plan_of(kiosk_profile: Path, places: Sequence[Place]) -> Plan:
    """The plan of a kiosk model and the devices in it.

    Raises:
        ProfileError: the profile cannot be used.
    """
    kinds = {place.place.component: place.profile.capability for place in places}
    consumables = {
        (place.place.component, name): profile
        for place in places
        for name, profile in place.profile.consumables.items()
    }
    return Plan(graph_of(kinds, load(kiosk_profile, KioskProfile).functions), consumables)


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where it goes: `pages` takes functions and consumables, `write` replaces a file whole and durably."""

    reporter: Reporter
    components: ComponentBook
    pages: Callable[[Sequence[FunctionStatus], Sequence[ConsumableStatus]], None]
    write: Callable[[Path, bytes], None]
    clock: Clock


class Capabilities:
    """A `Sink` and a service."""

    name = "capabilities"

    def __init__(self, plan: Plan, rest: Sink, outlets: Outlets, file: Path, *, look_s: float = LOOK_S) -> None:
        """Go on with the counters in `file`; one that cannot be read is put aside and everything is unknown."""
        self._plan = plan
        self._rest = rest
        self._to = outlets
        self._file = file
        self._look_s = look_s
        self._book = ConsumableBook(plan.consumables, read_counters(file))
        self._seen: dict[str, Seen] = {}
        self._functions: list[FunctionStatus] = []
        self._consumables: list[ConsumableStatus] = []
        self._told: dict[Key, ConsumableStatus] = {}
        self._is_told = False
        self._born_s = self._again_s = outlets.clock.monotonic()
        self._must_save = asyncio.Event()
        self._look_at_all()

    def functions(self) -> list[FunctionStatus]:
        """What patients can do now."""
        return self._functions

    def consumables(self) -> list[ConsumableStatus]:
        """What is left now."""
        return self._consumables

    async def refilled(self, component: str, consumable: str, amount: float | None = None) -> ConsumableStatus:
        """A person says that it is new.

        Raises:
            KeyError: this kiosk does not have it.
        """
        self._book.refilled(component, consumable, self._now(), amount)
        fields: dict[str, Scalar] = {"consumable": consumable, "amount": amount}
        await self._to.reporter.audit("maintenance", "consumable_refilled", "ok", target=component, fields=fields)
        await self.look()
        return next(one for one in self._consumables if (one.component, one.consumable) == (component, consumable))

    # --- Sink --------------------------------------------------------------------------------------------

    async def changed(self, seen: Seen) -> None:
        """See `Sink`."""
        self._seen[seen.component] = seen
        self._book.seen(seen, self._now())
        await self.look()
        await self._rest.changed(seen)

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """See `Sink`; use is counted here and goes no further."""
        if name == CONSUMABLE_USED:
            self._book.used(component, fields, self._now())
            await self.look()
        else:
            await self._rest.happened(component, name, fields)

    def alive(self, seen: Seen) -> None:
        """See `Sink`."""
        self._rest.alive(seen)

    # --- service -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Notice silence and new days, and keep the counters on disk, until cancelled."""
        thread = DeviceThread("consumables")
        self._to.pages(self._functions, self._consumables)
        try:
            while True:
                self._book.attend(self._now())
                await self.look()
                await asyncio.sleep(self._look_s)
                if self._must_save.is_set():
                    self._must_save.clear()
                    thread = await self._save(thread)
        finally:
            thread.close(timeout_s=0.0)

    async def look(self) -> None:
        """Judge everything anew, and tell what changed."""
        functions, consumables = self._functions, self._consumables
        self._look_at_all()
        if self._consumables != consumables:
            self._must_save.set()
        if (functions, consumables) != (self._functions, self._consumables):
            self._to.pages(self._functions, self._consumables)
        await self._tell_fleet(is_edge=functions != self._functions)

    def _look_at_all(self) -> None:
        silent = {part.name for part in self._to.components.views() if part.health is ComponentHealth.SILENT}
        parts = {name: Part.of(seen, is_silent=name in silent) for name, seen in self._seen.items()}
        now, since = self._to.clock.utc(), {status.function: status for status in self._functions}
        self._functions = [
            _since(status, since.get(status.function), now) for status in evaluate(self._plan.graph, parts)
        ]
        self._consumables = self._book.statuses(self._now())

    async def _tell_fleet(self, *, is_edge: bool) -> None:
        now_s = self._to.clock.monotonic()
        if not self._is_told and now_s - self._born_s < START_S and _is_starting(self._functions):
            return
        is_due = not self._is_told or now_s >= self._again_s
        if is_due:
            self._again_s = now_s + AGAIN_S
        if (is_due or is_edge) and self._functions:
            await self._to.reporter.event(KIOSK, FUNCTIONS_CHANGED, encode_fields(self._functions))
        self._is_told = True
        for status in self._consumables:
            await self._tell_consumable(status, is_due=is_due)

    async def _tell_consumable(self, status: ConsumableStatus, *, is_due: bool) -> None:
        key = (status.component, status.consumable)
        before = self._told.get(key)
        if not is_due and before is not None and not _is_worth_telling(before, status):
            return
        self._told[key] = status
        fields = status.model_dump(mode="json", exclude={"component"}, exclude_none=True)
        await self._to.reporter.event(status.component, CONSUMABLE_LEVEL, fields)
        values = {"left_percent": status.percent, "left_days": status.days_left}
        known = {f"{status.consumable}_{name}": value for name, value in values.items() if value is not None}
        await self._to.reporter.telemetry(known, component=status.component)

    async def _save(self, thread: DeviceThread) -> DeviceThread:
        content = self._book.kept().model_dump_json().encode()
        if not thread.is_usable:
            thread = DeviceThread("consumables")
        try:
            await thread.call(lambda: self._to.write(self._file, content), timeout_s=SAVE_S)
        except (OSError, CallTimeout) as error:
            log.warning("counters.not_saved", error=type(error).__name__)
            self._must_save.set()
        return thread

    def _now(self) -> datetime:
        """Now, in the zone of this machine: a day ends at its midnight."""
        return self._to.clock.utc().astimezone()


def read_counters(file: Path) -> Kept | None:
    """The counters of an earlier run; a file that makes no sense is renamed to `NAME.bad`."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("counters.not_read", error=type(error).__name__)
        return None
    try:
        return Kept.model_validate_json(content[:FILE_BYTES_MAX])
    except ValidationError:
        log.warning("counters.damaged", file=file.name)
        file.replace(file.with_name(f"{file.name}.bad"))
        return None


def _since(status: FunctionStatus, before: FunctionStatus | None, now: datetime) -> FunctionStatus:
    is_same = before is not None and before.state is status.state
    return status.model_copy(update={"since": before.since if is_same and before is not None else now})


def _is_starting(functions: Sequence[FunctionStatus]) -> bool:
    return any(status.state is FunctionState.UNKNOWN for status in functions)


def _is_worth_telling(before: ConsumableStatus, now: ConsumableStatus) -> bool:
    if (before.level, before.source, before.refilled_at) != (now.level, now.source, now.refilled_at):
        return True
    if before.percent is None or now.percent is None:
        return before.percent is not now.percent
    return abs(before.percent - now.percent) >= STEP_PERCENT
