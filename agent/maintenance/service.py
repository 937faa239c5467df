"""Maintenance at the kiosk: one engineer at a time, never beside a patient, everything that was tried on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.types import Driver
from agent.errors import AgentError, DeviceFault, IdentityError
from agent.firmware.errors import FirmwareRefused, Why
from agent.links.base import LinkError
from agent.maintenance.access import CodeFile, CodeRefused, NoCode
from agent.maintenance.selftest import LIGHTS, PRINTS, Finding, Outcome, SelfTest, Trial, find, lights_out
from agent.maintenance.visit import IDLE_S, PaperChange, Result, Visit, digest
from agent.maintenance.wizard import OVER, Event, Step, advance, choices, is_met, judged
from agent.reporter import Reporter
from kit.clock import Clock, ulid
from kit.logs import get_logger
from wire.envelope import Scalar
from wire.faults import FACTS, RANK, Fault, Severity
from wire.presence import Activity
from wire.profile import Capability

T = TypeVar("T")
Say = Callable[[str], None]
FIRMWARE: Final = "firmware"
"""The name of an update among the results of a visit."""
PAPER: Final = "paper"
STATUS: Final = "status"
"""The test every device has: what it says of itself."""
LOOK_S: Final = 5.0
_CHECK_STEP_S: Final = 0.1
_USABLE: Final = (DeviceState.READY, DeviceState.BUSY)
log = get_logger(__name__)


class MaintenanceRefused(AgentError):
    """It is not done; `code` says why, for the page."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Devices(Protocol):
    """The part of the device manager that is needed here."""

    def seen(self) -> list[Seen]:
        """What is known of every device."""

    async def use(self, component: str, work: Callable[[Driver], Awaitable[T]]) -> T:
        """Let `work` use a device. Raises: DeviceFault, LinkError, KeyError."""


class Update(Protocol):
    """What a profile says of one update."""

    @property
    def version(self) -> str:
        """What the device says of itself afterwards."""


class Offer(Protocol):
    """An update that a device could get."""

    @property
    def component(self) -> str:
        """Which device."""

    @property
    def update(self) -> Update:
        """Which update."""

    @property
    def why_not(self) -> Why | None:
        """Why it cannot get it now."""


class Ended(Protocol):
    """How an update ended."""

    @property
    def before(self) -> str:
        """What the device ran."""

    @property
    def version(self) -> str | None:
        """What it says that it runs now."""

    @property
    def why(self) -> Why | None:
        """Why it does not run what was wanted."""

    @property
    def is_good(self) -> bool:
        """Whether it does."""


class Firmware(Protocol):
    """The part of the firmware operation that is needed here."""

    def offers(self) -> Sequence[Offer]:
        """Every update to something else than what a device runs."""

    async def update(self, component: str, version: str, by: str, progress: Callable[[int], None]) -> Ended:
        """Put a version on a device. Raises: FirmwareRefused."""


@dataclass(frozen=True, slots=True)
class Signature:
    """ECDSA P-256 with SHA-256, base64, and the serial number of the certificate of the key."""

    value: str
    certificate: str


class Signer(Protocol):
    """Signs for this kiosk."""

    async def sign(self, text: str) -> Signature | None:
        """The signature, None while the kiosk has no identity. Raises: IdentityError."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What maintenance needs of the rest of the agent."""

    devices: Devices
    codes: CodeFile
    activity: Callable[[], Activity]
    reporter: Reporter
    signer: Signer
    clock: Clock
    kiosk: Callable[[], str]
    refilled: Callable[[str, str], Awaitable[object]] | None = None
    """Hears of a component's consumable that is new. Raises: KeyError: nothing is counted there."""
    firmware: Firmware | None = None
    """None: no profile of this kiosk names an update."""
    told: Callable[[], None] = lambda: None
    """Hears when maintenance begins or is over."""
    check_s: float = 8.0
    """How long a printer may take to see its new paper."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What became of a visit."""

    results: int
    passed: int
    failed: int
    digest: str
    is_signed: bool


