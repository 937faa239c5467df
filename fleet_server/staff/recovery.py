"""The way back for somebody who lost password or phone.

An account administrator, or whoever has the server's own shell, takes the lost part away and hands over a one-time
token; from that moment the account opens to nothing but the token, and all that was open is ended. Who holds the
token replaces what was taken away and proves the rest, so a token alone never passes a factor that was not lost.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pyotp

from fleet_server.errors import Refusal
from fleet_server.staff.door import Door
from fleet_server.staff.hashing import Passwords
from fleet_server.staff.model import Recovered, RecoverForm, Recovery, RecoveryIssued, RecoveryView, Reset, User
from fleet_server.staff.policies import Policies
from fleet_server.staff.ports import AuditEntry, Auditor
from fleet_server.staff.rules import (
    CONSOLE_RECOVERY_LIFE,
    RECOVERY_LIFE,
    accepted_step,
    digest_of,
    is_locked,
    lock_after_failure,
    totp_uri,
    with_password,
)
from fleet_server.staff.store import StaffStore
from kit.clock import Clock

CONSOLE: Final = "console"
"""The source of what came from the server's own shell instead of an address."""
_TOKEN_BYTES: Final = 32
_WRONG: Final = Refusal(
    "recovery_refused", "The one-time token, the password or the code is wrong, was used or has expired", status=403
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants an account recovered, and from where."""

    name: str
    source: str
    """A network address, or `CONSOLE`."""


class RecoveryDesk:
    """Hands out one-time tokens; needs nothing but the store, so that it works from the server's own shell."""

    def __init__(self, store: StaffStore, auditor: Auditor, clock: Clock) -> None:
        """Work on this store."""
        self._store = store
        self._auditor = auditor
        self._clock = clock

    async def issue(self, username: str, reset: Reset, asker: Asker) -> RecoveryIssued:
        """Close an account, end its sessions and API tokens, and make the token that opens it again.

        Raises:
            Refusal: there is no such account, it is disabled, or it is the asker's own.
        """
        if username == asker.name and asker.source != CONSOLE:
            raise Refusal("not_for_oneself", "Another administrator recovers your account", status=403)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        life = CONSOLE_RECOVERY_LIFE if asker.source == CONSOLE else RECOVERY_LIFE
        recovery = Recovery(digest_of(token), reset, self._clock.utc() + life)

        def close(current: User) -> User:
            if not current.is_active:
                raise Refusal("account_disabled", "The account is disabled: enable it first")
            return replace(current, recovery=recovery, failures=0, locked_until=None)

        if await self._store.change_user(username, close) is None:
            raise Refusal("unknown_user", "There is no such account", status=404)
        ended = await self._store.end_everything(username)
        fields = {"reset": reset.value, "expires_at": recovery.expires_at.isoformat(), "ended": ended}
        await self._auditor.record(AuditEntry(asker.name, "recovery_issued", username, "ok", fields, asker.source))
        return RecoveryIssued(username=username, token=token, reset=reset, expires_at=recovery.expires_at)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What the account will have; `fits` when all was right that could be judged before the lock."""

    encoded: str
    secret: str
    fits: bool


class RecoveryService:
    """Takes the tokens."""

    def __init__(
        self,
        store: StaffStore,
        passwords: Passwords,
        auditor: Auditor,
        door: Door,
        policies: Policies,
        clock: Clock,
    ) -> None:
        """Work on this store; `door` is the one people sign in by."""
        self._policies = policies
        self._store = store
        self._passwords = passwords
        self._auditor = auditor
        self._door = door
        self._clock = clock

    async def look(self, token: str, source: str) -> RecoveryView:
        """What this token opens.

        Raises:
            Refusal: it is wrong, was used, or has expired.
        """
        await self._door.admit(source)
        user = await self._holder(token)
        if user is None or user.recovery is None:
            raise _WRONG
        self._door.forgive(source)
        return RecoveryView(
            username=user.username,
            display_name=user.display_name,
            reset=user.recovery.reset,
            expires_at=user.recovery.expires_at,
        )

    async def redeem(self, form: RecoverForm, source: str) -> Recovered:
        """Give an account its new password, its new second factor, or both.

        Raises:
            Refusal: the token or what has to be proved is wrong; or the new password is too weak or was used
                before, in which case the token stays good.
        """
        await self._door.admit(source)
        user = await self._holder(form.token)
        if user is None or user.recovery is None:
            await self._note("unknown", "refused", source)
            raise _WRONG
        reset = user.recovery.reset
        encoded, fits = user.password_hash, _code_fits(user, form, self._clock.utc())
        if fits and reset is Reset.TOTP:
            fits = await self._passwords.matches(user.password_hash, form.password)
        elif fits:
            encoded = await self._passwords.replacing(user, form.password, await self._policies.now())
        secret = user.totp_secret if reset is Reset.PASSWORD else pyotp.random_base32()
        if not await self._open(user, form, _Fresh(encoded, secret, fits), source):
            await self._note(user.username, "refused", source)
            raise _WRONG
        self._door.forgive(source)
        await self._store.end_everything(user.username)
        await self._note(user.username, "ok", source)
        shown = None if reset is Reset.PASSWORD else secret
        return Recovered(username=user.username, totp_secret=shown, totp_uri=shown and totp_uri(user.username, shown))

    async def _open(self, user: User, form: RecoverForm, fresh: _Fresh, source: str) -> bool:
        """Judge under the account's lock, so that one token is used once."""
        now, is_open, is_locked_now = self._clock.utc(), False, False
        policy = await self._policies.now()

        def judge(current: User) -> User:
            nonlocal is_open, is_locked_now
            if current.recovery != user.recovery or current.recovery is None or not _may_try(current, now):
                return current
            if current.password_hash != user.password_hash or not fresh.fits or not _code_fits(current, form, now):
                failures = current.failures + 1
                locked_until = lock_after_failure(failures, now, policy)
                is_locked_now = locked_until is not None
                return replace(current, failures=failures, locked_until=locked_until)
            is_open = True
            opened = replace(current, totp_secret=fresh.secret, recovery=None, failures=0, locked_until=None)
            if current.recovery.reset is not Reset.PASSWORD:
                opened = replace(opened, spare_codes=())  # they stood in for the second factor that is gone
            if current.recovery.reset is Reset.PASSWORD:
                step = accepted_step(current.totp_secret, form.totp or "", current.totp_last_step, now)
                opened = replace(opened, totp_last_step=step or current.totp_last_step)
            return opened if current.recovery.reset is Reset.TOTP else with_password(opened, fresh.encoded, now, policy)

        await self._store.change_user(user.username, judge)
        if is_locked_now:
            await self._auditor.record(AuditEntry(user.username, "account_locked", user.username, "ok", {}, source))
        return is_open

    async def _holder(self, token: str) -> User | None:
        """The account this token opens now."""
        user = await self._store.user_by_recovery(digest_of(token))
        return user if user is not None and _may_try(user, self._clock.utc()) else None

    async def _note(self, actor: str, outcome: str, source: str) -> None:
        target = None if actor == "unknown" else actor
        await self._auditor.record(AuditEntry(actor, "recovery_used", target, outcome, {}, source))


def _code_fits(user: User, form: RecoverForm, now: datetime) -> bool:
    """Whether the second factor is proved, or is the one that was lost."""
    if user.recovery is None or user.recovery.reset is not Reset.PASSWORD:
        return True
    return accepted_step(user.totp_secret, form.totp or "", user.totp_last_step, now) is not None


def _may_try(user: User, now: datetime) -> bool:
    recovery = user.recovery
    return recovery is not None and user.is_active and now < recovery.expires_at and not is_locked(user, now)
