"""A camera whose frames are judged by gates. One process serves a capture and those who look on, and ends with them.

Matching and liveness stay with the certified channel: nothing here says who somebody is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from agent.devices.face_camera.gates import Choice, Limits
from agent.devices.face_camera.types import Gate, Portrait
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost, LinkTimeout
from agent.links.camera import CameraLink, Frame, NoPicture
from kit.clock import Clock
from wire.faults import Fault
from wire.profile import DeviceProfile

_LOOK_S = 5.0


class GatedFaceCamera:
    """A `Driver` and a `FaceCamera`."""

    def __init__(self, link: CameraLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._link = link
        self._owner = owner
        self._clock = clock
        self._limits = Limits.of(profile)
        self._first_s = float(profile.quirks.get("first_frame_s") or 8.0)
        self._frame_s = float(profile.quirks.get("frame_s") or 3.0)
        self._probe_s = float(profile.quirks.get("probe_s") or 300.0)
        self._users = 0
        self._wanted = asyncio.Event()
        self._frame: Frame | None = None
        self._number = 0
        self._changed = asyncio.Condition()
        self._error: DeviceFault | LinkError | None = None

    # --- Driver ------------------------------------------------------------------------------------------

    async def start(self) -> DeviceFacts:
        """See `Driver`: one frame proves that there is a picture."""
        await self._look()
        self._owner.status(DeviceStatus(values={"camera": "ok"}))
        return DeviceFacts()

    async def run(self) -> None:
        """See `Driver`."""
        probe_at_s = self._clock.monotonic() + self._probe_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._wanted.wait()
            if self._wanted.is_set():
                await self._serve()
                probe_at_s = self._clock.monotonic() + self._probe_s
            elif self._clock.monotonic() >= probe_at_s:
                await self._look()
                probe_at_s = self._clock.monotonic() + self._probe_s
            else:
                await self._link.look()
            self._owner.alive()

    async def stop(self) -> None:
        """See `Driver`."""
        await self._end(LinkLost(f"{self._link.name}: the camera is not in use any more"))

    async def _look(self) -> None:
        """One frame, or the fault."""
        try:
            async with self._link.stream() as stream:
                await stream.next(timeout_s=self._first_s)
        except (NoPicture, LinkTimeout) as error:
            raise DeviceFault(Fault.NO_PICTURE, str(error)) from None

    async def _serve(self) -> None:
        """Frames for as long as somebody wants them."""
        try:
            async with self._link.stream() as stream:
                wait_s = self._first_s
                while self._users:
                    frame = await stream.next(timeout_s=wait_s)
                    wait_s = self._frame_s
                    self._frame, self._number = frame, self._number + 1
                    self._owner.alive()
                    async with self._changed:
                        self._changed.notify_all()
        except (NoPicture, LinkTimeout) as error:
            fault = DeviceFault(Fault.NO_PICTURE, str(error))
            await self._end(fault)
            raise fault from None
        except LinkError as error:
            await self._end(error)
            raise
        finally:
            self._frame = None

    async def _end(self, error: DeviceFault | LinkError) -> None:
        self._error, self._frame = error, None
        async with self._changed:
            self._changed.notify_all()

    # --- those who look ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[None]:
        self._join()
        try:
            yield
        finally:
            self._leave()

    def _join(self) -> None:
        self._users += 1
        self._wanted.set()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._wanted.clear()
            self._frame = None

    async def _after(self, number: int) -> tuple[int, Frame]:
        """The newest frame later than this one."""
        async with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self._frame is not None and self._number > number:
                    return self._number, self._frame
                await self._changed.wait()

    async def take_picture(self, tell: Callable[[Gate], None], *, timeout_s: float) -> Portrait | None:
        """See `FaceCamera`."""
        choice = Choice(self._limits)
        told: Gate | None = None
        async with self._looking():
            number = self._number
            try:
                async with asyncio.timeout(timeout_s):
                    while True:
                        number, frame = await self._after(number)
                        gate = choice.take(frame)
                        if gate is not told:
                            told = gate
                            tell(gate)
                        best = choice.best
                        if best is not None:
                            face = best.faces[0]
                            return Portrait(best.picture, best.width, best.height, face, self._clock.utc())
            except TimeoutError:
                return None

    async def open_preview(self) -> LivePreview:
        """See `FaceCamera`."""
        if self._error is not None:
            raise self._error
        self._join()
        return LivePreview(self._after, self._leave)


class LivePreview:
    """A `Preview` of a running camera."""

    def __init__(self, after: Callable[[int], Awaitable[tuple[int, Frame]]], leave: Callable[[], None]) -> None:
        self._after = after
        self._leave: Callable[[], None] | None = leave
        self._number = 0

    async def next(self, *, timeout_s: float) -> bytes:
        """See `Preview`."""
        if self._leave is None:
            raise LinkLost("the preview was closed")
        try:
            async with asyncio.timeout(timeout_s):
                self._number, frame = await self._after(self._number)
        except TimeoutError:
            raise LinkTimeout("no frame") from None
        return frame.picture

    async def close(self) -> None:
        """See `Preview`."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
