"""Whether a frame may become a portrait: pure judgement of what was measured.

Light comes first: in the dark no face is found, and "come closer" would be the wrong advice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from agent.devices.face_camera.types import Gate
from agent.links.camera import Frame
from wire.profile import DeviceProfile

_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the gates are; light goes from 0 to 255, places are shares of the frame."""

    light_min: float = 50.0
    light_max: float = 205.0
    bright_max: float = 0.4
    """Share of the frame that may be burnt out."""
    face_min: float = 0.30
    """Height of the face."""
    face_max: float = 0.85
    centre_max: float = 0.22
    """How far the middle of the face may be from the middle of the frame, each way."""
    sharpness_min: float = 25.0
    motion_max: float = 4.0
    frames: int = _FRAMES
    """So many good frames in a row."""

    @classmethod
    def of(cls, profile: DeviceProfile) -> Self:
        """What the profile's quirks say; a name they do not have keeps its default.

        Raises:
            ValueError: a limit is no positive number.
        """
        given = {item.name: profile.quirks[item.name] for item in fields(cls) if item.name in profile.quirks}
        numbers = {name: float(value) for name, value in given.items() if isinstance(value, int | float)}
        if len(numbers) < len(given) or any(value <= 0 for value in numbers.values()):
            raise ValueError("quirks: limits of the gates are positive numbers")
        frames = int(numbers.pop("frames", _FRAMES))
        return cls(frames=frames, **numbers)


def unmet(frame: Frame, limits: Limits) -> Gate:
    """The first gate that the frame does not pass."""
    return _light(frame, limits) or _people(frame) or _place(frame, limits) or _stillness(frame, limits) or Gate.READY


def _light(frame: Frame, limits: Limits) -> Gate | None:
    if frame.light < limits.light_min:
        return Gate.TOO_DARK
    return Gate.TOO_BRIGHT if frame.light > limits.light_max or frame.bright > limits.bright_max else None


def _people(frame: Frame) -> Gate | None:
    if not frame.faces:
        return Gate.NO_FACE
    return Gate.SEVERAL_FACES if len(frame.faces) > 1 else None


def _place(frame: Frame, limits: Limits) -> Gate | None:
    x, y, width, height = frame.faces[0]
    if height < limits.face_min:
        return Gate.TOO_FAR
    if height > limits.face_max:
        return Gate.TOO_CLOSE
    away = max(abs(x + width / 2 - 0.5), abs(y + height / 2 - 0.5))
    return Gate.OFF_CENTRE if away > limits.centre_max else None


def _stillness(frame: Frame, limits: Limits) -> Gate | None:
    if frame.sharpness < limits.sharpness_min:
        return Gate.BLURRED
    return Gate.MOVING if frame.motion > limits.motion_max else None


class Choice:
    """Good frames in a row, and the sharpest of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._good: list[Frame] = []

    def take(self, frame: Frame) -> Gate:
        """Judge the next frame; a bad one starts the row anew."""
        gate = unmet(frame, self._limits)
        if gate is Gate.READY:
            self._good.append(frame)
        else:
            self._good.clear()
        return gate

    @property
    def best(self) -> Frame | None:
        """The sharpest, once there are enough."""
        return max(self._good, key=lambda one: one.sharpness) if len(self._good) >= self._limits.frames else None
