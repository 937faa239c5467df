"""Who may use the local API: whoever can read this boot's token, which is the page we serve and root.

The token is made anew at every start of the agent and written for its owner only.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

READ = "kiosk.read"
RECORDINGS = "kiosk.recordings"
_SCHEME = "Bearer "


@dataclass(frozen=True, slots=True)
class LocalPrincipal:
    """The one caller there is."""

    id: str = "local"
    permissions: frozenset[str] = frozenset({READ, RECORDINGS})


class LocalToken:
    """This boot's token."""

    def __init__(self, value: str) -> None:
        self.value = value

    @classmethod
    def create(cls, file: Path) -> LocalToken:
        """Make a token and write it to `file`, mode 600, as a whole."""
        token = cls(secrets.token_urlsafe(32))
        scratch = file.with_suffix(".new")
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as out:
            out.write(token.value)
        scratch.replace(file)
        return token

    async def authenticate(self, request: web.Request) -> LocalPrincipal | None:
        """The caller, None without this boot's token."""
        header = request.headers.get("Authorization", "")
        if not header.startswith(_SCHEME):
            return None
        given = header[len(_SCHEME) :].encode(errors="replace")
        return LocalPrincipal() if hmac.compare_digest(given, self.value.encode()) else None
