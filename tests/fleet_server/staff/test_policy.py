"""The security policy and the spare codes: what is set holds at once, and nothing opens what it should not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fleet_server.errors import Refusal
from fleet_server.staff.model import (
    LoginForm,
    PasswordForm,
    Policy,
    PolicyForm,
    RecoverForm,
    Reset,
    SpareCodesForm,
    UserForm,
)
from fleet_server.staff.permissions import Role
from fleet_server.staff.policies import FRESH_S, Policies
from fleet_server.staff.recovery import CONSOLE, Asker
from fleet_server.staff.store import PolicyStore
from support.staff import GOOD, SOURCE, Desk
from support.staff_site import StaffSite

OTHER = "Quiet-River-77"


def form(version: int = 0, **changed: int) -> PolicyForm:
    return PolicyForm(**{**Policy().model_dump(), **changed}, version=version)


async def refused(awaitable: Any) -> str:  # noqa: ANN401 - whatever is awaited
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value.code


async def test_the_defaults_hold_until_somebody_sets_a_policy(desk: Desk) -> None:
    view = await desk.service.policies.view()
    assert (view.version, view.changed_by) == (0, None)
    assert await desk.service.policies.now() == Policy()


async def test_a_set_policy_is_kept_with_its_author_and_is_in_the_audit_trail(desk: Desk) -> None:
    await desk.first_admin()
    after = await desk.service.policies.set(form(lock_after=3, idle_minutes=30), "chief", SOURCE)
    assert (after.version, after.lock_after, after.changed_by) == (1, 3, "chief")
    assert await desk.service.policies.now() == Policy(lock_after=3, idle_minutes=30)
    row = (await desk.audit.rows(limit=1))[0]
    assert (row.action, row.fields) == ("policy_set", {"lock_after": "5 -> 3", "idle_minutes": "15 -> 30"})


async def test_who_looked_at_an_older_policy_sets_nothing(desk: Desk) -> None:
    await desk.first_admin()
    await desk.service.policies.set(form(lock_after=3), "chief", SOURCE)
    assert await refused(desk.service.policies.set(form(lock_after=9), "chief", SOURCE)) == "policy_changed"
    assert (await desk.service.policies.view()).lock_after == 3


async def test_another_process_follows_within_seconds(desk: Desk) -> None:
    await desk.first_admin()
    other = Policies(PolicyStore(desk.store._database), desk.trail, desk.clock)
    assert (await other.now()).lock_after == 5
    await desk.service.policies.set(form(lock_after=3), "chief", SOURCE)
    desk.clock.advance(FRESH_S)
    assert (await other.now()).lock_after == 3


@pytest.mark.parametrize(
    "change",
    [{"password_length": 4}, {"lock_after": 0}, {"lock_after": 1000}, {"idle_minutes": 0}, {"session_hours": 1000}],
    ids=str,
)
def test_no_policy_is_weaker_than_its_bounds(change: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        form(**change)


async def test_passwords_are_held_to_the_policy_in_force(desk: Desk) -> None:
    await desk.first_admin()
    await desk.service.policies.set(form(password_length=20, password_length_mixed=18), "chief", SOURCE)
    account = UserForm(username="wang", password=GOOD, display_name="Wang", roles=[Role.ENGINEER])
    assert await refused(desk.service.add_user(account)) == "password_too_weak"
    chief = await desk.principal("chief")
    change = PasswordForm(current=GOOD, new=OTHER)
    assert await refused(desk.service.change_password(chief, change, SOURCE)) == "password_too_weak"


async def test_accounts_are_locked_as_the_policy_says(desk: Desk) -> None:
    await desk.first_admin()
    await desk.service.policies.set(form(lock_after=3, lock_minutes=60), "chief", SOURCE)
    for _ in range(3):
        assert await refused(desk.service.sign_in(desk.login("chief", "wrong-wrong"), SOURCE)) == "sign_in_refused"
    desk.clock.advance(timedelta(minutes=59).total_seconds())
    assert await refused(desk.service.sign_in(desk.login("chief"), SOURCE)) == "sign_in_refused"
    desk.clock.advance(60)
    assert await desk.signs_in("chief")


async def test_sessions_end_as_the_policy_says(desk: Desk) -> None:
    await desk.first_admin()
    await desk.service.policies.set(form(idle_minutes=5), "chief", SOURCE)
    token = await desk.signs_in("chief")
    desk.clock.advance(timedelta(minutes=5).total_seconds() - 1)
    assert await desk.service.by_session(token) is not None
    desk.clock.advance(timedelta(minutes=5).total_seconds())
    assert await desk.service.by_session(token) is None


async def test_a_password_that_is_too_old_opens_only_with_a_new_one(desk: Desk) -> None:
    await desk.first_admin()
    desk.clock.advance(timedelta(days=180).total_seconds())
    assert await refused(desk.service.sign_in(desk.login("chief"), SOURCE)) == "password_expired"
    login = desk.login("chief").model_copy(update={"new_password": OTHER})
    assert await refused(desk.service.sign_in(login.model_copy(update={"new_password": "short"}), SOURCE)) == (
        "password_too_weak"
    )
    assert await refused(desk.service.sign_in(login.model_copy(update={"new_password": GOOD}), SOURCE)) == (
        "password_used_before"
    )
    _, token = await desk.service.sign_in(login, SOURCE)
    assert await desk.service.by_session(token) is not None
    desk.clock.advance(30)
    assert await refused(desk.service.sign_in(desk.login("chief", GOOD), SOURCE)) == "sign_in_refused"
    _, token = await desk.service.sign_in(desk.login("chief", OTHER), SOURCE)


async def test_an_old_password_tells_nobody_whether_it_is_right(desk: Desk) -> None:
    """Without the second factor the answer is the one of every refusal, whatever new password is offered."""
    await desk.first_admin()
    desk.clock.advance(timedelta(days=180).total_seconds())
    for password in (GOOD, "wrong-wrong-1"):
        login = LoginForm(username="chief", password=password, totp="000000", new_password="short")
        assert await refused(desk.service.sign_in(login, SOURCE)) == "sign_in_refused"


async def test_a_new_password_is_left_alone_while_the_present_one_is_good(desk: Desk) -> None:
    await desk.first_admin()
    desk.clock.advance(30)
    await desk.service.sign_in(desk.login("chief").model_copy(update={"new_password": OTHER}), SOURCE)
    desk.clock.advance(30)
    await desk.service.sign_in(desk.login("chief", GOOD), SOURCE)


async def _codes(desk: Desk) -> list[str]:
    desk.clock.advance(30)
    given = SpareCodesForm(password=GOOD, totp=desk.code("chief"))
    return (await desk.service.renew_spare_codes(await desk.principal("chief"), given, SOURCE)).codes


async def test_a_spare_code_opens_once(desk: Desk) -> None:
    await desk.first_admin()
    codes = await _codes(desk)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}", code) for code in codes)
    assert len((await desk.service.user("chief")).spare_codes) == 10
    await desk.service.sign_in(desk.login("chief", code=codes[3]), SOURCE)
    assert await refused(desk.service.sign_in(desk.login("chief", code=codes[3]), SOURCE)) == "sign_in_refused"
    await desk.service.sign_in(desk.login("chief", code=codes[4]), SOURCE)
    assert len((await desk.service.user("chief")).spare_codes) == 8
    kept = str(await desk.service.user("chief"))
    assert not any(code in kept for code in codes)


async def test_fresh_spare_codes_end_the_ones_before(desk: Desk) -> None:
    await desk.first_admin()
    old, fresh = await _codes(desk), await _codes(desk)
    assert await refused(desk.service.sign_in(desk.login("chief", code=old[0]), SOURCE)) == "sign_in_refused"
    await desk.service.sign_in(desk.login("chief", code=fresh[0]), SOURCE)


@pytest.mark.parametrize(("password", "code"), [("wrong-wrong-1", None), (GOOD, "000000")])
async def test_spare_codes_take_both_factors(desk: Desk, password: str, code: str | None) -> None:
    await desk.first_admin()
    desk.clock.advance(30)
    given = SpareCodesForm(password=password, totp=code or desk.code("chief"))
    assert await refused(desk.service.renew_spare_codes(await desk.principal("chief"), given, SOURCE)) == "proof_wrong"
    assert (await desk.service.user("chief")).spare_codes == ()


async def test_a_second_factor_that_is_replaced_takes_its_spare_codes_with_it(desk: Desk) -> None:
    await desk.first_admin()
    codes = await _codes(desk)
    issued = await desk.issuing.issue("chief", Reset.TOTP, Asker(CONSOLE, CONSOLE))
    await desk.recovery.redeem(RecoverForm(token=issued.token, password=GOOD), SOURCE)
    assert await refused(desk.service.sign_in(desk.login("chief", code=codes[0]), SOURCE)) == "sign_in_refused"


async def test_the_policy_over_http(staff: StaffSite) -> None:
    await staff.adds("guard", Role.SECURITY_ADMIN)
    await staff.adds("worker", Role.ENGINEER)
    guard, worker = await staff.session("guard"), await staff.session("worker")
    read = await staff.call("GET", "/api/v1/security/policy", session=worker)
    assert (read.status, read.document["version"], read.document["lock_after"]) == (200, 0, 5)
    body = form(lock_after=4).model_dump()
    assert (await staff.call("PUT", "/api/v1/security/policy", body=body, session=worker)).status == 403
    done = await staff.call("PUT", "/api/v1/security/policy", body=body, session=guard)
    assert (done.status, done.document["changed_by"], done.document["version"]) == (200, "guard", 1)
    again = await staff.call("PUT", "/api/v1/security/policy", body=body, session=guard)
    assert (again.status, again.code) == (409, "policy_changed")
    weak = await staff.call("PUT", "/api/v1/security/policy", body={**body, "password_length": 3}, session=guard)
    assert weak.status == 422
