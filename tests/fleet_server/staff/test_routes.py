"""Staff over real HTTP: cookies, foreign pages, the audit trail of every attempt, exports."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path

import pyotp
import pytest

from fleet_server.staff.permissions import FIRST_ADMIN_ROLES, Role
from fleet_server.staff.ports import AuditEntry
from fleet_server.staff.routes import _cell
from kit.clock import ManualClock
from support.staff import GOOD, TOKEN
from support.staff_site import PAGE, StaffSite, staff_site

FOREIGN = "https://evil.example"


async def test_the_way_of_the_first_administrator(staff: StaffSite) -> None:
    form = {"token": TOKEN, "username": "chief", "password": GOOD, "display_name": "主任"}
    made = await staff.call("POST", "/api/v1/auth/first-admin", body=form)
    assert made.status == 200
    assert (await staff.call("POST", "/api/v1/auth/first-admin", body=form)).code == "token_refused"
    code = pyotp.TOTP(made.document["totp_secret"]).at(staff.clock.utc())
    login = {"username": "chief", "password": GOOD, "totp": code}
    opened = await staff.call("POST", "/api/v1/auth/login", body=login)
    assert opened.status == 200
    assert opened.document["roles"] == [role.value for role in FIRST_ADMIN_ROLES]
    again = await staff.call("POST", "/api/v1/auth/login", body=login)
    assert (again.status, again.code) == (401, "sign_in_refused")
    (cookie,) = opened.cookies
    session = cookie.partition("=")[2].partition(";")[0]
    me = await staff.call("GET", "/api/v1/auth/me", session=session)
    assert me.document["username"] == "chief"
    out = await staff.call("POST", "/api/v1/auth/logout", session=session)
    assert out.status == 204
    assert "Max-Age=0" in out.cookies[0]
    assert (await staff.call("GET", "/api/v1/auth/me", session=session)).status == 401


@pytest.mark.parametrize(
    ("public_url", "name", "is_secure"),
    [(None, "session", False), ("https://kiosks.hospital.example", "__Host-session", True)],
)
async def test_the_cookie(
    sqlite_fleet_url: str,
    manual_clock: ManualClock,
    tmp_path: Path,
    public_url: str | None,
    name: str,
    is_secure: bool,
) -> None:
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path, public_url=public_url) as site:
        await site.adds("engineer", Role.ENGINEER)
        answer = await site.call("POST", "/api/v1/auth/login", body=site.login("engineer"))
        (cookie,) = answer.cookies
        head, *flags = cookie.split("; ")
        assert head.partition("=")[0] == name
        assert len(head.partition("=")[2]) >= 43
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
        assert ("Secure" in flags) is is_secure
        assert not [flag for flag in flags if flag.startswith("Domain")]
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": FOREIGN}, "origin_refused"),
        ({"Origin": "null"}, "origin_refused"),
        ({"X-Requested-By": ""}, None),
        ({}, None),
        ({"Host": "evil.example"}, "host_unknown"),
    ],
)
async def test_a_foreign_page_changes_nothing(staff: StaffSite, headers: dict[str, str], code: str | None) -> None:
    await staff.adds("admin", Role.SECURITY_ADMIN)
    session = await staff.session("admin")
    answer = await staff.call("POST", "/api/v1/auth/logout", session=session, headers=headers)
    assert answer.code == code
    alive = await staff.call("GET", "/api/v1/auth/me", session=session)
    assert (alive.status == 200) is (code is not None)


async def test_a_request_on_a_cookie_needs_the_header_of_our_page(staff: StaffSite) -> None:
    await staff.adds("admin", Role.SECURITY_ADMIN)
    session = await staff.session("admin")
    answer = await staff.call("POST", "/api/v1/auth/logout", headers={"Cookie": f"session={session}"})
    assert (answer.status, answer.code) == (403, "csrf_header_required")
    form = await staff.http.post(
        f"{staff.url}/api/v1/users", data={"username": "x"}, headers={"Cookie": f"session={session}", **PAGE}
    )
    assert form.status == 415


async def test_every_attempted_change_is_in_the_trail_once(staff: StaffSite) -> None:
    await staff.adds("admin", Role.SECURITY_ADMIN)
    await staff.adds("viewer", Role.VIEWER)
    admin, viewer = await staff.session("admin"), await staff.session("viewer")
    user = {"username": "fresh", "password": GOOD, "display_name": "新", "roles": ["engineer"]}
    wrong = {**staff.login("viewer"), "password": "wrong-password"}
    change = {"current": "wrong-password", "new": "Green-Door-001"}
    await staff.call("POST", "/api/v1/users", body=user)
    await staff.call("POST", "/api/v1/users", body=user, session=viewer)
    await staff.call("POST", "/api/v1/users", body=user, session=admin)
    await staff.call("POST", "/api/v1/users", body=user, session=admin)
    await staff.call("PATCH", "/api/v1/users/fresh", body={"is_active": False}, session=admin)
    await staff.call("POST", "/api/v1/auth/login", body=wrong)
    await staff.call("POST", "/api/v1/auth/login", body={"username": "viewer"})
    await staff.call("POST", "/api/v1/auth/login", body=staff.login("viewer"))
    await staff.call("POST", "/api/v1/auth/password", body=change, session=viewer)
    await staff.call("POST", "/api/v1/auth/password", body={**change, "current": GOOD}, session=viewer)
    viewer = await staff.session("viewer")
    await staff.call("POST", "/api/v1/kiosks/k-0001/revoke", body={"reason": "lost"}, session=viewer)
    await staff.call("GET", "/api/v1/users", session=admin)
    assert await staff.actions() == [
        ("anonymous", "users.add_user", "refused"),
        ("viewer", "users.add_user", "refused"),
        ("admin", "users.add_user", "ok"),
        ("admin", "users.add_user", "refused"),
        ("admin", "users.patch_user", "ok"),
        ("viewer", "sign_in", "refused"),
        ("anonymous", "auth.login", "refused"),
        ("viewer", "sign_in", "ok"),
        ("viewer", "auth.password", "refused"),
        ("viewer", "change_password", "ok"),
        ("viewer", "kiosk_states.revoke", "refused"),
    ]
    assert GOOD not in repr(await staff.audit.rows(after_no=0, limit=100))


async def test_input_that_no_store_takes_is_refused_not_an_incident(staff: StaffSite) -> None:
    await staff.adds("chief", *FIRST_ADMIN_ROLES)
    session = await staff.session("chief")
    nul = {"username": "a\x00b", "password": GOOD, "totp": "123456"}
    assert (await staff.call("POST", "/api/v1/auth/login", body=nul)).status == 422
    for query in ("since=2026-01-01T00:00:00", "cursor=99999999999999999999", "actor=%00", "limit=0", "x=1"):
        assert (await staff.call("GET", f"/api/v1/audit?{query}", session=session)).status == 422, query
    assert (await staff.call("GET", "/api/v1/audit?since=2026-01-01T00:00:00Z", session=session)).status == 200
    for path in ("/api/v1/users/%00", "/api/v1/users/..%2f..%2fetc", "/api/v1/users/%ff"):
        answer = await staff.call("PATCH", path, body={"unlock": True}, session=session)
        assert 400 <= answer.status < 500, path


async def test_the_trail_is_read_page_by_page_and_filtered(staff: StaffSite) -> None:
    await staff.adds("auditor", Role.AUDITOR)
    session = await staff.session("auditor")
    trail = staff.server.core.auditor
    for number in range(25):
        await trail.record(AuditEntry("chief" if number % 5 else "other", "x", f"k-{number:04d}", "ok"))
    numbers: list[int] = []
    cursor = ""
    while True:
        page = (await staff.call("GET", f"/api/v1/audit?limit=10{cursor}", session=session)).document
        numbers += [item["no"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert numbers == list(range(25, 0, -1))
    found = await staff.call("GET", "/api/v1/audit?actor=other", session=session)
    assert [item["no"] for item in found.document["items"]] == [21, 16, 11, 6, 1]
    chain = (await staff.call("GET", "/api/v1/audit/chain", session=session)).document
    assert (chain["is_whole"], chain["head_no"]) == (True, 25)
    noted = f"no={chain['head_no']}&chain={'0' * 64}"
    other = (await staff.call("GET", f"/api/v1/audit/chain?{noted}", session=session)).document
    assert (other["is_whole"], other["first_bad_no"]) == (False, 25)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_spreadsheet_runs_no_cell(start: str) -> None:
    assert _cell(f"{start}cmd|' /C calc'!A0").startswith("'")
    assert _cell(f"ok {start}") == f"ok {start}"


async def test_the_export_is_complete_and_harmless(staff: StaffSite) -> None:
    await staff.adds("auditor", Role.AUDITOR)
    session = await staff.session("auditor")
    for number in range(5):
        entry = AuditEntry("=HYPERLINK(1)", "x", '+1,"2"\r\n@3', "ok", {"n": number}, "127.0.0.1")
        await staff.server.core.auditor.record(entry)
    first = await staff.call("GET", "/api/v1/audit.csv?limit=3", session=session)
    assert first.headers["X-Next-After"] == "3"
    assert first.headers["Content-Disposition"].startswith("attachment")
    rest = await staff.call("GET", "/api/v1/audit.csv?after=3&limit=3", session=session)
    assert "X-Next-After" not in rest.headers
    rows = list(csv.DictReader(io.StringIO(first.body.decode("utf-8-sig"), newline="")))
    assert [row["no"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["actor"] == "'=HYPERLINK(1)"
    assert rows[0]["target"] == '\'+1,"2"\r\n@3'
    assert rows[2]["fields"] == '{"n": 2}'


async def test_an_administrator_manages_accounts_and_sessions(staff: StaffSite) -> None:
    await staff.adds("admin", Role.SECURITY_ADMIN)
    admin = await staff.session("admin")
    user = {"username": "engineer", "password": GOOD, "display_name": "工", "roles": ["engineer"]}
    made = await staff.call("POST", "/api/v1/users", body=user, session=admin)
    assert made.status == 201
    assert made.document["totp_secret"] in made.document["totp_uri"]
    assert "password" not in made.document
    listed = (await staff.call("GET", "/api/v1/users", session=admin)).document
    assert [item["username"] for item in listed["items"]] == ["admin", "engineer"]
    assert "totp_secret" not in listed["items"][0]
    await staff.session("engineer")
    sessions = (await staff.call("GET", "/api/v1/sessions", session=admin)).document["items"]
    assert sorted((item["username"], item["is_own"]) for item in sessions) == [("admin", True), ("engineer", False)]
    other = next(item["id"] for item in sessions if not item["is_own"])
    assert (await staff.call("DELETE", f"/api/v1/sessions/{other}", session=admin)).status == 204
    assert (await staff.call("DELETE", f"/api/v1/sessions/{other}", session=admin)).status == 404
    for odd in ({"role": "x"}, {"roles": ["god"]}, {"password_hash": "x"}, {"is_active": "maybe"}):
        assert (await staff.call("PATCH", "/api/v1/users/engineer", body=odd, session=admin)).status == 422


async def test_an_api_token_over_http(staff: StaffSite) -> None:
    await staff.adds("engineer", Role.ENGINEER)
    session = await staff.session("engineer")
    body = {"name": "kioskctl", "permissions": ["kiosks.read"], "days": 1}
    made = await staff.call("POST", "/api/v1/tokens", body=body, session=session)
    assert made.status == 201
    token = made.document["token"]
    me = await staff.call("GET", "/api/v1/auth/me", token=token)
    assert me.document["permissions"] == ["kiosks.read"]
    listed = await staff.call("GET", "/api/v1/tokens", session=session)
    assert token.encode() not in listed.body
    assert (await staff.call("DELETE", f"/api/v1/tokens/{made.document['id']}", session=session)).status == 204
    assert (await staff.call("GET", "/api/v1/auth/me", token=token)).status == 401


async def test_many_wrong_sign_ins_at_once_give_one_kind_of_answer(staff: StaffSite) -> None:
    await staff.adds("engineer", Role.ENGINEER)
    right = staff.login("engineer")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(staff.call("POST", "/api/v1/auth/login", body=right)) for _ in range(3)]
    assert sorted(task.result().status for task in tasks) == [200, 401, 401]
