"""Signing in and managing accounts. Every refusal of a sign-in looks the same and takes the same time."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pyotp

from fleet_server.errors import Refusal
from fleet_server.staff.door import Door
from fleet_server.staff.hashing import Passwords
from fleet_server.staff.model import (
    ApiToken,
    FirstAdminForm,
    LoginForm,
    PasswordForm,
    Session,
    SpareCodes,
    SpareCodesForm,
    StaffPrincipal,
    TokenForm,
    TotpSetup,
    User,
    UserForm,
    UserPatch,
)
from fleet_server.staff.permissions import FIRST_ADMIN_ROLES, Permission, Role, permissions_of
from fleet_server.staff.policies import Policies
from fleet_server.staff.ports import AuditEntry, Auditor
from fleet_server.staff.rules import (
    check_password,
    digest_of,
    is_alive,
    lock_after_failure,
    new_spare_codes,
    password_is_over,
    second_factor_used,
    takes_sign_in,
    totp_uri,
    with_password,
)
from fleet_server.staff.store import StaffStore
from kit.clock import Clock, ulid

TOUCH_AFTER: Final = timedelta(seconds=30)
"""A session's last use is written at most this often."""
_WRONG: Final = Refusal("sign_in_refused", "User name, password or code is wrong, or the account is locked", status=401)