class Maintenance:
    """The service behind the maintenance page."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._visit: Visit | None = None
        self._is_opening = False

    # --- coming and going --------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether an engineer is at work: no patient session begins then."""
        return self._is_opening or self._visit is not None

    async def run(self) -> None:
        """Close the visit of an engineer who went away; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Close a visit whose time is over."""
        visit = self._visit
        if visit is not None and not visit.is_busy and self._around.clock.monotonic() >= visit.until_s:
            log.info("maintenance.left", visit=visit.number)
            _ = await self._close(visit)

    async def open(self, code: str, engineer: str) -> Visit:
        """Let an engineer in.

        Raises:
            MaintenanceRefused: sessionActive, maintenanceOpen, wrongCode.
        """
        around = self._around
        await self.look()
        if self.is_open:
            raise MaintenanceRefused("maintenanceOpen")
        if around.activity() is not Activity.IDLE:
            raise MaintenanceRefused("sessionActive")
        self._is_opening = True
        try:
            await asyncio.to_thread(around.codes.redeem, code, around.clock)
        except NoCode:
            raise MaintenanceRefused("wrongCode") from None
        except (
            CodeRefused
        ) as refused:  # so many a code: audit records are never dropped, guessing must not fill the disk
            await around.reporter.audit(engineer, "maintenance_open", "refused", fields={"why": str(refused)})
            raise MaintenanceRefused("wrongCode") from None
        finally:
            self._is_opening = False
        now_s = around.clock.monotonic()
        visit = self._visit = Visit(ulid(around.clock), engineer, around.clock.utc(), now_s, now_s + IDLE_S)
        around.told()
        log.info("maintenance.opened", visit=visit.number)
        await around.reporter.audit(engineer, "maintenance_open", "ok", fields={"visit": visit.number})
        return visit

    async def close(self, pass_word: str) -> Closing:
        """The engineer is done: sign and send what was found. Raises: MaintenanceRefused."""
        visit = self._mine(pass_word)
        if visit.is_busy:
            raise MaintenanceRefused("busy")
        return await self._close(visit)

    def current(self, pass_word: str) -> Visit:
        """The visit of this page. Raises: MaintenanceRefused."""
        return self._mine(pass_word)

    async def _close(self, visit: Visit) -> Closing:
        around = self._around
        visit.is_busy = True
        for result in list(visit.results):
            unanswered = visit.settle(result.no, is_good=False, why="not_answered")
            if unanswered is not None:
                await self._record(visit, unanswered)
        closed_at = around.clock.utc()
        said = digest(visit.statement(around.kiosk(), closed_at))
        signature = await self._signature(said)
        passed = sum(one.finding.outcome is Outcome.PASSED for one in visit.results)
        closing = Closing(len(visit.results), passed, len(visit.results) - passed, said, signature is not None)
        self._visit = None
        around.told()
        log.info("maintenance.closed", visit=visit.number, passed=closing.passed, failed=closing.failed)
        fields: dict[str, Scalar] = {
            "visit": visit.number,
            "kiosk": around.kiosk(),
            "opened_at": visit.opened_at.isoformat(),
            "closed_at": closed_at.isoformat(),
            "results": closing.results,
            "passed": closing.passed,
            "failed": closing.failed,
            "digest": said,
            "signature": None if signature is None else signature.value,
            "certificate": None if signature is None else signature.certificate,
        }
        await around.reporter.audit(visit.engineer, "maintenance_close", "ok", fields=fields)
        return closing

    async def _signature(self, said: str) -> Signature | None:
        try:
            return await self._around.signer.sign(said)
        except IdentityError as error:
            log.warning("maintenance.not_signed", reason=str(error))
            return None

    def _mine(self, pass_word: str) -> Visit:
        visit, now_s = self._visit, self._around.clock.monotonic()
        if visit is None or visit.pass_word != pass_word or (now_s >= visit.until_s and not visit.is_busy):
            raise MaintenanceRefused("notOpen")
        visit.touch(now_s)
        return visit

    # --- tests -------------------------------------------------------------------------------------------------

    async def test(self, pass_word: str, component: str, name: str, say: Say) -> Result:
        """Try one thing on one device.

        Raises:
            MaintenanceRefused: notOpen, busy, noSuchComponent, noSuchTest.
        """
        visit = self._mine(pass_word)
        seen = self._seen(component)
        test = None if name == STATUS else find(seen.capability, name)
        if test is None and name != STATUS:
            raise MaintenanceRefused("noSuchTest")
        with _busy(visit, self._around.clock):
            return await self._try(visit, seen, test, say)

    async def confirm(self, pass_word: str, no: int, *, is_good: bool) -> Result:
        """What the engineer saw of a test that asked. Raises: MaintenanceRefused: notOpen, noSuchResult."""
        visit = self._mine(pass_word)
        result = visit.settle(no, is_good=is_good)
        if result is None:
            raise MaintenanceRefused("noSuchResult")
        if result.test == LIGHTS:
            with suppress(DeviceFault, LinkError):
                await self._around.devices.use(result.component, lights_out)
        await self._record(visit, result)
        return result

    async def _try(self, visit: Visit, seen: Seen, test: SelfTest | None, say: Say) -> Result:
        around = self._around
        at, began_s = around.clock.utc(), around.clock.monotonic()
        if test is None:
            finding = status_of(seen)
        else:
            finding = await self._run(seen, test, Trial(say, around.kiosk(), at.astimezone(), ulid(around.clock)))
        took_s = round(around.clock.monotonic() - began_s, 2)
        name = STATUS if test is None else test.name
        result = visit.add(Result(visit.next_no, seen.component, name, at, took_s, finding))
        if finding.outcome is not Outcome.ASKED:
            await self._record(visit, result)
        return result

    async def _run(self, seen: Seen, test: SelfTest, trial: Trial) -> Finding:
        try:
            async with asyncio.timeout(test.limit_s):
                return await self._around.devices.use(seen.component, lambda driver: test.work(driver, trial))
        except DeviceFault as error:
            return Finding(Outcome.FAILED, error.fault, "fault")
        except LinkError:
            return Finding(Outcome.FAILED, Fault.UNPLUGGED, "fault")
        except TimeoutError:
            return Finding(Outcome.FAILED, Fault.NOT_RESPONDING, "timed_out")

    async def _record(self, visit: Visit, result: Result) -> None:
        await self._around.reporter.audit(
            visit.engineer,
            "maintenance_test",
            "ok" if result.finding.outcome is Outcome.PASSED else "failed",
            target=result.component,
            fields=result.fields(visit.number),
        )

    def _seen(self, component: str) -> Seen:
        for seen in self._around.devices.seen():
            if seen.component == component:
                return seen
        raise MaintenanceRefused("noSuchComponent")

    # --- firmware ----------------------------------------------------------------------------------------------

    def offers(self, pass_word: str) -> list[tuple[Seen, Offer]]:
        """The updates that devices could get. Raises: MaintenanceRefused: notOpen."""
        _ = self._mine(pass_word)
        firmware = self._around.firmware
        return [] if firmware is None else [(self._seen(offer.component), offer) for offer in firmware.offers()]

    async def update_firmware(
        self, pass_word: str, component: str, version: str, progress: Callable[[int], None]
    ) -> Result:
        """Put a version on a device; a page that stops waiting stops nothing.

        Raises:
            MaintenanceRefused: notOpen, busy, or why nothing was begun.
        """
        visit, around = self._mine(pass_word), self._around
        if around.firmware is None:
            raise MaintenanceRefused(Why.NO_SUCH_UPDATE.value)
        with _busy(visit, around.clock):
            at, began_s = around.clock.utc(), around.clock.monotonic()
            try:
                ended = await around.firmware.update(component, version, visit.engineer, progress)
            except FirmwareRefused as refused:
                raise MaintenanceRefused(refused.why.value) from None
            values: dict[str, Scalar] = {"before": ended.before, "wanted": version, "runs": ended.version or ""}
            if ended.is_good:
                finding = Finding(Outcome.PASSED, values=values)
            else:
                fault = Fault.FIRMWARE_INTERRUPTED if ended.version is None else None
                finding = Finding(Outcome.FAILED, fault, ended.why.value if ended.why else "", values)
            took_s = round(around.clock.monotonic() - began_s, 2)
            result = visit.add(Result(visit.next_no, component, FIRMWARE, at, took_s, finding))
            await self._record(visit, result)
            return result

    # --- changing paper ----------------------------------------------------------------------------------------

    def begin_paper(self, pass_word: str, component: str) -> PaperChange:
        """Start over with the first step. Raises: MaintenanceRefused: notOpen, noSuchComponent, noPaper, busy."""
        visit, seen = self._mine(pass_word), self._seen(component)
        if seen.capability not in PRINTS:
            raise MaintenanceRefused("noPaper")
        if visit.is_busy:
            raise MaintenanceRefused("busy")
        visit.change = self._watched(PaperChange(component))
        return visit.change

    def paper(self, pass_word: str) -> PaperChange:
        """How far it is, with what the sensors say now. Raises: MaintenanceRefused: notOpen, noPaperChange."""
        visit = self._mine(pass_word)
        if visit.change is None:
            raise MaintenanceRefused("noPaperChange")
        return self._watched(visit.change)

    async def move_paper(self, pass_word: str, event: Event, say: Say) -> PaperChange:
        """What the engineer did; the kiosk then does its own steps: it checks, and prints.

        Raises:
            MaintenanceRefused: notOpen, noPaperChange, notNow, busy.
        """
        change, visit = self.paper(pass_word), self._mine(pass_word)
        if event not in choices(change.step):
            raise MaintenanceRefused("notNow")
        with _busy(visit, self._around.clock):
            if change.result_no is not None and event in {Event.GOOD, Event.BAD}:
                seen = visit.settle(change.result_no, is_good=event is Event.GOOD)
                if seen is not None:
                    await self._record(visit, seen)
            why = "engineer_saw" if event is Event.BAD else ""
            change = replace(change, step=advance(change.step, event), why=why)
            while change.step in {Step.CHECK, Step.PRINT}:
                visit.change = change
                change = await (self._checked(change, say) if change.step is Step.CHECK else self._printed(visit, say))
            visit.change = self._watched(change)
        if change.step is Step.DONE:
            await self._around.reporter.event(change.component, "paper.changed", {"visit": visit.number})
            if self._around.refilled is not None:
                with suppress(KeyError):
                    await self._around.refilled(change.component, PAPER)
        return visit.change

    async def _checked(self, change: PaperChange, say: Say) -> PaperChange:
        say("checking_paper")
        clock = self._around.clock
        end_s = clock.monotonic() + self._around.check_s
        while True:
            seen = self._seen(change.component)
            verdict = judged(seen.status.values, seen.faults)
            if (verdict is not Event.NOT_SENSED and seen.state in _USABLE) or clock.monotonic() >= end_s:
                break
            await asyncio.sleep(_CHECK_STEP_S)
        if seen.state not in _USABLE:
            verdict = Event.NOT_SENSED
        why = next((fault.value for fault in seen.faults), "not_sensed") if verdict is Event.NOT_SENSED else ""
        return replace(change, step=advance(change.step, verdict), why=why)

    async def _printed(self, visit: Visit, say: Say) -> PaperChange:
        change = visit.change
        assert change is not None  # noqa: S101 - only called while paper is changed
        seen = self._seen(change.component)
        result = await self._try(visit, seen, find(seen.capability, PRINTS[seen.capability]), say)
        is_out = result.finding.outcome is Outcome.ASKED
        why = "" if is_out else (result.finding.fault.value if result.finding.fault else result.finding.why)
        step = advance(change.step, Event.PRINTED if is_out else Event.NOT_PRINTED)
        return replace(change, step=step, why=why, result_no=result.no)

    def _watched(self, change: PaperChange) -> PaperChange:
        """With what the sensors say about the step."""
        if change.step in OVER:
            return replace(change, is_met=None)
        return replace(change, is_met=is_met(change.step, self._seen(change.component).status.values))


def status_of(seen: Seen) -> Finding:
    """What a device says of itself, as a test: faults that stop nobody do not fail it."""
    grave = [fault for fault in seen.faults if RANK[FACTS[fault].severity] >= RANK[Severity.MAJOR]]
    values = {"state": seen.state.value, "faults": ",".join(fault.value for fault in seen.faults)}
    if grave or seen.state not in _USABLE:
        return Finding(Outcome.FAILED, grave[0] if grave else seen.fault, "fault", values)
    return Finding(Outcome.PASSED, values=values)


def has_paper(capability: Capability) -> bool:
    """Whether paper is changed in devices of this kind."""
    return capability in PRINTS


@contextmanager
def _busy(visit: Visit, clock: Clock) -> Iterator[None]:
    """One thing at a time; afterwards the engineer has the whole idle time again."""
    if visit.is_busy:
        raise MaintenanceRefused("busy")
    visit.is_busy = True
    try:
        yield
    finally:
        visit.is_busy = False
        visit.touch(clock.monotonic())
