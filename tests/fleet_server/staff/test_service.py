"""Signing in and managing accounts, on both stores."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from fleet_server.errors import Refusal
from fleet_server.staff.model import LoginForm, PasswordForm, Policy, StaffPrincipal, TokenForm, UserForm, UserPatch
from fleet_server.staff.permissions import FIRST_ADMIN_ROLES, Permission, Role, permissions_of
from support.staff import GOOD, SOURCE, TOKEN, Desk

POLICY = Policy()

REFUSED = ("sign_in_refused", 401)


async def refusal(work: object) -> tuple[str, int]:
    """The code and status something is refused with."""
    with pytest.raises(Refusal) as refused:
        await work  # type: ignore[misc]  # any coroutine
    return refused.value.code, refused.value.status


async def test_the_first_administrator_is_made_once_by_the_token(desk: Desk) -> None:
    assert await refusal(desk.first_admin(token="wrong-token")) == ("token_refused", 403)
    setup = await desk.first_admin()
    assert setup.totp_secret in setup.totp_uri
    assert (await desk.service.user("chief")).roles == FIRST_ADMIN_ROLES
    assert not desk.token_file.exists()
    assert await refusal(desk.first_admin("second")) == ("token_refused", 403)
    desk.token_file.write_text(TOKEN)
    assert await refusal(desk.first_admin("second")) == ("already_set_up", 403)
    assert [user.username for user in await desk.service.users()] == ["chief"]


async def test_two_first_administrators_at_once_are_one(desk: Desk) -> None:
    results: list[str] = []

    async def attempt(name: str) -> None:
        try:
            await desk.first_admin(name)
            results.append("made")
        except Refusal as refused:
            results.append(refused.code)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(attempt(f"chief{number}"))
    assert results.count("made") == 1
    assert set(results) <= {"made", "already_set_up", "token_refused"}
    assert len(await desk.service.users()) == 1


async def test_a_weak_password_does_not_use_the_token_up(desk: Desk) -> None:
    desk.token_file.write_text(TOKEN)
    with pytest.raises(Refusal):
        await desk.service.add_user(UserForm(username="short", password="short", display_name="s", roles=[Role.VIEWER]))
    assert desk.token_file.exists()
    await desk.first_admin()


async def test_every_refusal_of_a_sign_in_looks_the_same_and_hashes_once(desk: Desk) -> None:
    await desk.first_admin()
    for name in ("engineer", "locked", "disabled"):
        await desk.adds(name, Role.ENGINEER)
    chief = await desk.principal("chief")
    await desk.service.patch_user("disabled", UserPatch(is_active=False), chief)
    for _ in range(POLICY.lock_after):
        await refusal(desk.service.sign_in(desk.login("locked", "wrong-password"), SOURCE))
    forms = {
        "unknown": LoginForm(username="nobody", password=GOOD, totp="000000"),
        "unknown, odd": LoginForm(username="' OR 1=1 --", password=GOOD, totp="000000"),
        "password": desk.login("engineer", "wrong-password"),
        "code": desk.login("engineer", code=f"{(int(desk.code('engineer')) + 1) % 10**6:06d}"),
        "locked": desk.login("locked"),
        "disabled": desk.login("disabled"),
    }
    seen = {}
    for case, form in forms.items():
        desk.hasher.verified.clear()
        with pytest.raises(Refusal) as refused:
            await desk.service.sign_in(form, SOURCE)
        seen[case] = (str(refused.value), refused.value.code, refused.value.status, len(desk.hasher.verified))
    assert len(set(seen.values())) == 1, seen
    assert seen["unknown"][1:] == ("sign_in_refused", 401, 1)
    assert await desk.service.sessions() == []


async def test_a_name_nobody_has_is_not_kept(desk: Desk) -> None:
    await desk.first_admin()
    secret = "My-Secret-Typed-Too-Early"
    await refusal(desk.service.sign_in(LoginForm(username=secret, password=GOOD, totp="000000"), SOURCE))
    rows = await desk.audit.rows(after_no=0, limit=100)
    assert secret not in repr(rows)
    assert (await desk.actions())[-1] == ("unknown", "sign_in", "refused")


async def test_one_code_opens_one_session_even_in_parallel(desk: Desk) -> None:
    await desk.first_admin()
    form, opened, refused = desk.login("chief"), [], []

    async def attempt(number: int) -> None:
        try:
            opened.append(await desk.service.sign_in(form, f"10.0.0.{number}"))
        except Refusal as refusal:
            refused.append(refusal.code)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(attempt(number))
    assert len(opened) == 1
    assert refused == ["sign_in_refused"] * 7
    assert len(await desk.service.sessions()) == 1


async def test_five_failures_lock_and_time_or_an_administrator_unlocks(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("engineer", Role.ENGINEER)
    for _ in range(POLICY.lock_after):
        assert await refusal(desk.service.sign_in(desk.login("engineer", "wrong-password"), SOURCE)) == REFUSED
    assert await refusal(desk.service.sign_in(desk.login("engineer"), SOURCE)) == REFUSED
    desk.clock.advance(POLICY.lock_for.total_seconds())
    await desk.signs_in("engineer")
    for _ in range(POLICY.lock_after):
        await refusal(desk.service.sign_in(desk.login("engineer", "wrong-password"), SOURCE))
    await desk.service.patch_user("engineer", UserPatch(unlock=True), await desk.principal("chief"))
    await desk.signs_in("engineer")


async def test_tries_while_locked_do_not_prolong_the_lock(desk: Desk) -> None:
    await desk.first_admin()
    for _ in range(3 * POLICY.lock_after):
        await refusal(desk.service.sign_in(desk.login("chief", "wrong-password"), SOURCE))
    desk.clock.advance(POLICY.lock_for.total_seconds())
    assert await desk.signs_in("chief")


async def test_an_address_that_keeps_failing_waits_even_in_parallel(desk: Desk) -> None:
    await desk.first_admin()
    desk.slept.clear()
    form = LoginForm(username="nobody", password=GOOD, totp="000000")
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(refusal(desk.service.sign_in(form, "10.9.9.9")))
    assert len(desk.slept) == 7
    assert max(desk.slept) == 8.0


async def test_sessions_end_by_idleness_age_and_sign_out(desk: Desk) -> None:
    await desk.first_admin()
    service, clock = desk.service, desk.clock
    token = await desk.signs_in("chief")
    found = await service.by_session(token)
    assert found is not None
    assert found.permissions == permissions_of(FIRST_ADMIN_ROLES)
    assert await service.by_session("forged") is None
    clock.advance(POLICY.session_idle.total_seconds())
    assert await service.by_session(token) is None

    token = await desk.signs_in("chief")
    for _ in range(int(POLICY.session_age / timedelta(minutes=10)) - 1):
        clock.advance(600)
        assert await service.by_session(token) is not None
    clock.advance(600)
    assert await service.by_session(token) is None

    token = await desk.signs_in("chief")
    principal = await service.by_session(token)
    assert principal is not None
    await service.sign_out(principal)
    assert await service.by_session(token) is None


async def test_sessions_are_listed_and_revoked(desk: Desk) -> None:
    await desk.first_admin()
    token = await desk.signs_in("chief")
    (session,) = await desk.service.sessions()
    assert token not in repr(session)
    await desk.service.revoke_session(session.id)
    assert await desk.service.by_session(token) is None
    assert await refusal(desk.service.revoke_session(session.id)) == ("unknown_session", 404)


async def test_a_new_password_ends_all_sessions_and_the_last_ones_are_not_taken(desk: Desk) -> None:
    await desk.first_admin()
    service = desk.service
    tokens = [await desk.signs_in("chief") for _ in range(2)]
    chief = await desk.principal("chief")
    wrong = PasswordForm(current="not-this-one-1", new="Green-Door-001")
    assert await refusal(service.change_password(chief, wrong, SOURCE)) == ("password_wrong", 403)
    assert await service.by_session(tokens[0]) is not None
    current = GOOD
    for number in range(5):
        again = PasswordForm(current=current, new=GOOD)
        assert await refusal(service.change_password(chief, again, SOURCE)) == ("password_used_before", 422)
        fresh = f"Green-Door-00{number}"
        await service.change_password(chief, PasswordForm(current=current, new=fresh), SOURCE)
        current = fresh
    assert [await service.by_session(token) for token in tokens] == [None, None]
    await service.change_password(chief, PasswordForm(current=current, new=GOOD), SOURCE)
    weak = PasswordForm(current=GOOD, new="short")
    assert await refusal(service.change_password(chief, weak, SOURCE)) == ("password_too_weak", 422)


async def test_a_session_opened_with_the_old_password_meanwhile_is_dead(desk: Desk) -> None:
    """Sign in began before the password change and its session is written after it."""
    await desk.first_admin()
    token = await desk.signs_in("chief")
    (session,) = await desk.service.sessions()
    desk.clock.advance(1)
    change = PasswordForm(current=GOOD, new="Green-Door-001")
    await desk.service.change_password(await desk.principal("chief"), change, SOURCE)
    await desk.store.add_session(session)
    assert await desk.service.by_session(token) is None


async def test_a_token_does_what_its_owner_may_do_today(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("lead", Role.LEAD)
    service, lead, chief = desk.service, await desk.principal("lead"), await desk.principal("chief")
    _, secret = await service.add_token(lead, TokenForm(name="script", days=10))
    found = await service.by_api_token(secret)
    assert found is not None
    assert found.permissions == permissions_of([Role.LEAD])
    await service.patch_user("lead", UserPatch(roles=[Role.VIEWER]), chief)
    found = await service.by_api_token(secret)
    assert found is not None
    assert found.permissions == permissions_of([Role.VIEWER])
    await service.patch_user("lead", UserPatch(is_active=False), chief)
    assert await service.by_api_token(secret) is None
    await service.patch_user("lead", UserPatch(is_active=True), chief)
    desk.clock.advance(10 * 86_400)
    assert await service.by_api_token(secret) is None


async def test_a_token_has_no_more_than_was_asked_and_makes_no_tokens(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("viewer", Role.VIEWER)
    service, viewer = desk.service, await desk.principal("viewer")
    greedy = TokenForm(name="script", permissions=[Permission.USERS_MANAGE])
    assert await refusal(service.add_token(viewer, greedy)) == ("permission_not_own", 403)
    small = TokenForm(name="script", permissions=[Permission.TOKENS_OWN, Permission.KIOSKS_READ])
    token, secret = await service.add_token(viewer, small)
    caller = await service.by_api_token(secret)
    assert caller == StaffPrincipal("viewer", frozenset({"tokens.own", "kiosks.read"}))
    assert await refusal(service.add_token(caller, small)) == ("session_required", 403)
    chief = await desk.principal("chief")
    assert await refusal(service.drop_token(chief, token.id)) == ("unknown_token", 404)
    await service.drop_token(viewer, token.id)
    assert await service.by_api_token(secret) is None


async def test_the_last_administrator_of_accounts_stays(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("helper", Role.SECURITY_ADMIN)
    chief, helper, service = await desk.principal("chief"), await desk.principal("helper"), desk.service
    await service.patch_user("chief", UserPatch(is_active=False), helper)
    last = ("last_administrator", 409)
    assert await refusal(service.patch_user("helper", UserPatch(is_active=False), chief)) == last
    assert await refusal(service.patch_user("helper", UserPatch(roles=[Role.VIEWER]), chief)) == last
    assert (await service.user("helper")).is_active


async def test_two_administrators_cannot_remove_each_other_at_once(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("helper", Role.SECURITY_ADMIN)
    chief, helper = await desk.principal("chief"), await desk.principal("helper")
    refused: list[str] = []

    async def disable(username: str, actor: StaffPrincipal) -> None:
        try:
            await desk.service.patch_user(username, UserPatch(is_active=False), actor)
        except Refusal as refusal:
            refused.append(refusal.code)

    async with asyncio.TaskGroup() as group:
        group.create_task(disable("helper", chief))
        group.create_task(disable("chief", helper))
    assert refused == ["last_administrator"]
    assert sum(user.is_active for user in await desk.service.users()) == 1


async def test_nobody_gives_themselves_more(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("security", Role.SECURITY_ADMIN)
    security = await desk.principal("security")
    more = UserPatch(roles=[Role.SECURITY_ADMIN, Role.AUDITOR])
    assert await refusal(desk.service.patch_user("security", more, security)) == ("not_for_oneself", 403)
    await desk.service.patch_user("security", more, await desk.principal("chief"))


async def test_who_loses_rights_is_signed_out(desk: Desk) -> None:
    await desk.first_admin()
    await desk.adds("engineer", Role.ENGINEER)
    chief = await desk.principal("chief")
    token = await desk.signs_in("engineer")
    await desk.service.patch_user("engineer", UserPatch(display_name="Other"), chief)
    assert await desk.service.by_session(token) is not None
    await desk.service.patch_user("engineer", UserPatch(roles=[Role.VIEWER]), chief)
    assert await desk.service.by_session(token) is None
    assert await refusal(desk.service.patch_user("nobody", UserPatch(unlock=True), chief)) == ("unknown_user", 404)


async def test_a_name_is_taken_once_even_at_the_same_time(desk: Desk) -> None:
    await desk.first_admin()
    form = UserForm(username="engineer", password=GOOD, display_name="e", roles=[Role.ENGINEER])
    results: list[str] = []

    async def attempt() -> None:
        try:
            await desk.service.add_user(form)
            results.append("made")
        except Refusal as refusal:
            results.append(refusal.code)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(attempt())
    assert sorted(results) == ["made", *["name_taken"] * 3]


async def test_no_secret_reaches_the_store_in_clear(desk: Desk) -> None:
    await desk.first_admin()
    session_token = await desk.signs_in("chief")
    _, api_token = await desk.service.add_token(await desk.principal("chief"), TokenForm(name="t"))
    stored = repr(
        [await desk.store.users(), await desk.store.sessions(), await desk.store.tokens("chief"), await desk.actions()]
    )
    for secret in (GOOD, session_token, api_token, TOKEN):
        assert secret not in stored
