"""What a face camera is to the rest of the agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Gate(StrEnum):
    """What a frame does not meet yet; `READY` is none of it. In the order in which patients are told."""

    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    TOO_FAR = "too_far"
    TOO_CLOSE = "too_close"
    OFF_CENTRE = "off_centre"
    BLURRED = "blurred"
    MOVING = "moving"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Portrait:
    """The one picture of a capture, as JPEG; it is shown nowhere and kept nowhere."""

    picture: bytes = field(repr=False)
    width: int
    height: int
    face: tuple[float, float, float, float] = field(repr=False)
    """x, y, width and height as shares of the picture."""
    taken_at: datetime


class Preview(Protocol):
    """Pictures for somebody who looks on."""

    async def next(self, *, timeout_s: float) -> bytes:
        """The newest picture that was not given yet; older ones are skipped.

        Raises:
            LinkError: there are no more.
        """

    async def close(self) -> None:
        """Look no longer."""


class FaceCamera(Protocol):
    """Takes the portrait of one patient, and says what is wrong until it can."""

    async def take_picture(self, tell: Callable[[Gate], None], *, timeout_s: float) -> Portrait | None:
        """The best of some good frames in a row; None when there were none in time.

        `tell` hears of each change of what is not met.

        Raises:
            DeviceFault: the camera gives no picture.
            LinkError: its process failed.
        """

    async def open_preview(self) -> Preview:
        """Look on, beside a capture or without one.

        Raises:
            DeviceFault: the camera gives no picture.
        """
