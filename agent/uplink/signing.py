"""Signs for this kiosk with the key of its certificate, in a process of its own (`agent.uplink.keys`)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Final

from agent.errors import IdentityError
from agent.maintenance.service import Signature
from agent.uplink.identity import Identity

LIMIT_S: Final = 20.0
_ANSWER_LIMIT_BYTES: Final = 4_096


class KioskSigner:
    """See `agent.maintenance.service.Signer`."""

    def __init__(self, identity: Callable[[], Identity | None]) -> None:
        """Sign with the identity in use at that time."""
        self._identity = identity

    async def sign(self, text: str) -> Signature | None:
        """See `Signer`."""
        identity = self._identity()
        if identity is None:
            return None
        files = ("--key", str(identity.key_file), "--certificate", str(identity.cert_file))
        try:
            async with asyncio.timeout(LIMIT_S):
                output = await _ask("sign", *files, given=text)
            answer = json.loads(output)
            return Signature(str(answer["signature"]), str(answer["certificate"]))
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise IdentityError(f"the key program failed: {type(error).__name__}") from error


async def _ask(*arguments: str, given: str) -> bytes:
    """What the key program answers.

    Raises:
        ValueError: it failed.
        OSError: it cannot be started.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent.uplink.keys",
        *arguments,
        stdin=pipe,
        stdout=pipe,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await child.communicate(given.encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise ValueError(f"code {child.returncode}")
    return output[:_ANSWER_LIMIT_BYTES]
