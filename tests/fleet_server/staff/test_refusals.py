"""Refusals in the trail: who tried what is there, and nobody can fill the disk with it."""

from __future__ import annotations

import asyncio

from fleet_server.staff.model import Policy
from fleet_server.staff.permissions import Role
from fleet_server.staff.ports import AuditEntry
from fleet_server.staff.refusals import _KEPT_MAX, STRANGERS_MAX, RefusalLimit
from kit.clock import ManualClock
from support.staff import Desk
from support.staff_site import StaffSite

POLICY = Policy()


class Trail:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


def refused(actor: str, action: str = "users.users", source: str = "10.0.0.7") -> AuditEntry:
    return AuditEntry(actor, action, None, "refused", {"code": "forbidden"}, source)


async def test_one_row_a_person_action_and_minute_and_the_next_says_how_many_are_missing() -> None:
    clock, trail = ManualClock(), Trail()
    limit = RefusalLimit(trail, clock)
    for number in range(50):
        await limit.record(refused("viewer", source=f"10.0.0.{number}"))
    await limit.record(refused("viewer", "kiosks.revoke"))
    await limit.record(refused("engineer"))
    assert len(trail.entries) == 3
    clock.advance(60)
    await limit.record(refused("viewer"))
    assert trail.entries[-1].fields == {"code": "forbidden", "left_out": 49}
    clock.advance(60)
    await limit.record(refused("viewer"))
    assert trail.entries[-1].fields == {"code": "forbidden"}


async def test_what_was_done_is_always_kept() -> None:
    trail = Trail()
    limit = RefusalLimit(trail, ManualClock())
    for _ in range(50):
        await limit.record(AuditEntry("chief", "users.patch_user", None, "ok"))
    assert len(trail.entries) == 50


async def test_strangers_share_one_limit_whatever_addresses_they_take() -> None:
    clock, trail = ManualClock(), Trail()
    limit = RefusalLimit(trail, clock)
    for number in range(20_000):
        await limit.record(refused("anonymous", f"op-{number % 40}", f"2001:db8::{number:x}"))
    assert len(trail.entries) == STRANGERS_MAX
    assert len(limit._windows) <= _KEPT_MAX
    await limit.record(refused("viewer"))
    assert trail.entries[-1].actor == "viewer"
    clock.advance(60)
    await limit.record(refused("anonymous"))
    assert len(trail.entries) == STRANGERS_MAX + 2


async def test_a_clock_that_was_put_back_opens_a_new_window() -> None:
    clock, trail = ManualClock(), Trail()
    limit = RefusalLimit(trail, clock)
    await limit.record(refused("viewer"))
    clock.jump_wall(-86_400)
    await limit.record(refused("viewer"))
    assert len(trail.entries) == 2


async def test_a_denied_look_is_in_the_trail_with_its_name(staff: StaffSite) -> None:
    await staff.adds("viewer", Role.VIEWER)
    viewer = await staff.session("viewer")
    for _ in range(10):
        assert (await staff.call("GET", "/api/v1/users", session=viewer)).code == "forbidden"
        assert (await staff.call("GET", "/api/v1/audit", session=viewer)).code == "forbidden"
        assert (await staff.call("GET", "/api/v1/users")).code == "unauthenticated"
    assert await staff.actions() == [("viewer", "users.users", "refused"), ("viewer", "audit.audit", "refused")]
    staff.clock.advance(60)
    viewer = await staff.session("viewer")
    await staff.call("GET", "/api/v1/users", session=viewer)
    (row,) = await staff.audit.rows(after_no=2, limit=10)
    assert row.fields == {"status": 403, "path": "/api/v1/users", "code": "forbidden", "left_out": 9}


async def test_a_lock_out_is_in_the_trail(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("engineer", Role.ENGINEER)
    form = desk.login("engineer", "wrong-password")
    for _ in range(POLICY.lock_after + 2):
        await asyncio.gather(desk.service.sign_in(form, "10.0.0.7"), return_exceptions=True)  # noqa: TID251 - a refusal is expected
    rows = await desk.audit.rows(after_no=0, limit=100, action="account_locked")
    assert [(row.actor, row.source) for row in rows] == [("engineer", "10.0.0.7")]


async def test_what_the_guard_turns_away_is_counted_by_reason(staff: StaffSite) -> None:
    await staff.adds("chief", Role.SECURITY_ADMIN)
    session = await staff.session("chief")
    wrong_page = {"Origin": "https://evil.example"}
    await staff.call("DELETE", "/api/v1/sessions/x", session=session, headers=wrong_page)
    await staff.call("DELETE", "/api/v1/sessions/x", headers={"Cookie": f"session={session}"})
    await staff.call("GET", "/api/v1/health", headers={"Host": "evil.example"})
    await staff.call("GET", "/api/v1/users")
    page = (await staff.call("GET", "/metrics")).body.decode()
    for reason in ("origin_refused", "csrf_header_required", "host_unknown"):
        assert f'fleet_http_refused_total{{reason="{reason}",server="api"}} 1.0' in page
    assert 'fleet_http_requests_total{operation="users.users",status="401"} 1.0' in page
