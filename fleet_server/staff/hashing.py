"""Password hashing: argon2id (RFC 9106, second recommended option) in a thread, a few at a time."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fleet_server.errors import Refusal
from fleet_server.staff.model import Policy, User
from fleet_server.staff.rules import check_password

AT_ONCE = 2
"""Each hash takes 64 MiB and a core for a moment; more at once would only be slower."""


class Passwords:
    """Hashes and checks."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """Use argon2-cffi's defaults unless told otherwise."""
        self._hasher = hasher if hasher is not None else PasswordHasher()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._decoy = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The encoded hash."""
        async with self._gate:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits; None costs as much time as a real account and never fits."""
        async with self._gate:
            fits = await asyncio.to_thread(self._verify, encoded if encoded is not None else self._decoy, password)
        return fits and encoded is not None

    async def replacing(self, user: User, password: str, policy: Policy) -> str:
        """The encoded hash of a new password of this account.

        Raises:
            Refusal: it is too weak, or was used before.
        """
        check_password(password, user.username, policy)
        for earlier in (user.password_hash, *user.earlier_hashes)[: policy.password_history]:
            if await self.matches(earlier, password):
                raise Refusal("password_used_before", "This password was used before", status=422)
        return await self.hash(password)

    def _verify(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False
