"""Scanners on a serial line: lit for as long as a screen waits, then dark.

What is scanned while nobody waits is dropped: it may be somebody else's money. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from agent.devices.qr_scanner import classify, frames_framed, frames_honeywell, frames_newland, frames_ssi
from agent.devices.qr_scanner.frames import Answer, Code, Decoder, Garbage, Item, Respond, text_of
from agent.devices.qr_scanner.options import Dialect, Options
from agent.devices.qr_scanner.types import CodeKind, OneUseCode, Scan
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from kit.clock import Clock
from kit.logs import get_logger
from wire.faults import Fault
from wire.profile import DeviceProfile

_log = get_logger(__name__)

_IDLE_S = 1.0
_GARBAGE_LIMIT = 8
_TRIES = 2


@dataclass(frozen=True, slots=True)
class _Speech:
    """Bytes of a dialect. `is_answered`: whether commands are; `hello` is sent at start and must be answered."""

    decoder: Decoder | frames_ssi.SsiDecoder
    trigger: bytes = b""
    release: bytes = b""
    hello: bytes = b""
    is_answered: bool = False


def _speech(dialect: Dialect, options: Options) -> _Speech:
    match dialect:
        case Dialect.PLAIN:
            return _Speech(Decoder(options.suffix, has_aim=options.aim))
        case Dialect.HONEYWELL:
            decoder = Decoder(options.suffix, has_aim=options.aim)
            return _Speech(decoder, frames_honeywell.TRIGGER, frames_honeywell.RELEASE)
        case Dialect.FRAMED:
            return _Speech(frames_framed.FramedDecoder(), frames_honeywell.TRIGGER, frames_honeywell.RELEASE)
        case Dialect.NEWLAND:
            setup = (frames_newland.NO_SETUP_CODES, *filter(None, options.setup.split(";")))
            return _Speech(
                frames_newland.NewlandDecoder(options.suffix, has_aim=options.aim),
                frames_newland.encode(frames_newland.TRIGGER),
                frames_newland.encode(frames_newland.RELEASE),
                frames_newland.encode(setup),
                is_answered=True,
            )
        case Dialect.SSI:
            return _Speech(
                frames_ssi.SsiDecoder(),
                frames_ssi.TRIGGER,
                frames_ssi.RELEASE,
                frames_ssi.REVISION,
                is_answered=True,
            )


class SerialQrScanner:
    """A `Driver` and a `QrScanner`; `run` has to be running while somebody reads."""

    def __init__(self, link: ByteLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._options = Options.of(profile)
        self._speech = _speech(Dialect(profile.dialect), self._options)
        patterns = {CodeKind.INSURANCE_VOUCHER: self._options.voucher_pattern}
        if self._options.hospital_pattern:
            patterns[CodeKind.HOSPITAL] = self._options.hospital_pattern
        self._rules = classify.rules(patterns)
        self._link = link
        self._owner = owner
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._lock = asyncio.Lock()
        self._waiting: asyncio.Future[Code] | None = None
        self._answered: asyncio.Future[Answer] | None = None
        self._failed: asyncio.Future[None] | None = None
        self._last = ("", float("-inf"))
        self._garbage = 0
        self._dropped = 0

    async def start(self) -> DeviceFacts:
        """See `Driver`. A scanner without an answer to commands is believed to be there while its port is."""
        self._speech.decoder.reset()
        self._link.discard()
        facts = DeviceFacts()
        if self._speech.hello:
            answer = await self._greet()
            facts = DeviceFacts(firmware=answer.facts or None)
        if self._speech.release and self._options.triggered:
            await self._write(self._speech.release)
        self._report(is_on=False)
        return facts

    async def run(self) -> None:
        """See `Driver`."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            while True:
                if self._failed.done():
                    self._failed.result()
                for item in await self._items():
                    await self._handle(item)
        except (LinkError, DeviceFault) as error:
            for waiting in (self._waiting, self._answered):
                if waiting is not None and not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()
            raise
        finally:
            self._failed = None

    async def stop(self) -> None:
        """See `Driver`."""
        if self._speech.release and self._options.triggered and self._link.is_open:
            try:
                await self._write(self._speech.release)
            except LinkError:
                return

    async def read_code(self, expect: Collection[CodeKind], *, wait_s: float) -> Scan | None:
        """See `QrScanner`."""
        async with self._lock:
            self._link.discard()
            self._speech.decoder.reset()
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                if self._options.triggered:
                    await self._command(self._speech.trigger)
                self._report(is_on=True)
                async with asyncio.timeout(wait_s):
                    return self._scan(await self._waiting, expect)
            except LinkTimeout as error:
                raise DeviceFault(Fault.NOT_RESPONDING, "takes no commands") from error
            except TimeoutError:
                return None
            finally:
                self._waiting = None
                await self._go_dark()

    async def _go_dark(self) -> None:
        if self._options.triggered and self._speech.release and self._link.is_open:
            try:
                await self._command(self._speech.release)
            except (LinkError, DeviceFault):
                return  # the next read says so
        self._report(is_on=False)

    def _scan(self, code: Code, expect: Collection[CodeKind]) -> Scan:
        text = text_of(code.data) or ""
        self._last = (text, self._clock.monotonic())
        kinds = classify.classify(text, expect, self._rules)
        one_use = OneUseCode(text, self._clock, self._salt)
        _log.info("code.scanned", code=one_use.fingerprint, kinds=[str(kind) for kind in kinds])
        return Scan(one_use, kinds, code.symbology)

    # --- the line ----------------------------------------------------------------------------------------

    async def _write(self, data: bytes) -> None:
        await self._link.write(data, timeout_s=self._options.answer_s)

    async def _items(self) -> list[Item]:
        decoder = self._speech.decoder
        is_pausing = decoder.is_waiting
        try:
            data = await self._link.read(timeout_s=self._options.pause_s if is_pausing else _IDLE_S)
        except LinkTimeout:
            return decoder.pause() if is_pausing else []
        self._owner.alive()
        return decoder.feed(data)

    async def _handle(self, item: Item) -> None:
        match item:
            case Respond(data):
                await self._write(data)
            case Garbage():
                self._garbage += 1
                if self._garbage >= _GARBAGE_LIMIT:
                    raise DeviceFault(Fault.PROTOCOL_ERROR, "sends what is no frame")
            case Answer():
                self._garbage = 0
                if self._answered is not None and not self._answered.done():
                    self._answered.set_result(item)
            case Code():
                self._garbage = 0
                self._take(item)

    def _take(self, code: Code) -> None:
        text = text_of(code.data)
        last, at_s = self._last
        is_again = text == last and self._clock.monotonic() - at_s < self._options.same_code_s
        if text is None or is_again or self._waiting is None or self._waiting.done():
            self._dropped += 1
            _log.info("code.dropped", is_again=is_again, is_text=text is not None, dropped=self._dropped)
            return
        self._waiting.set_result(code)

    async def _command(self, data: bytes) -> None:
        """Send; where commands are answered, once more when this one is not.

        Raises:
            DeviceFault: no answer, or a refusal.
        """
        if not data:
            return
        for _ in range(_TRIES):
            self._answered = asyncio.get_running_loop().create_future()
            await self._write(data)
            if not self._speech.is_answered:
                return
            try:
                async with asyncio.timeout(self._options.answer_s):
                    answer = await self._answered
            except TimeoutError:
                continue
            if not answer.is_ok:
                raise DeviceFault(Fault.DEVICE_ERROR, "refuses a command")
            return
        fault = DeviceFault(Fault.NOT_RESPONDING, "does not answer")
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(fault)
            self._failed.exception()
        raise fault

    async def _greet(self) -> Answer:
        """Say hello before `run` listens.

        Raises:
            DeviceFault: no answer, or noise.
        """
        noise = 0
        for _ in range(_TRIES):
            await self._write(self._speech.hello)
            try:
                async with asyncio.timeout(self._options.answer_s):
                    answer: Answer | None = None
                    while answer is None and noise < _GARBAGE_LIMIT:
                        for item in await self._items():
                            if isinstance(item, Respond):
                                await self._write(item.data)
                            answer = item if isinstance(item, Answer) else answer
                            noise += isinstance(item, Garbage)
                    if answer is not None:
                        return self._accepted(answer)
            except TimeoutError:
                continue
        raise DeviceFault(Fault.PROTOCOL_ERROR if noise else Fault.NOT_RESPONDING, "no answer to the first command")

    def _accepted(self, answer: Answer) -> Answer:
        if not answer.is_ok:
            raise DeviceFault(Fault.WRONG_DEVICE, "refuses its settings")
        expected = self._options.model_answer
        if expected is not None and expected not in answer.facts:
            raise DeviceFault(Fault.WRONG_DEVICE, "another model answers")
        return answer

    def _report(self, *, is_on: bool) -> None:
        self._owner.status(DeviceStatus({}, {"scanner": "on" if is_on else "off"}))
