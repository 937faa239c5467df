"""Boards of switches and lights that speak Modbus, on a serial line or over TCP.

Inputs are read at an easy pace and, while something moves, fast enough to debounce it. A board that does not answer
makes every input unknown, and what was wrong before stays wrong: silence closes no door. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from agent.devices.paper_sensor.debounce import Debouncer
from agent.devices.paper_sensor.frames import (
    Function,
    ModbusError,
    ModbusRefused,
    RtuDecoder,
    TcpDecoder,
    check_written,
    decode_bits,
    decode_identity,
    encode_read,
    encode_read_identity,
    encode_rtu,
    encode_tcp,
    encode_write_coils,
)
from agent.devices.paper_sensor.options import Dialect, Options
from agent.devices.paper_sensor.types import InputRole, LightMode
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from kit.clock import Clock
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

T = TypeVar("T")
_TRANSACTIONS = 0x1_0000
_SETTLE_READS = 50
FAULT_OF: Mapping[InputRole, Fault | None] = MappingProxyType(
    {
        InputRole.PAPER_LOW: Fault.PAPER_LOW,
        InputRole.PAPER_OUT: Fault.PAPER_OUT,
        InputRole.DOOR_OPEN: Fault.DOOR_OPEN,
        InputRole.TAMPERED: Fault.TAMPERED,
        InputRole.OUTPUT_FULL: Fault.OUTPUT_FULL,
        InputRole.PERSON_NEAR: None,
    }
)


class ModbusPaperSensor:
    """A `Driver` and a `PaperSensor`."""

    def __init__(self, link: ByteLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._options = Options.of(profile)
        self._is_tcp = Dialect(profile.dialect) is Dialect.TCP
        self._link = link
        self._owner = owner
        self._clock = clock
        self._lock = asyncio.Lock()
        self._transactions = itertools.count(1)
        self._debouncer = Debouncer([wiring.role for wiring in self._options.inputs], hold_s=self._options.debounce_s)
        self._input_count = max((wiring.channel + 1 for wiring in self._options.inputs), default=0)
        self._lights = dict.fromkeys(self._options.lights, LightMode.OFF)
        self._light_count = max((channel + 1 for channel in self._options.lights.values()), default=0)
        self._lit: tuple[bool, ...] | None = None
        self._is_other = False
        """Another board is there: nobody knows what its outputs switch."""

    @property
    def levels(self) -> Mapping[InputRole, bool | None]:
        """See `PaperSensor`."""
        return self._debouncer.levels

    @property
    def places(self) -> Sequence[str]:
        """See `PaperSensor`."""
        return tuple(self._lights)

    async def start(self) -> DeviceFacts:
        """See `Driver`. A board that names itself is asked before its lights are touched."""
        facts = await self._identity()
        await self._shine()
        for _ in range(_SETTLE_READS):
            await self._look()
            if self._debouncer.is_settled:
                break
            await asyncio.sleep(self._options.debounce_s / 2)
        return facts

    async def run(self) -> None:
        """See `Driver`."""
        while True:
            is_moving = not self._debouncer.is_settled
            await asyncio.sleep(self._options.debounce_s / 2 if is_moving else self._options.poll_s)
            await self._look()
            await self._shine()

    async def stop(self) -> None:
        """See `Driver`: lights off."""
        self._lights = dict.fromkeys(self._lights, LightMode.OFF)
        if self._link.is_open and not self._is_other:
            try:
                await self._shine()
            except (LinkError, DeviceFault):
                return

    async def set_light(self, place: str, mode: LightMode) -> None:
        """See `PaperSensor`."""
        if place not in self._lights:
            raise KeyError(place)
        self._lights[place] = mode
        await self._shine()

    async def _identity(self) -> DeviceFacts:
        expected = self._options.model_answer
        if expected is None:
            return DeviceFacts()
        self._is_other = True
        found = await self._exchange(encode_read_identity(), decode_identity)
        model = " ".join(found[number] for number in (0, 1) if found.get(number))
        self._is_other = expected not in model
        if self._is_other:
            raise self._silent(Fault.WRONG_DEVICE, "another board answers")
        return DeviceFacts(model, found.get(2) or None)

    async def _look(self) -> None:
        """Read all inputs and tell what changed."""
        if not self._input_count:
            return
        function = Function(self._options.read_function)
        request = encode_read(function, self._options.first_input, self._input_count)
        bits = await self._exchange(request, lambda pdu: decode_bits(pdu, function, self._input_count))
        read = {wiring.role: bits[wiring.channel] is not wiring.is_inverted for wiring in self._options.inputs}
        edges = self._debouncer.feed(read, self._clock.monotonic())
        self._owner.alive()
        self._owner.status(DeviceStatus(self._faults(), self._words()))
        for edge in edges:
            self._owner.event("Auxiliaries.InputChanged", {"input": edge.role.value, "is_on": edge.is_on})

    async def _shine(self) -> None:
        """Bring the lights into the state they should have now; nothing when they have it."""
        if not self._light_count:
            return
        phase = int(self._clock.monotonic() / self._options.blink_s) % 2 == 0
        wanted = [False] * self._light_count
        for place, mode in self._lights.items():
            wanted[self._options.lights[place]] = mode is LightMode.ON or (mode is LightMode.BLINK and phase)
        if tuple(wanted) == self._lit:
            return
        self._lit = None
        request = encode_write_coils(self._options.first_light, wanted)
        await self._exchange(request, lambda pdu: check_written(pdu, request))
        self._lit = tuple(wanted)

    def _faults(self) -> dict[Fault, str]:
        levels = self._debouncer.levels
        return {fault: role.value for role, level in levels.items() if level and (fault := FAULT_OF[role]) is not None}

    def _words(self) -> dict[str, Scalar]:
        return {role.value: "unknown" if level is None else level for role, level in self._debouncer.levels.items()}

    # --- the line ----------------------------------------------------------------------------------------

    async def _exchange(self, request: bytes, decode: Callable[[bytes], T]) -> T:
        """Send a request and read its answer; both kinds of request may be repeated, so one is.

        Raises:
            DeviceFault: no answer, nonsense, or a refusal; the inputs are unknown then.
            LinkError: the link failed.
        """
        async with self._lock:
            try:
                try:
                    return decode(await self._ask(request))
                except (LinkTimeout, ModbusError):
                    return decode(await self._ask(request))
            except LinkTimeout as late:
                raise self._silent(Fault.NOT_RESPONDING, "no answer") from late
            except ModbusError as error:
                raise self._silent(Fault.PROTOCOL_ERROR, str(error)) from error
            except ModbusRefused as refused:
                raise self._silent(Fault.WRONG_DEVICE, str(refused)) from refused
            except LinkError:
                self._silent(Fault.UNPLUGGED, "link lost")
                raise

    async def _ask(self, request: bytes) -> bytes:
        self._link.discard()
        unit = self._options.unit
        decoder: RtuDecoder | TcpDecoder
        if self._is_tcp:
            transaction = next(self._transactions) % _TRANSACTIONS
            frame, decoder = encode_tcp(transaction, unit, request), TcpDecoder(transaction, unit)
        else:
            frame, decoder = encode_rtu(unit, request), RtuDecoder(unit, Function(request[0]))
        try:
            async with asyncio.timeout(self._options.answer_s):
                await self._link.write(frame, timeout_s=self._options.answer_s)
                while True:
                    pdu = decoder.feed(await self._link.read(timeout_s=self._options.answer_s))
                    if pdu is not None:
                        return pdu
        except TimeoutError as late:
            raise LinkTimeout(f"{self._link.name}: no whole answer") from late

    def _silent(self, fault: Fault, detail: str) -> DeviceFault:
        """Say that nothing is known any more; what was wrong before stays wrong."""
        faults = {**self._faults(), fault: detail}
        self._debouncer.forget()
        self._owner.status(DeviceStatus(faults, self._words()))
        return DeviceFault(fault, detail)