class StaffService:
    """Accounts, sessions, tokens."""

    def __init__(  # noqa: PLR0913 - the parts it connects
        self,
        store: StaffStore,
        passwords: Passwords,
        auditor: Auditor,
        policies: Policies,
        *,
        first_admin_token_file: Path,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Connect the parts."""
        self._store = store
        self._passwords = passwords
        self._auditor = auditor
        self.policies = policies
        self._token_file = first_admin_token_file
        self._clock = clock
        self.door = Door(clock, sleep)

    async def make_first_admin(self, form: FirstAdminForm, source: str) -> TotpSetup:
        """Turn the one-time token into the first account.

        Raises:
            Refusal: there is an account already, the token is wrong, or the password is too weak.
        """
        await self.door.admit(source)
        wanted = await asyncio.to_thread(_read_token, self._token_file)
        if wanted is None or not hmac.compare_digest(wanted.encode(), form.token.encode()):
            raise Refusal("token_refused", "The one-time token is wrong or was used already", status=403)
        check_password(form.password, form.username, await self.policies.now())
        user = await self._new_user(form.username, form.display_name, FIRST_ADMIN_ROLES, form.password)
        if not await self._store.add_user(user, only_if_none=True):
            raise Refusal("already_set_up", "There is an administrator already", status=403)
        self.door.forgive(source)
        await asyncio.to_thread(_remove, self._token_file)
        await self._note(user.username, "first_admin", user.username, "ok", source)
        return _setup(user)

    async def sign_in(self, form: LoginForm, source: str) -> tuple[User, str]:
        """Open a session and return its secret token.

        Raises:
            Refusal: always the same one, whatever was wrong.
        """
        await self.door.admit(source)
        user = await self._store.user(form.username)
        fits = await self._passwords.matches(None if user is None else user.password_hash, form.password)
        accepted = await self._second_factor(form, user, source, fits=fits)
        if accepted is None and user is not None:
            self.door.forgive(source)
            if form.new_password is None:
                raise Refusal("password_expired", "The password is too old: choose a new one", status=403)
            encoded = await self._passwords.replacing(user, form.new_password, await self.policies.now())
            accepted = await self._second_factor(form, user, source, fits=fits, encoded=encoded)
        if not accepted or user is None:
            # A name nobody has may be a password typed into the wrong field: it is not kept.
            await self._note("unknown" if user is None else user.username, "sign_in", None, "refused", source)
            raise _WRONG
        self.door.forgive(source)
        token = await self.open_session(user, source)
        await self._note(user.username, "sign_in", None, "ok", source)
        return user, token

    async def open_session(self, user: User, source: str) -> str:
        """A session for somebody whose factors were proved; its secret token."""
        now, policy, token = self._clock.utc(), await self.policies.now(), secrets.token_urlsafe(32)
        await self._store.drop_dead_sessions(now - policy.session_age, now - policy.session_idle)
        await self._store.add_session(
            Session(ulid(self._clock), user.username, digest_of(token), now, now, source[:64])
        )
        return token

    async def _second_factor(
        self, form: LoginForm, user: User | None, source: str, *, fits: bool, encoded: str | None = None
    ) -> bool | None:
        """Judge password and code under the account's lock, so that one code opens one session.

        None: all is right but the password is too old, and no new one was given; the code stays good.
        The store is asked for names nobody has, too: a refusal costs the same work whatever was wrong.
        """
        now, policy = self._clock.utc(), await self.policies.now()
        accepted: bool | None = False
        is_locked_now = False

        def judge(current: User) -> User:
            nonlocal accepted, is_locked_now
            if not takes_sign_in(current, now):
                return current
            # The password was compared before the lock: it may have been changed since.
            is_right = fits and user is not None and current.password_hash == user.password_hash
            proved = second_factor_used(current, form.totp, now) if is_right else None
            if proved is None:
                failures = current.failures + 1
                locked_until = lock_after_failure(failures, now, policy)
                is_locked_now = locked_until is not None
                return replace(current, failures=failures, locked_until=locked_until)
            if encoded is None and password_is_over(current, now, policy):
                accepted = None
                return current
            accepted = True
            return proved if encoded is None else with_password(proved, encoded, now, policy)

        await self._store.change_user(form.username, judge)
        if is_locked_now:
            await self._note(form.username, "account_locked", form.username, "ok", source)
        return accepted

    async def sign_out(self, principal: StaffPrincipal) -> None:
        """End the caller's session."""
        if principal.session_id is not None:
            await self._store.drop_sessions(identifier=principal.session_id)

    async def by_session(self, token: str) -> StaffPrincipal | None:
        """Who holds this session token; None when it is unknown, too old, or its account is disabled."""
        session = await self._store.session_by_digest(digest_of(token))
        now = self._clock.utc()
        if session is None or not is_alive(session, now, await self.policies.now()):
            return None
        user = await self._store.user(session.username)
        if user is None or not user.is_active or user.recovery is not None:
            return None
        if session.created_at < user.password_changed_at:
            return None
        if now - session.last_used_at >= TOUCH_AFTER:
            await self._store.touch_session(session.id, now)
        return StaffPrincipal(user.username, permissions_of(user.roles), session.id)

    async def by_api_token(self, token: str) -> StaffPrincipal | None:
        """Who holds this API token; its owner's permissions of today bound what it may do."""
        found = await self._store.token_by_digest(digest_of(token))
        if found is None or self._clock.utc() >= found.expires_at:
            return None
        user = await self._store.user(found.username)
        if user is None or not user.is_active or user.recovery is not None:
            return None
        return StaffPrincipal(user.username, found.permissions & permissions_of(user.roles))

    async def change_password(self, principal: StaffPrincipal, form: PasswordForm, source: str) -> None:
        """Set a new password and end all sessions of the account.

        Raises:
            Refusal: the old one is wrong, the new one too weak or used before.
        """
        await self.door.admit(source)
        user = await self.user(principal.id)
        if not await self._passwords.matches(user.password_hash, form.current):
            raise Refusal("password_wrong", "The current password is wrong", status=403)
        self.door.forgive(source)
        policy, now = await self.policies.now(), self._clock.utc()
        encoded = await self._passwords.replacing(user, form.new, policy)

        def change(current: User) -> User:
            if current.recovery is not None or current.password_hash != user.password_hash:
                raise Refusal("password_wrong", "The current password is wrong", status=403)
            return with_password(current, encoded, now, policy)

        await self._store.change_user(user.username, change)
        await self._store.drop_sessions(username=user.username)
        await self._note(user.username, "change_password", user.username, "ok", source)

    async def renew_spare_codes(self, principal: StaffPrincipal, form: SpareCodesForm, source: str) -> SpareCodes:
        """Make fresh spare codes, which are shown this once; the ones before are worth nothing.

        Raises:
            Refusal: an API token asks, or password or code is wrong.
        """
        if principal.session_id is None:
            raise Refusal("session_required", "A token cannot make spare codes", status=403)
        await self.door.admit(source)
        user = await self.user(principal.id)
        fits = await self._passwords.matches(user.password_hash, form.password)
        codes, proved, now = new_spare_codes(), False, self._clock.utc()

        def change(current: User) -> User:
            nonlocal proved
            after = second_factor_used(current, form.totp, now) if fits else None
            if after is None or current.password_hash != user.password_hash:
                return current
            proved = True
            return replace(after, spare_codes=tuple(digest_of(code) for code in codes))

        await self._store.change_user(user.username, change)
        await self._note(user.username, "spare_codes", user.username, "ok" if proved else "refused", source)
        if not proved:
            raise Refusal("proof_wrong", "Password or code is wrong", status=403)
        self.door.forgive(source)
        return SpareCodes(codes=codes)

    async def user(self, username: str) -> User:
        """One account.

        Raises:
            Refusal: there is none of that name.
        """
        user = await self._store.user(username)
        if user is None:
            raise Refusal("unknown_user", "There is no such account", status=404)
        return user

    async def users(self) -> Sequence[User]:
        """All accounts."""
        return await self._store.users()

    async def add_user(self, form: UserForm) -> tuple[User, TotpSetup]:
        """Make an account; its second factor is shown this once.

        Raises:
            Refusal: the name is taken, or the password too weak.
        """
        check_password(form.password, form.username, await self.policies.now())
        user = await self._new_user(form.username, form.display_name, form.roles, form.password, form.language)
        if not await self._store.add_user(user):
            raise Refusal("name_taken", "There is an account of that name")
        return user, _setup(user)

    async def patch_user(self, username: str, patch: UserPatch, actor: StaffPrincipal) -> User:
        """Change an account; who loses rights or is disabled is signed out.

        Raises:
            Refusal: no such account, the last account administrator would be gone, or somebody gives
                themselves more than they have.
        """

        def change(current: User) -> User:
            changed = replace(
                current,
                display_name=patch.display_name or current.display_name,
                roles=tuple(dict.fromkeys(patch.roles)) if patch.roles is not None else current.roles,
                is_active=current.is_active if patch.is_active is None else patch.is_active,
                failures=0 if patch.unlock else current.failures,
                locked_until=None if patch.unlock else current.locked_until,
                sso_name=current.sso_name if patch.sso_name is None else patch.sso_name or None,
            )
            if username == actor.id and not permissions_of(changed.roles) <= permissions_of(current.roles):
                raise Refusal("not_for_oneself", "Nobody gives themselves more rights", status=403)
            return changed

        done = await self._store.change_user(username, change, check=_keep_an_administrator)
        if done is None:
            raise Refusal("unknown_user", "There is no such account", status=404)
        before, changed = done
        if username != actor.id and (changed.roles != before.roles or not changed.is_active):
            await self._store.drop_sessions(username=username)
        return changed

    async def sessions(self) -> Sequence[Session]:
        """All sessions."""
        return await self._store.sessions()

    async def revoke_session(self, identifier: str) -> None:
        """End somebody's session.

        Raises:
            Refusal: there is none of that id.
        """
        if not await self._store.drop_sessions(identifier=identifier):
            raise Refusal("unknown_session", "There is no such session", status=404)

    async def add_token(self, principal: StaffPrincipal, form: TokenForm) -> tuple[ApiToken, str]:
        """Make an API token and return its secret, which is shown this once.

        Raises:
            Refusal: it would have permissions its owner does not have, or another token asks for it.
        """
        if principal.session_id is None:
            raise Refusal("session_required", "A token cannot make tokens: it would never expire", status=403)
        wanted = principal.permissions if form.permissions is None else frozenset(form.permissions)
        if not wanted <= principal.permissions:
            raise Refusal("permission_not_own", "A token cannot do what its owner cannot do", status=403)
        now = self._clock.utc()
        secret = f"kft_{secrets.token_urlsafe(32)}"
        token = ApiToken(
            ulid(self._clock), principal.id, digest_of(secret), form.name, wanted, now, now + timedelta(days=form.days)
        )
        await self._store.add_token(token)
        return token, secret

    async def tokens(self, principal: StaffPrincipal) -> Sequence[ApiToken]:
        """The caller's API tokens."""
        return await self._store.tokens(principal.id)

    async def drop_token(self, principal: StaffPrincipal, identifier: str) -> None:
        """Withdraw one of the caller's API tokens.

        Raises:
            Refusal: there is none of that id.
        """
        if not await self._store.drop_token(identifier, principal.id):
            raise Refusal("unknown_token", "There is no such token", status=404)

    async def _new_user(
        self, username: str, display_name: str, roles: Sequence[Role], password: str, language: str = "zh-CN"
    ) -> User:
        now = self._clock.utc()
        return User(
            username=username,
            display_name=display_name,
            roles=tuple(dict.fromkeys(roles)),
            language="en" if language == "en" else "zh-CN",
            password_hash=await self._passwords.hash(password),
            earlier_hashes=(),
            totp_secret=pyotp.random_base32(),
            totp_last_step=0,
            failures=0,
            locked_until=None,
            is_active=True,
            created_at=now,
            password_changed_at=now,
        )

    async def _note(self, actor: str, action: str, target: str | None, outcome: str, source: str) -> None:
        await self._auditor.record(AuditEntry(actor, action, target, outcome, {}, source))


def _keep_an_administrator(users: Sequence[User]) -> None:
    reachable = [user for user in users if user.is_active and user.recovery is None]
    if not any(Permission.USERS_MANAGE in permissions_of(user.roles) for user in reachable):
        raise Refusal("last_administrator", "Nobody would be left who manages accounts")


def _setup(user: User) -> TotpSetup:
    return TotpSetup(totp_secret=user.totp_secret, totp_uri=totp_uri(user.username, user.totp_secret))


def _read_token(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _remove(file: Path) -> None:
    with suppress(FileNotFoundError):
        file.unlink()
