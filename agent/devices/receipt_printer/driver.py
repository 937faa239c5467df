"""Receipt printers that speak ESC/POS, with or without a presenter.

A receipt that was sent is never sent again by this driver. It is `printed` only when the printer said so: by the
process id behind it (GS ( H), by the ticket in the mouth of a presenter, or, with the weakest evidence, by a clean
status before and after it. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import TypeVar

from agent.devices.receipt_printer import frames, frames_custom
from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer.glyphs import Glyphs
from agent.devices.receipt_printer.layout import LayoutError, Printout, compose, lay_out, needs_picture
from agent.devices.receipt_printer.options import Clear, Dialect, Options
from agent.devices.receipt_printer.presenter import Media, MediaEvent, Presenter
from agent.devices.receipt_printer.status import blocking_fault, faults_of, status_of
from agent.devices.receipt_printer.talk import Pace, Talk
from agent.devices.receipt_printer.types import Evidence, PrintOutcome, PrintState, ReceiptJob
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from kit.blocking import CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from kit.supervise import TaskGroup, spawn
from wire.consumables import CONSUMABLE_USED
from wire.faults import Fault
from wire.profile import DeviceProfile

_ROUND = (1, 3, 4, 2)  # n=2 last: it alone says that paper end stopped the printer
_BITS_PER_BYTE = 10
_DRAW_S = 10.0
_CLEAR_S = 3.0
_COOL_S = 5.0
_SETTLE_S = 0.05
_WATCHING_S = 0.5
_QUICK_S = 0.1  # a ticket may be taken at once
_MARK_BASE, _MARK_FIRST = 95, 0x20

T = TypeVar("T")

_log = get_logger(__name__)


class _Stopped(Exception):
    """Sending or printing ended early; None when nobody knows why."""

    def __init__(self, fault: Fault | None, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class EscposReceiptPrinter:
    """A `Driver` and a `ReceiptPrinter`; `run` has to be running while something prints."""

    def __init__(
        self, link: ByteLink, profile: DeviceProfile, owner: Owner, clock: Clock, *, glyphs: Glyphs | None = None
    ) -> None:
        self._options = Options.of(profile)
        self._is_custom = Dialect(profile.dialect) is Dialect.CUSTOM
        self._baud = profile.link.baud
        self._link = link
        self._owner = owner
        self._glyphs = glyphs or Glyphs()
        on_asb = self._report if self._options.asb else None
        self._talk = Talk(link, answer_s=self._options.answer_s, write_s=self._options.write_s, on_asb=on_asb)
        self._presenter = Presenter(clock, self._options.take_s)
        self._lock = asyncio.Lock()
        self._broken = asyncio.Event()
        self._is_asking = False
        self._must_clear = False
        self._may_hold_page = True
        self._was_left = False
        self._mark = secrets.randbelow(_MARK_BASE**page.PROCESS_ID_BYTES)

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        self._talk.reset()
        self._must_clear = True
        await self._meet()
        if self._options.clear is Clear.DLE_DC4 or self._blocking() is None:
            await self._clear()
        facts = await self._identity()
        if self._options.asb:
            await self._talk.write(page.ASB_ON)
        if not await _aside(self._glyphs.are_available):
            _log.warning("printer.font_missing", link=self._link.name)
        self._report()
        return facts

    async def run(self) -> None:
        """See `Driver`."""
        tasks: list[asyncio.Task[None]] = []
        try:
            async with TaskGroup() as group:
                for work, name in ((self._talk.listen(), "listen"), (self._watch(), "watch")):
                    tasks.append(spawn(group, work, f"receipt_printer.{name}"))
        except* (LinkError, DeviceFault) as failed:
            leaf: BaseException = failed
            while isinstance(leaf, BaseExceptionGroup):
                leaf = leaf.exceptions[0]
            error = leaf
        raise error

    async def stop(self) -> None:
        """See `Driver`."""
        if self._options.asb and self._link.is_open:
            try:
                await self._talk.write(page.ASB_OFF)
            except LinkError:
                return

    async def print_receipt(self, job: ReceiptJob) -> PrintOutcome:
        """See `ReceiptPrinter`."""
        async with self._lock:
            try:
                printout = await self._compose(job)
                await self._make_ready()
            except LayoutError as error:
                return _not_sent(Fault.DEVICE_ERROR, str(error))
            except DeviceFault as error:
                return _not_sent(error.fault, error.detail)
            except LinkTimeout:
                return _not_sent(Fault.NOT_RESPONDING, "takes no data")
            except LinkError:
                return _not_sent(Fault.UNPLUGGED, "link lost before the receipt was sent")
            outcome = await self._print(printout)
        _log.info("receipt.ended", job_id=job.job_id, state=outcome.state, evidence=outcome.evidence)
        return outcome

    async def retract(self) -> bool:
        """See `ReceiptPrinter`."""
        async with self._lock:
            await self._ask_round()
            if not await self._retract():
                raise DeviceFault(Fault.PAPER_JAM, "the ticket does not move")
            return True

    # --- before a receipt --------------------------------------------------------------------------------

    async def _compose(self, job: ReceiptJob) -> Printout:
        form = self._options.page_format()
        lines = lay_out(job.elements, form.columns)
        if not needs_picture(lines, form.charset):
            return compose(lines, form, self._glyphs)
        return await _aside(compose, lines, form, self._glyphs)

    async def _make_ready(self) -> None:
        """Raise unless the printer can begin right now."""
        await self._ask_round()
        if self._must_clear and self._blocking() is None:
            await self._clear()
            await self._ask_round()
        self._report()
        end = asyncio.get_running_loop().time() + _COOL_S
        while Fault.HEAD_HOT in self._faults() and asyncio.get_running_loop().time() < end:
            await self._talk.until(lambda: False, timeout_s=_WATCHING_S)
            await self._ask_round()
        faults = self._faults()
        for fault in (self._blocking(), Fault.HEAD_HOT):
            if fault in faults:
                raise DeviceFault(fault, faults[fault])
        if self._presenter.media is Media.PRESENT:
            raise DeviceFault(Fault.DEVICE_BUSY, "a ticket waits in the mouth")
        self._was_left = False

    async def _clear(self) -> None:
        """Get rid of what an interrupted receipt left in the printer.

        Raises:
            DeviceFault: the printer does not say that it did.
        """
        if self._talk.condition.cutter:
            await self._talk.write(page.RECOVER_AND_CLEAR)
        if self._options.clear is Clear.DLE_DC4:
            before = self._talk.cleared
            await self._talk.write(page.CLEAR_BUFFERS)
            if not await self._talk.until(lambda: self._talk.cleared > before, timeout_s=_CLEAR_S):
                raise DeviceFault(Fault.NOT_RESPONDING, "does not clear its buffers")
        else:
            await self._end_what_was_begun()
        await self._talk.write(page.INITIALIZE)
        self._must_clear = False

    async def _end_what_was_begun(self) -> None:
        """Let the rest of an interrupted receipt out, with whatever it asks, before anything is counted on.

        Its GS r or ticket would else be taken for those of the next receipt. Its answer comes right before ours.
        """
        padding = bytes(self._options.page_format().command_bytes)
        quiet_s = self._options.answer_s + (len(padding) * _BITS_PER_BYTE / self._baud if self._baud else 0.0)
        before = self._talk.fenced
        if self._options.fence:
            self._talk.expect(frames.PAPER_SENSOR)
        try:
            await self._talk.write(padding)
            if not self._options.fence:
                return
            await self._talk.write(frames.PAPER_SENSOR.request)
            if not await self._talk.until(lambda: self._talk.fenced > before, timeout_s=self._options.patience_s):
                raise DeviceFault(Fault.NOT_RESPONDING, "does not end what was begun")
            await self._talk.until(lambda: False, timeout_s=quiet_s)
        finally:
            self._talk.withdraw(frames.PAPER_SENSOR)

    async def _meet(self) -> None:
        """Ask for the first time; who answers like another family is told from who is silent."""
        try:
            await self._ask_round()
        except DeviceFault as fault:
            if not self._is_custom or fault.fault is not Fault.NOT_RESPONDING:
                raise
            await self._talk.ask(frames.DLE_EOT[1])
            raise DeviceFault(Fault.WRONG_DEVICE, "a printer of another family answers") from fault

    async def _identity(self) -> DeviceFacts:
        if not self._options.identity or self._blocking():
            return DeviceFacts()  # a printer that is offline does not answer what waits behind its data
        found = {}
        for name in ("model", "firmware", "serial"):
            body = await self._talk.ask(frames.information(name))
            found[name] = frames.decode_information(body, self._options.information_header)
        expected = self._options.model_answer
        if expected is not None and expected not in (found["model"] or ""):
            raise DeviceFault(Fault.WRONG_DEVICE, "another model answers")
        return DeviceFacts(found["model"], found["firmware"], found["serial"])

    # --- printing ----------------------------------------------------------------------------------------

    async def _print(self, printout: Printout) -> PrintOutcome:
        mark = self._next_mark()
        fences = self._talk.fenced
        head = self._cut_off() if self._may_hold_page else ()
        self._must_clear = self._may_hold_page = True
        try:
            await self._send((*head, *printout.parts, self._trailer(mark)))
            outcome = await self._confirm(printout, mark, fences)
        except _Stopped as stopped:
            outcome = await self._abandon(stopped)
        except DeviceFault as error:
            self._broken.set()
            fault = self._blocking()  # told unasked before the printer fell silent
            outcome = await self._abandon(_Stopped(fault, error.detail))
        except LinkError as error:
            outcome = _unknown("link lost" if not isinstance(error, LinkTimeout) else "the link stood still")
            self._broken.set()
        else:
            self._must_clear = self._may_hold_page = False
        finally:
            self._talk.withdraw(frames.PAPER_SENSOR)
        self._report()
        if outcome.state is not PrintState.FAILED:
            used_mm = round(printout.height_dots / self._options.dots_per_mm)
            self._owner.event(CONSUMABLE_USED, {"paper": used_mm})
        return outcome

    def _cut_off(self) -> tuple[bytes, ...]:
        """What was printed of an interrupted receipt must not hang on the next patient's."""
        cut = page.encode_cut(self._options.cut)
        return (cut, frames_custom.RETRACT) if self._options.presenter and self._options.retract else (cut,)

    def _trailer(self, mark: bytes) -> bytes:
        if self._options.presenter:
            return frames_custom.encode_produce(self._options.present_steps)
        if self._options.process_id:
            return page.encode_process_id(mark)
        if self._options.fence:
            self._talk.expect(frames.PAPER_SENSOR)
            return frames.PAPER_SENSOR.request
        return b""

    async def _send(self, parts: Iterable[bytes]) -> None:
        pace = Pace(self._baud, self._options.chunk_bytes)
        for chunk in page.chunks(parts, self._options.chunk_bytes):
            await pace.wait()
            if not self._talk.may_send:
                await self._wait_for_xon()
            if fault := self._blocking():
                raise _Stopped(fault, "stopped while the receipt was sent")
            try:
                await self._talk.write(chunk)
                pace.sent(len(chunk))
            except LinkTimeout:
                self._broken.set()  # the rest of the chunk cannot be told from the next command
                raise _Stopped(self._blocking(), "took no more data") from None

    async def _wait_for_xon(self) -> None:
        """Wait while the printer says stop; it is asked why, real-time requests pass an XOFF."""
        waited_s = 0.0
        while not await self._talk.until(lambda: self._talk.may_send, timeout_s=_WATCHING_S):
            waited_s += _WATCHING_S
            await self._ask_round()
            if fault := self._blocking():
                raise _Stopped(fault, "stopped while the receipt was sent")
            if waited_s >= self._options.patience_s:
                raise _Stopped(None, "XOFF without an end")

    async def _confirm(self, printout: Printout, mark: bytes, fences: int) -> PrintOutcome:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        expected_s = self._options.print_s(len(printout.data), printout.height_dots, self._baud)
        evidence = self._evidence()

        def has_proof() -> bool:
            match evidence:
                case Evidence.PROCESS_ID:
                    return mark in self._talk.marks
                case Evidence.PRESENTER:
                    return self._talk.condition.ticket is True
                case _:
                    return self._talk.fenced > fences if self._options.fence else loop.time() - begun >= expected_s

        limit = begun + 2 * expected_s + self._options.patience_s
        step_s = _QUICK_S if evidence is Evidence.PRESENTER else min(_WATCHING_S, expected_s)
        while True:
            await self._talk.until(lambda: has_proof() or self._blocking() is not None, timeout_s=step_s)
            if has_proof():
                break
            await self._ask_round()
            if (fault := self._blocking()) and not await self._talk.until(has_proof, timeout_s=self._options.grace_s):
                raise _Stopped(fault, "stopped before the receipt was whole")
            if loop.time() >= limit:
                await self._look_for_a_jam()
                raise _Stopped(Fault.HEAD_HOT if Fault.HEAD_HOT in self._faults() else None, "no confirmation in time")
        if evidence is not Evidence.PROCESS_ID:
            await self._ask_round()
            if fault := self._blocking():
                raise _Stopped(fault, "a fault is up after the receipt")
        return PrintOutcome(PrintState.PRINTED, evidence, was_sent=True)

    def _evidence(self) -> Evidence:
        if self._options.presenter:
            return Evidence.PRESENTER
        return Evidence.PROCESS_ID if self._options.process_id else Evidence.STATUS

    async def _abandon(self, stopped: _Stopped) -> PrintOutcome:
        """The rest must not print later, when somebody has put in paper."""
        if not self._broken.is_set() and self._options.clear is Clear.DLE_DC4:
            try:
                await self._clear()
            except (DeviceFault, LinkError):
                self._must_clear = True
        if stopped.fault is None:
            return _unknown(stopped.detail)
        return PrintOutcome(
            PrintState.FAILED, Evidence.STATUS, was_sent=True, fault=stopped.fault, detail=stopped.detail
        )

    def _next_mark(self) -> bytes:
        self._mark = (self._mark + 1) % _MARK_BASE**page.PROCESS_ID_BYTES
        return bytes(
            _MARK_FIRST + self._mark // _MARK_BASE**place % _MARK_BASE for place in range(page.PROCESS_ID_BYTES)
        )

    # --- watching ----------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        poll_s = self._options.poll_s
        while True:
            is_waiting = self._presenter.media is Media.PRESENT
            try:
                async with asyncio.timeout(min(_WATCHING_S, poll_s) if is_waiting else poll_s):
                    await self._broken.wait()
                raise DeviceFault(Fault.NOT_RESPONDING, "left a receipt unfinished")
            except TimeoutError:
                pass
            async with self._lock:
                await self._ask_round()
                if self._options.ejector_status and self._blocking() in {None, Fault.PAPER_JAM}:
                    await self._talk.ask(frames_custom.EJECTOR_STATUS)
                    self._follow_ticket()
                if self._presenter.is_overdue:
                    await self._take_back()
                self._report()

    async def _take_back(self) -> None:
        """A receipt that was left says too much about a patient to stay where anybody can take it."""
        self._was_left = True
        if self._may_retract() and await self._retract():
            self._owner.event("Printer.MediaAutoRetractedEvent", {"retracted": self._presenter.retracted})

    async def _look_for_a_jam(self) -> None:
        """Ask the ejector, which does not answer before everything in front of it was done."""
        if self._options.ejector_status:
            await self._talk.ask(frames_custom.EJECTOR_STATUS)
            self._follow_ticket()
            if self._blocking() is Fault.PAPER_JAM:
                raise _Stopped(Fault.PAPER_JAM, "stuck in the presenter")

    def _may_retract(self) -> bool:
        capacity = self._options.retract_bin_capacity
        return self._options.retract and not (capacity and self._presenter.retracted >= capacity)

    async def _retract(self) -> bool:
        if self._presenter.media is not Media.PRESENT:
            return self._presenter.media is not Media.JAMMED
        if not self._options.retract:
            raise DeviceFault(Fault.DEVICE_ERROR, "this printer cannot retract")
        await self._talk.write(frames_custom.RETRACT)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.retract_s
        while loop.time() < end:
            body = await self._talk.ask(frames_custom.FULL_STATUS)
            if frames_custom.decode_full_status(body).ticket is False:
                self._presenter.note(MediaEvent.DRAWN_BACK)
                self._report()
                return True
            await self._talk.until(lambda: False, timeout_s=_SETTLE_S)
        self._presenter.note(MediaEvent.STUCK)
        self._report()
        return False

    async def _ask_round(self) -> None:
        """Ask for everything; what it means is told only when all of it is known.

        A fault that is new has to be said twice: a status byte names no request, and one stray byte would shift the
        meaning of those behind it.
        """
        known = self._faults().keys()
        self._is_asking = True
        try:
            await self._ask_each()
            if self._faults().keys() - known:
                await self._talk.until(lambda: False, timeout_s=_SETTLE_S)
                await self._ask_each()
        finally:
            self._is_asking = False
        self._owner.alive()
        if self._options.presenter:
            self._follow_ticket()

    async def _ask_each(self) -> None:
        if self._is_custom:
            await self._talk.ask(frames_custom.FULL_STATUS)
        else:
            for number in _ROUND:
                await self._talk.ask(frames.DLE_EOT[number])

    def _follow_ticket(self) -> None:
        condition = self._talk.condition
        if condition.jammed:
            event = MediaEvent.STUCK
        elif condition.ticket is None:
            return
        else:
            event = MediaEvent.SEEN if condition.ticket else MediaEvent.GONE
        before, after = self._presenter.note(event)
        if after is Media.PRESENT and before in {Media.NOT_PRESENT, Media.RETRACTED}:
            self._owner.event("Printer.MediaPresentedEvent")
        elif before is Media.PRESENT and after is Media.NOT_PRESENT:
            self._was_left = False
            self._owner.event("Printer.MediaTakenEvent")

    def _faults(self) -> dict[Fault, str]:
        return faults_of(self._talk.condition, self._options)

    def _blocking(self) -> Fault | None:
        if self._presenter.media is Media.JAMMED:
            return Fault.PAPER_JAM
        return blocking_fault(self._talk.condition, self._options)

    def _report(self) -> None:
        if self._is_asking:
            return
        status = status_of(self._talk.condition, self._options, self._presenter.media, self._presenter.retracted)
        if self._was_left:
            status = DeviceStatus({**status.faults, Fault.MEDIA_NOT_TAKEN: "left by the patient"}, status.values)
        self._owner.status(status)


async def _aside(work: Callable[..., T], *arguments: object) -> T:
    """Do what reads font files in a thread of its own."""
    thread = DeviceThread("receipt-glyphs")
    try:
        return await thread.call(work, *arguments, timeout_s=_DRAW_S)
    except CallTimeout as late:
        raise DeviceFault(Fault.DEVICE_ERROR, "reading fonts took too long") from late
    finally:
        thread.close(timeout_s=0)


def _not_sent(fault: Fault, detail: str) -> PrintOutcome:
    return PrintOutcome(PrintState.FAILED, Evidence.NONE, was_sent=False, fault=fault, detail=detail)


def _unknown(detail: str) -> PrintOutcome:
    return PrintOutcome(PrintState.UNKNOWN, Evidence.NONE, was_sent=True, fault=Fault.PRINT_UNKNOWN, detail=detail)
