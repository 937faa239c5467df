"""Names of the parties: a kiosk id is certificate CN, MQTT user name and client id at once.

Wildcards and separators are excluded because an identity ends up inside topic patterns of the broker's
ACL (see the Mosquitto advisory GHSA-vcg2-pq78-9mhr on user names `#` and `+`).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

KIOSK_ID_PATTERN = r"^[a-z0-9-]{3,40}$"
RESERVED_IDS = frozenset({"server"})
RESERVED_PREFIXES = ("fleet-",)

KioskId = Annotated[str, Field(pattern=KIOSK_ID_PATTERN)]

_KIOSK_ID = re.compile(r"[a-z0-9-]{3,40}")


class InvalidKioskId(ValueError):
    """A name that no kiosk may bear; the text says which rule it breaks."""


def check_kiosk_id(text: str) -> str:
    """Return `text` when a kiosk may be called so.

    Raises:
        InvalidKioskId: wrong characters or length, or reserved for servers.
    """
    if _KIOSK_ID.fullmatch(text) is None:
        raise InvalidKioskId("a kiosk id has 3 to 40 characters of a-z, 0-9 and hyphen")
    if text in RESERVED_IDS or text.startswith(RESERVED_PREFIXES):
        raise InvalidKioskId("this name is reserved for servers")
    return text


def is_kiosk_id(text: str) -> bool:
    """Whether a kiosk may be called so."""
    try:
        check_kiosk_id(text)
    except InvalidKioskId:
        return False
    return True
