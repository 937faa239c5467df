"""What the demo asks of the fleet server: first administrator, asset list, pairing. Plain HTTP, as any script would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import pyotp

_OK_LIMIT = 400


class FleetRefused(RuntimeError):
    """The fleet server answered with a problem document; the text is its title and detail."""


class FleetClient:
    """A staff session on the REST API."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str) -> None:
        self._http = http
        self._base_url = base_url

    async def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            async with self._http.get(f"{self._base_url}/api/v1/health") as response:
                return response.status < _OK_LIMIT
        except aiohttp.ClientError:
            return False

    async def first_admin(self, token: str, username: str, password: str) -> Mapping[str, Any]:
        """Make the first administrator; returns TOTP secret and URI.

        Raises:
            FleetRefused: the token is wrong or used.
        """
        return await self._call(
            "POST",
            "/api/v1/auth/first-admin",
            {"token": token, "username": username, "password": password, "display_name": "演示管理员"},
        )

    async def sign_in(self, username: str, password: str, totp_secret: str) -> None:
        """Open a session.

        Raises:
            FleetRefused: wrong credentials, or the code of this half minute was used already.
        """
        code = pyotp.TOTP(totp_secret).now()
        await self._call("POST", "/api/v1/auth/login", {"username": username, "password": password, "totp": code})

    async def import_assets(self, text: str) -> Mapping[str, Any]:
        """Import an asset list.

        Raises:
            FleetRefused: a line is wrong.
        """
        return await self._call("POST", "/api/v1/assets/import", {"csv": text, "dry_run": False})

    async def pending_enrolments(self) -> list[Mapping[str, Any]]:
        """Requests that wait for an engineer."""
        page = await self._call("GET", "/api/v1/enrolments", None)
        return list(page["items"])

    async def confirm(self, request_id: str, code: str, kid: str) -> None:
        """Type the pairing code the kiosk shows.

        Raises:
            FleetRefused: wrong code, expired, or the serial does not fit.
        """
        await self._call("POST", f"/api/v1/enrolments/{request_id}/confirm", {"code": code, "kid": kid})

    async def kiosks_online(self) -> int:
        """How many kiosks the server sees online."""
        page = await self._call("GET", "/api/v1/kiosks?presence=online&limit=1", None)
        return int(page["total"])

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        headers = {"X-Requested-By": "kiosk-sim", "Origin": self._base_url}
        async with self._http.request(method, f"{self._base_url}{path}", json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json(content_type=None) if response.status != 204 else {}  # noqa: PLR2004 - no content
            if response.status >= _OK_LIMIT:
                raise FleetRefused(f"{method} {path}: {answer.get('title')} {answer.get('detail') or ''}".strip())
            return answer
