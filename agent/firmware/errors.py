"""Why firmware is not put on a device, or did not get there."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agent.errors import AgentError


class Why(StrEnum):
    """One word for every reason; what people read is made of it in `docs` and on the maintenance page."""

    # nothing was begun
    NO_SUCH_UPDATE = "noSuchUpdate"
    NOT_READY = "notReady"
    VERSION_UNKNOWN = "versionUnknown"
    ALREADY_THERE = "alreadyThere"
    WRONG_VERSION = "wrongVersion"
    ON_BATTERY = "onBattery"
    IMAGE_MISSING = "imageMissing"
    IMAGE_WRONG = "imageWrong"
    DEVICE_BUSY = "deviceBusy"
    DISK_FAILED = "diskFailed"
    # begun, and not there
    NO_BOOT_LOADER = "noBootLoader"
    REFUSED = "refused"
    SILENT = "silent"
    LOST = "lost"
    TOO_SLOW = "tooSlow"
    PROGRAM_FAILED = "programFailed"
    KEEPS_OLD = "keepsOld"
    NOT_BACK = "notBack"
    INTERRUPTED = "interrupted"


NOTHING_BEGUN: Final = tuple(list(Why)[: list(Why).index(Why.NO_BOOT_LOADER)])
"""The reasons of `FirmwareRefused`; the others are those of updates that were begun."""


class FirmwareRefused(AgentError):
    """Nothing was begun; the device was not touched."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class FlashFailed(AgentError):
    """The image did not get into the device; what it runs now is another question."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why
