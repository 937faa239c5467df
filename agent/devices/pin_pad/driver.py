"""Encrypting PIN pads of the GZ-B family. Digits never come out of the pad; if one does, the entry ends as a fault.

The framing is the maker's; commands and the layout of their data are not published and stand in the profile or, where
they are a layout, are those of our simulator. Never seen on hardware.
"""

from __future__ import annotations

import asyncio

from agent.devices.pin_pad.frames import Decoder, Frame, PadNoise, PadStatus, encode_command
from agent.devices.pin_pad.options import Options
from agent.devices.pin_pad.types import EncryptedBlock, PinEntry, PinRequest
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from kit.clock import Clock
from wire.faults import Fault
from wire.profile import DeviceProfile

_ACCOUNT_DIGITS = 12
_DIGITS = frozenset(range(0x30, 0x3A))
_LATE_S = 2.0


class GzbPinPad:
    """A `Driver` and a `PinPad`."""

    def __init__(self, link: ByteLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._options = Options.of(profile)
        self._link = link
        self._owner = owner
        self._clock = clock
        self._decoder = Decoder()
        self._lock = asyncio.Lock()
        self._is_entering = False

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        await self._look()
        return DeviceFacts()

    async def run(self) -> None:
        """See `Driver`."""
        while True:
            await asyncio.sleep(self._options.poll_s)
            if not self._is_entering:
                await self._look()

    async def stop(self) -> None:
        """See `Driver`."""
        self._decoder.wipe()
        if self._link.is_open:
            try:
                await self.cancel()
            except LinkError:
                return

    async def enter(self, request: PinRequest) -> PinEntry | None:
        """See `PinPad`."""
        if len(request.account) != _ACCOUNT_DIGITS or not (request.account.isascii() and request.account.isdigit()):
            raise DeviceFault(Fault.DEVICE_ERROR, "the account has to be twelve digits")
        wanted = bytes((request.min_digits, request.max_digits, round(request.timeout_s)))
        async with self._lock:
            self._is_entering = True
            try:
                await self._send(self._options.command_enter, wanted + bytes.fromhex(request.account))
                return await self._collect(request)
            finally:
                self._is_entering = False
                self._decoder.wipe()

    async def cancel(self) -> None:
        """See `PinPad`."""
        await self._link.write(encode_command(self._options.command_cancel), timeout_s=self._options.answer_s)

    async def _collect(self, request: PinRequest) -> PinEntry | None:
        """Count masked keys until the block comes."""
        digits, options = 0, self._options
        end_s = self._clock.monotonic() + request.timeout_s + _LATE_S
        while (left_s := end_s - self._clock.monotonic()) > 0:
            try:
                frames = self._decoder.feed(await self._link.read(timeout_s=left_s))
            except LinkTimeout:
                break
            except PadNoise as noise:
                raise DeviceFault(Fault.PROTOCOL_ERROR, str(noise)) from noise
            for frame in frames:
                if frame.status == PadStatus.TIMEOUT or frame.data == bytes((options.cancel_mark,)):
                    return None
                self._refuse(frame)
                if len(frame.data) == options.block_bytes and digits:
                    return PinEntry(EncryptedBlock(frame.data, options.key_name), digits)
                digits = self._key(frame.data, digits)
        await self.cancel()
        raise DeviceFault(Fault.NOT_RESPONDING, "the entry did not end")

    def _key(self, data: bytes, digits: int) -> int:
        """The number of digits after a key event, which the owner hears without the key.

        Raises:
            DeviceFault: the pad shows a digit, or something that is neither a key nor a block.
        """
        if data == bytes((self._options.key_mark,)):
            digits += 1
        elif data == bytes((self._options.erase_mark,)):
            digits = 0
        elif data:
            is_clear = all(byte in _DIGITS for byte in data)
            raise DeviceFault(
                Fault.TAMPERED if is_clear else Fault.PROTOCOL_ERROR,
                "a key came in clear" if is_clear else "neither a key nor a block",
            )
        else:
            return digits
        self._owner.event("Keyboard.KeyEvent", {"digits": digits})
        return digits

    async def _look(self) -> None:
        async with self._lock:
            try:
                frame = await self._ask_status()
            except LinkTimeout:
                frame = await self._last_chance()
        self._owner.alive()
        faults = {} if frame.status == PadStatus.OK else {Fault.DEVICE_ERROR: _words(frame.status)}
        self._owner.status(DeviceStatus(faults, {"pin_pad": "ok" if not faults else "inoperative"}))

    async def _last_chance(self) -> Frame:
        try:
            return await self._ask_status()
        except LinkTimeout as late:
            self._owner.status(DeviceStatus({Fault.NOT_RESPONDING: ""}, {"pin_pad": "unknown"}))
            raise DeviceFault(Fault.NOT_RESPONDING, "no answer to a question about its state") from late

    async def _ask_status(self) -> Frame:
        await self._send(self._options.command_status)
        try:
            async with asyncio.timeout(self._options.answer_s):
                while True:
                    frames = self._decoder.feed(await self._link.read(timeout_s=self._options.answer_s))
                    if frames:
                        return frames[-1]
        except TimeoutError as late:
            raise LinkTimeout(f"{self._link.name}: no whole answer") from late
        except PadNoise as noise:
            raise DeviceFault(Fault.PROTOCOL_ERROR, str(noise)) from noise

    async def _send(self, command: int, data: bytes = b"") -> None:
        self._link.discard()
        self._decoder.wipe()
        await self._link.write(encode_command(command, data), timeout_s=self._options.answer_s)

    @staticmethod
    def _refuse(frame: Frame) -> None:
        if frame.status != PadStatus.OK:
            raise DeviceFault(Fault.DEVICE_ERROR, _words(frame.status))


def _words(status: int) -> str:
    names = {item.value: item.name.lower() for item in PadStatus}
    return names.get(status, f"status {status:02x}")
