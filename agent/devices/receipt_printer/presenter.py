"""Where the printed ticket is: in the mouth, taken, drawn back or stuck. Words of CWA 17852 `media`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from kit.clock import Clock
from kit.machine import step


class Media(StrEnum):
    """CWA 17852, Printer.media."""

    UNKNOWN = "unknown"
    NOT_PRESENT = "notPresent"
    PRESENT = "present"
    RETRACTED = "retracted"
    JAMMED = "jammed"


class MediaEvent(StrEnum):
    """What the sensors and the timer say."""

    SEEN = "seen"
    GONE = "gone"
    DRAWN_BACK = "drawn_back"
    STUCK = "stuck"


TABLE: Mapping[tuple[Media, MediaEvent], Media] = MappingProxyType(
    {
        (Media.UNKNOWN, MediaEvent.SEEN): Media.PRESENT,
        (Media.UNKNOWN, MediaEvent.GONE): Media.NOT_PRESENT,
        (Media.UNKNOWN, MediaEvent.STUCK): Media.JAMMED,
        (Media.NOT_PRESENT, MediaEvent.SEEN): Media.PRESENT,
        (Media.NOT_PRESENT, MediaEvent.GONE): Media.NOT_PRESENT,
        (Media.NOT_PRESENT, MediaEvent.STUCK): Media.JAMMED,
        (Media.PRESENT, MediaEvent.SEEN): Media.PRESENT,
        (Media.PRESENT, MediaEvent.GONE): Media.NOT_PRESENT,
        (Media.PRESENT, MediaEvent.DRAWN_BACK): Media.RETRACTED,
        (Media.PRESENT, MediaEvent.STUCK): Media.JAMMED,
        (Media.RETRACTED, MediaEvent.SEEN): Media.PRESENT,
        (Media.RETRACTED, MediaEvent.GONE): Media.RETRACTED,
        (Media.RETRACTED, MediaEvent.STUCK): Media.JAMMED,
        (Media.JAMMED, MediaEvent.SEEN): Media.JAMMED,
        (Media.JAMMED, MediaEvent.GONE): Media.NOT_PRESENT,
        (Media.JAMMED, MediaEvent.STUCK): Media.JAMMED,
    }
)


class Presenter:
    """Follows one ticket at a time and says when it has waited too long."""

    def __init__(self, clock: Clock, take_s: float) -> None:
        self._clock = clock
        self._take_s = take_s
        self._since_s = 0.0
        self.media = Media.UNKNOWN
        self.retracted = 0

    @property
    def is_overdue(self) -> bool:
        """Whether a ticket is in the mouth for longer than a patient needs."""
        return self.media is Media.PRESENT and self._clock.monotonic() - self._since_s >= self._take_s

    def note(self, event: MediaEvent) -> tuple[Media, Media]:
        """Take one step; the state before and after it."""
        before = self.media
        self.media = step(TABLE, before, event)
        if self.media is Media.PRESENT and before is not Media.PRESENT:
            self._since_s = self._clock.monotonic()
        if event is MediaEvent.DRAWN_BACK:
            self.retracted += 1
        return before, self.media
