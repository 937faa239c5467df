"""An image on disk: it is what the profile says, or it is not touched."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from agent.firmware.errors import FirmwareRefused, Why
from wire.firmware import IMAGE_BYTES_MAX, FirmwareUpdate


def load_image(folder: Path, update: FirmwareUpdate) -> bytes:
    """The bytes of an update's image. File work: belongs in a thread.

    Raises:
        FirmwareRefused: imageMissing; imageWrong: no regular file, too large, or not the bytes that were meant.
    """
    try:
        descriptor = os.open(folder / update.image, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FirmwareRefused(Why.IMAGE_MISSING) from None
    except OSError:
        raise FirmwareRefused(Why.IMAGE_WRONG) from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FirmwareRefused(Why.IMAGE_WRONG)
        try:
            image = stream.read(IMAGE_BYTES_MAX + 1)
        except OSError:
            raise FirmwareRefused(Why.IMAGE_WRONG) from None
    if not 0 < len(image) <= IMAGE_BYTES_MAX or hashlib.sha256(image).hexdigest() != update.sha256:
        raise FirmwareRefused(Why.IMAGE_WRONG)
    return image
