"""Who may do what: every operation of the API with every role, from the one permission table, over real HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fleet_server.app import openapi_document
from fleet_server.settings import Settings
from fleet_server.staff.model import ApiToken
from fleet_server.staff.permissions import GRANTS, Permission, Role
from fleet_server.staff.rules import digest_of
from kit.clock import ManualClock
from kit.web import SIGNED_IN
from support.staff_site import Answer, StaffSite, staff_site

PUBLIC = {
    ("POST", "/api/v1/ack"),
    ("POST", "/api/v1/ack/look"),
    ("POST", "/api/v1/auth/first-admin"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/recover"),
    ("POST", "/api/v1/auth/recovery"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/health/alerting"),
}
"""Operations for people who are not signed in. A new one belongs here only after a review."""

DOCUMENT = openapi_document(Settings(), ManualClock())
OPERATIONS: list[tuple[str, str, str | None]] = [
    (method.upper(), path, operation.get("x-permission"))
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
BEHIND_THE_DOCUMENT = [("GET", "/api/v1/live", Permission.LIVE_READ.value)]
CELLS = OPERATIONS + BEHIND_THE_DOCUMENT
BODIES = ("POST", "PUT", "PATCH")


def allowed(permission: str | None, role: Role | None) -> bool:
    """The table's answer."""
    if permission is None:
        return True
    return role is not None and (permission == SIGNED_IN or permission in GRANTS[role])


def expected_code(permission: str | None, role: Role | None) -> tuple[int, str] | None:
    """What a caller is refused with, None when let in."""
    if allowed(permission, role):
        return None
    return (401, "unauthenticated") if role is None else (403, "forbidden")


def refusal(answer: Answer) -> tuple[int, str] | None:
    """Whether the door was closed; what a handler says behind it (404, 409, 422…) is not its business."""
    found = (answer.status, answer.code or "")
    return found if found in {(401, "unauthenticated"), (403, "forbidden"), (401, "unauthorized")} else None


@pytest.fixture
async def peopled(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Give a site with one person of every role."""
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
        for role in Role:
            await site.adds(role.value.replace("_", "-"), role)
        yield site


async def _ask(site: StaffSite, method: str, path: str, **caller: Any) -> Answer:  # noqa: ANN401 - session or token
    target = re.sub(r"\{\w+\}", "no-such-thing", path)
    return await site.call(method, target, body={} if method in BODIES else None, **caller)


def test_the_document_has_operations() -> None:
    assert len(OPERATIONS) >= 30


@pytest.mark.parametrize(("method", "path", "permission"), OPERATIONS, ids=str)
def test_every_operation_is_in_the_table_or_on_the_public_list(method: str, path: str, permission: str | None) -> None:
    if (method, path) in PUBLIC:
        assert permission is None
    else:
        assert permission == SIGNED_IN or permission in set(Permission), f"{method} {path} asks for {permission}"


def test_every_permission_is_asked_for_and_given_to_somebody() -> None:
    asked = {permission for _, _, permission in CELLS}
    assert set(Permission) <= asked
    assert set(Permission) == {permission for granted in GRANTS.values() for permission in granted}
    assert set(GRANTS) == set(Role)


def test_the_three_administrations_are_separate() -> None:
    system, security, audit = GRANTS[Role.SYSTEM_ADMIN], GRANTS[Role.SECURITY_ADMIN], GRANTS[Role.AUDITOR]
    assert Permission.USERS_MANAGE not in system
    assert Permission.AUDIT_READ not in system | security
    assert audit == {Permission.AUDIT_READ, Permission.TOKENS_OWN}
    assert Permission.KIOSKS_ENROL not in security


@pytest.mark.timeout(60)
@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: "nobody" if role is None else str(role))
async def test_the_matrix_by_session(peopled: StaffSite, role: Role | None) -> None:
    wrong = []
    for method, path, permission in CELLS:
        caller = {} if role is None else {"session": await peopled.session(role.value.replace("_", "-"))}
        answer = await _ask(peopled, method, path, **caller)
        expected = expected_code(permission, role)
        is_right = refusal(answer) == expected and answer.status < 500
        if path == "/api/v1/live" and expected is not None:
            is_right = answer.status == expected[0]
        if not is_right:
            wrong.append((method, path, permission, answer.status, answer.code))
    assert not wrong, wrong


@pytest.mark.timeout(60)
async def test_a_token_opens_exactly_its_permissions(peopled: StaffSite) -> None:
    """One token a permission, owned by somebody who has it: every other door stays closed."""
    wrong = []
    for granted in Permission:
        owner = next(role for role in Role if granted in GRANTS[role]).value.replace("_", "-")
        now, secret = peopled.clock.utc(), f"kft_{granted}"
        expiry = now.replace(year=now.year + 1)
        await peopled.store.add_token(
            ApiToken(granted.value, owner, digest_of(secret), "t", frozenset({granted.value}), now, expiry)
        )
        for method, path, permission in OPERATIONS:
            answer = await _ask(peopled, method, path, token=secret)
            is_open = permission in {None, SIGNED_IN, granted.value}
            if refusal(answer) != (None if is_open else (403, "forbidden")) or answer.status >= 500:
                wrong.append((granted, method, path, answer.status, answer.code))
    assert not wrong, wrong


@pytest.mark.parametrize("token", ["", "x", "kft_", "kft_forged", "é", "'; DROP TABLE staff_user; --"])
async def test_a_forged_token_opens_nothing(peopled: StaffSite, token: str) -> None:
    for method, path, permission in OPERATIONS:
        if permission is not None:
            answer = await _ask(peopled, method, path, token=token)
            assert (answer.status, answer.code) == (401, "unauthenticated"), (method, path)
