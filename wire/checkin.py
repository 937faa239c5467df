"""The code a kiosk shows to whoever stands before it: it needs no network, and only that kiosk can make it.

`HKC1.<kid>.<seconds since 1970>.<nonce>.<certificate serial>.<signature>`; all before the last dot is signed (ECDSA
P-256 with SHA-256, DER, base64url without padding) by the key of the kiosk's certificate. It says who and when, and
nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "HKC1"
LIMIT_CHARACTERS: Final = 400
_CODE: Final = re.compile(
    r"(?P<said>HKC1\.(?P<kid>[a-z0-9-]{3,40})\.(?P<at_s>[0-9]{1,12})\.(?P<nonce>[0-9A-Za-z]{8,40})"
    r"\.(?P<certificate>[0-9a-f]{1,40}))\.(?P<signature>[0-9A-Za-z_-]{16,200})",
    re.ASCII,
)


class CheckInError(ValueError):
    """It is no code of a kiosk."""


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What a kiosk's code says."""

    kid: str
    at_s: int
    nonce: str
    certificate: str
    """The serial number of the certificate that proves it, hexadecimal."""

    def said(self) -> str:
        """The text that is signed."""
        return f"{PREFIX}.{self.kid}.{self.at_s}.{self.nonce}.{self.certificate}"

    def code(self, signature: str) -> str:
        """The text of the code; the signature in standard or URL-safe base64."""
        return f"{self.said()}.{signature.translate(_URL_SAFE).rstrip('=')}"


_URL_SAFE: Final = str.maketrans("+/", "-_")


def parse(code: str) -> tuple[CheckIn, str]:
    """What a code says, and its signature in URL-safe base64, not checked.

    Raises:
        CheckInError: it is no such code.
    """
    found = _CODE.fullmatch(code.strip()) if len(code) <= LIMIT_CHARACTERS else None
    if found is None:
        raise CheckInError("not a code of a kiosk")
    said = CheckIn(found["kid"], int(found["at_s"]), found["nonce"], found["certificate"])
    return said, found["signature"]
