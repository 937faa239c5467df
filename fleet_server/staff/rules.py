"""Rules of signing in, without any I/O: passwords, one-time codes, lock-out, session ages."""

from __future__ import annotations

import hashlib
import string
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pyotp

from fleet_server.errors import Refusal
from fleet_server.staff.model import Session, User

TOTP_STEP_S: Final = 30
TOTP_DRIFT_STEPS: Final = 1
LOCK_AFTER: Final = 5
LOCK_FOR: Final = timedelta(minutes=15)
SESSION_IDLE: Final = timedelta(minutes=15)
SESSION_AGE: Final = timedelta(hours=8)
REMEMBERED_PASSWORDS: Final = 5
RECOVERY_LIFE: Final = timedelta(hours=24)
"""Handed over by an administrator: the person may be on another shift."""
CONSOLE_RECOVERY_LIFE: Final = timedelta(hours=1)
"""Printed on the server's own screen: whoever asked for it stands there."""
LONG: Final = 12
SHORT: Final = 10
CLASSES: Final = 3
ISSUER: Final = "自助机管理"
# Words people reach for when a policy asks for length: checked as substrings, lower case.
_BLOCKED: Final = ("password", "passw0rd", "qwerty", "12345678", "abcdefgh", "iloveyou", "welcome1", "administrator")


def check_password(password: str, username: str) -> None:
    """Accept a new password.

    Raises:
        Refusal: too short, too plain, or built on a word everybody tries first.
    """
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    classes = sum(any(character in kind for character in password) for kind in kinds)
    classes += any(character not in "".join(kinds) for character in password)
    if len(password) < SHORT or (len(password) < LONG and classes < CLASSES):
        raise Refusal(
            "password_too_weak", f"At least {LONG} characters, or {SHORT} with three kinds of characters", status=422
        )
    lower = password.lower()
    if username in lower or any(word in lower for word in _BLOCKED) or len(set(password)) < SHORT // 2:
        raise Refusal("password_too_common", "This password is one of those that are tried first", status=422)


def accepted_step(secret: str, code: str, last_step: int, now: datetime) -> int | None:
    """The 30-second step whose code this is (RFC 6238), None when wrong, too old, or used before."""
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // TOTP_STEP_S
    for step in range(current - TOTP_DRIFT_STEPS, current + TOTP_DRIFT_STEPS + 1):
        if step > last_step and pyotp.utils.strings_equal(totp.generate_otp(step), code):
            return step
    return None


def totp_uri(username: str, secret: str) -> str:
    """What an authenticator app scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=ISSUER)


def is_locked(user: User, now: datetime) -> bool:
    """Whether the account takes no sign-in right now."""
    return user.locked_until is not None and now < user.locked_until


def lock_after_failure(failures: int, now: datetime) -> datetime | None:
    """Until when the account is locked after that many failures in a row."""
    return now + LOCK_FOR if failures % LOCK_AFTER == 0 else None


def with_password(user: User, encoded: str, now: datetime) -> User:
    """The account with a new password; the ones before it are remembered."""
    kept = (user.password_hash, *user.earlier_hashes)[: REMEMBERED_PASSWORDS - 1]
    return replace(user, password_hash=encoded, earlier_hashes=kept, password_changed_at=now)


def takes_sign_in(user: User, now: datetime) -> bool:
    """Whether password and code may open the account at all right now."""
    return user.is_active and user.recovery is None and not is_locked(user, now)


def is_alive(session: Session, now: datetime) -> bool:
    """Whether a session may still be used."""
    return now - session.created_at < SESSION_AGE and now - session.last_used_at < SESSION_IDLE


def digest_of(token: str) -> str:
    """What is stored of a 256-bit token: a plain digest is enough for a value nobody can guess."""
    return hashlib.sha256(token.encode()).hexdigest()
