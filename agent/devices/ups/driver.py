"""A UPS behind NUT's upsd, read only: nothing is ever commanded.

While upsd has no fresh data the power is `unknown` and the faults of before stay up: silence is no recovery. Tested
against Debian's upsd with its dummy driver; never seen on hardware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.devices.ups.frames import Decoder, Line, NutError, encode_list_variables, encode_logout
from agent.devices.ups.options import Options
from agent.devices.ups.status import POWER_FAULTS, faults_of, power_of, words_of
from agent.devices.ups.types import PowerReport, PowerSource
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from kit.clock import Clock
from wire.faults import Fault
from wire.profile import DeviceProfile

_VARIABLES_MAX = 500
_SILENT: Mapping[str, str] = MappingProxyType(
    {"DATA-STALE": "its data is stale", "DRIVER-NOT-CONNECTED": "its NUT driver is not running"}
)


class _Stale(Exception):
    """The service is there, the UPS is not heard."""


class NutUps:
    """A `Driver` and a `Ups`."""

    def __init__(self, link: ByteLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._options = Options.of(profile)
        self._link = link
        self._owner = owner
        self._clock = clock
        self._decoder = Decoder()
        self._power = PowerReport()
        self._power_faults: Mapping[Fault, str] = {}

    @property
    def power(self) -> PowerReport:
        """See `Ups`."""
        return self._power

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        variables = await self._look()
        return DeviceFacts(
            _model_of(variables) or None, variables.get("ups.firmware") or None, variables.get("device.serial") or None
        )

    async def run(self) -> None:
        """See `Driver`."""
        while True:
            await asyncio.sleep(self._options.poll_s)
            await self._look()

    async def stop(self) -> None:
        """See `Driver`."""
        if self._link.is_open:
            try:
                await self._link.write(encode_logout(), timeout_s=self._options.answer_s)
            except LinkError:
                return

    async def _look(self) -> Mapping[str, str]:
        """Ask once and tell the owner; the variables, empty when the UPS is not heard."""
        try:
            variables = await self._ask_again()
        except _Stale as stale:
            self._power = PowerReport()
            faults = {**self._power_faults, Fault.NOT_RESPONDING: str(stale)}
            self._owner.status(DeviceStatus(faults, words_of(self._power)))
            return {}
        self._owner.alive()
        model, expected = _model_of(variables), self._options.model_answer
        if expected is not None and model and expected not in model:
            raise DeviceFault(Fault.WRONG_DEVICE, "another model answers")
        before, self._power = self._power.source, power_of(variables, self._options)
        faults = faults_of(variables, self._power)
        if self._power.source is PowerSource.UNKNOWN:  # `WAIT` right after upsd's start
            faults = {**self._power_faults, **faults}
        self._power_faults = {fault: text for fault, text in faults.items() if fault in POWER_FAULTS}
        self._owner.status(DeviceStatus(faults, words_of(self._power)))
        if before is not self._power.source:
            self._owner.event("Ups.PowerChanged", {"power": self._power.source.value})
        return variables

    async def _ask_again(self) -> Mapping[str, str]:
        """All variables; asked a second time when no answer came.

        Raises:
            _Stale: upsd has no fresh data.
            DeviceFault: no answer, nonsense, or upsd does not know the UPS.
        """
        try:
            try:
                return await self._ask()
            except LinkTimeout:
                return await self._ask()
        except LinkTimeout as late:
            raise DeviceFault(Fault.NOT_RESPONDING, "upsd does not answer") from late
        except NutError as error:
            raise DeviceFault(Fault.PROTOCOL_ERROR, str(error)) from error

    async def _ask(self) -> Mapping[str, str]:
        self._link.discard()
        self._decoder = Decoder()
        found: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._options.answer_s):
                await self._link.write(encode_list_variables(self._options.ups), timeout_s=self._options.answer_s)
                while True:
                    for line in self._decoder.feed(await self._link.read(timeout_s=self._options.answer_s)):
                        if self._take(line, found):
                            return found
        except TimeoutError as late:
            raise LinkTimeout(f"{self._link.name}: no whole answer") from late

    def _take(self, line: Line, into: dict[str, str]) -> bool:
        """Note one line of the answer; whether it was the last."""
        ups = self._options.ups
        match line.words:
            case ("BEGIN", "LIST", "VAR", name) if name == ups:
                into.clear()
            case ("VAR", name, variable, value) if name == ups:
                into[variable] = value
                if len(into) > _VARIABLES_MAX:
                    raise NutError("too many variables")
            case ("END", "LIST", "VAR", name) if name == ups:
                return True
            case ("ERR", code, *_) if code in _SILENT:
                raise _Stale(_SILENT[code])
            case ("ERR", code, *_):
                raise DeviceFault(Fault.WRONG_DEVICE, f"upsd says {code[:40]}")
            case _:
                raise NutError("a line that answers nothing")
        return False


def _model_of(variables: Mapping[str, str]) -> str:
    """Maker and model, as far as they are told."""
    names = (variables.get(name, "") for name in ("device.mfr", "device.model"))
    return " ".join(name for name in names if name)
