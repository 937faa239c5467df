"""Rules of signing in, without any I/O: passwords, one-time codes, lock-out, session ages."""

from __future__ import annotations

import hashlib
import string
import textwrap
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pyotp

from fleet_server.errors import Refusal
from fleet_server.staff.model import Policy, Session, User

TOTP_STEP_S: Final = 30
TOTP_DRIFT_STEPS: Final = 1
RECOVERY_LIFE: Final = timedelta(hours=24)
"""Handed over by an administrator: the person may be on another shift."""
CONSOLE_RECOVERY_LIFE: Final = timedelta(hours=1)
"""Printed on the server's own screen: whoever asked for it stands there."""
CLASSES: Final = 3
SPARE_CODES: Final = 10
KINDS_LEAST: Final = 5
"""Different characters in a password."""
ISSUER: Final = "自助机管理"
# Words people reach for when a policy asks for length: checked as substrings, lower case.
_BLOCKED: Final = ("password", "passw0rd", "qwerty", "12345678", "abcdefgh", "iloveyou", "welcome1", "administrator")


def check_password(password: str, username: str, policy: Policy) -> None:
    """Accept a new password.

    Raises:
        Refusal: too short, too plain, or built on a word everybody tries first.
    """
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    classes = sum(any(character in kind for character in password) for kind in kinds)
    classes += any(character not in "".join(kinds) for character in password)
    enough, mixed = policy.password_length, min(policy.password_length, policy.password_length_mixed)
    if len(password) < mixed or (len(password) < enough and classes < CLASSES):
        raise Refusal(
            "password_too_weak", f"At least {enough} characters, or {mixed} with three kinds of characters", status=422
        )
    lower = password.lower()
    if username in lower or any(word in lower for word in _BLOCKED) or len(set(password)) < KINDS_LEAST:
        raise Refusal("password_too_common", "This password is one of those that are tried first", status=422)


def accepted_step(secret: str, code: str, last_step: int, now: datetime) -> int | None:
    """The 30-second step whose code this is (RFC 6238), None when wrong, too old, or used before."""
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // TOTP_STEP_S
    for step in range(current - TOTP_DRIFT_STEPS, current + TOTP_DRIFT_STEPS + 1):
        if step > last_step and pyotp.utils.strings_equal(totp.generate_otp(step), code):
            return step
    return None


def second_factor_used(user: User, code: str, now: datetime) -> User | None:
    """The account after this code proved the second factor, its failures forgotten; None when it proves nothing."""
    cleared = replace(user, failures=0, locked_until=None)
    if "-" in code:
        digest = digest_of(code)
        if digest not in user.spare_codes:
            return None
        return replace(cleared, spare_codes=tuple(one for one in user.spare_codes if one != digest))
    step = accepted_step(user.totp_secret, code, user.totp_last_step, now)
    return None if step is None else replace(cleared, totp_last_step=step)


def new_spare_codes() -> list[str]:
    """Ten codes of 80 bits, in groups people can copy."""
    return ["-".join(textwrap.wrap(pyotp.random_base32(32)[:16].lower(), 4)) for _ in range(SPARE_CODES)]


def totp_uri(username: str, secret: str) -> str:
    """What an authenticator app scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=ISSUER)


def is_locked(user: User, now: datetime) -> bool:
    """Whether the account takes no sign-in right now."""
    return user.locked_until is not None and now < user.locked_until


def lock_after_failure(failures: int, now: datetime, policy: Policy) -> datetime | None:
    """Until when the account is locked after that many failures in a row."""
    return now + policy.lock_for if failures % policy.lock_after == 0 else None


def with_password(user: User, encoded: str, now: datetime, policy: Policy) -> User:
    """The account with a new password; the ones before it are remembered."""
    kept = (user.password_hash, *user.earlier_hashes)[: policy.password_history - 1]
    return replace(user, password_hash=encoded, earlier_hashes=kept, password_changed_at=now)


def takes_sign_in(user: User, now: datetime) -> bool:
    """Whether password and code may open the account at all right now."""
    return user.is_active and user.recovery is None and not is_locked(user, now)


def password_is_over(user: User, now: datetime, policy: Policy) -> bool:
    """Whether the password has to be replaced before anything else."""
    return policy.password_days > 0 and now - user.password_changed_at >= timedelta(days=policy.password_days)


def is_alive(session: Session, now: datetime, policy: Policy) -> bool:
    """Whether a session may still be used."""
    return now - session.created_at < policy.session_age and now - session.last_used_at < policy.session_idle


def digest_of(token: str) -> str:
    """What is stored of a 256-bit token: a plain digest is enough for a value nobody can guess."""
    return hashlib.sha256(token.encode()).hexdigest()
