"""The code on the screen by which an engineer proves to stand before this kiosk; it needs no network.

Made anew each time it is shown: the fleet server takes each one once, and only while its time is about right.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.maintenance.service import Signer
from kit.clock import Clock, ulid
from wire.checkin import CheckIn


async def make_code(kiosk: str, signer: Signer, clock: Clock, number: Callable[[], str] | None = None) -> str | None:
    """A fresh code, None while the kiosk has no identity.

    The certificate's serial number is part of what is signed, so it is asked for with a first signature.

    Raises:
        IdentityError: the key cannot be used.
    """
    first = await signer.sign("check-in")
    if first is None:
        return None
    nonce = ulid(clock) if number is None else number()
    said = CheckIn(kiosk, int(clock.utc().timestamp()), nonce, first.certificate)
    signature = await signer.sign(said.said())
    if signature is None or signature.certificate != first.certificate:
        return None
    return said.code(signature.value)
