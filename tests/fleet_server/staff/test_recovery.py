"""The way back for somebody who lost password or phone, on both stores."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pyotp
import pytest

from fleet_server.errors import Refusal
from fleet_server.staff.model import PasswordForm, Policy, Recovered, RecoverForm, Reset, TokenForm, UserPatch
from fleet_server.staff.permissions import Role
from fleet_server.staff.recovery import CONSOLE, Asker
from fleet_server.staff.rules import CONSOLE_RECOVERY_LIFE, RECOVERY_LIFE
from support.staff import GOOD, SOURCE, Desk
from support.staff_site import StaffSite

POLICY = Policy()

BETTER = "Green-Door-7711"
WRONG = ("recovery_refused", 403)
CHIEF = Asker("chief", SOURCE)


async def refusal(work: object) -> tuple[str, int]:
    """The code and status something is refused with."""
    with pytest.raises(Refusal) as refused:
        await work  # type: ignore[misc]  # any coroutine
    return refused.value.code, refused.value.status


async def issues(desk: Desk, reset: Reset = Reset.BOTH, username: str = "engineer", asker: Asker = CHIEF) -> str:
    return (await desk.issuing.issue(username, reset, asker)).token


async def redeems(desk: Desk, token: str, password: str = BETTER, totp: str | None = None) -> Recovered:
    done = await desk.recovery.redeem(RecoverForm(token=token, password=password, totp=totp), SOURCE)
    if done.totp_secret is not None:
        desk.secrets[done.username] = done.totp_secret
    return done


@pytest.fixture
async def people(desk: Desk) -> Desk:
    """Give an administrator and an engineer, each signed in."""
    await desk.first_admin()
    await desk.adds("engineer", Role.ENGINEER)
    return desk


async def test_a_new_password_and_phone_by_the_token(people: Desk) -> None:
    desk, old = people, people.secrets["engineer"]
    token = await issues(desk)
    done = await redeems(desk, token)
    assert done.totp_uri is not None
    assert done.totp_secret is not None
    assert done.totp_secret in done.totp_uri
    assert done.totp_secret != old
    desk.clock.advance(30)
    assert await refusal(desk.service.sign_in(desk.login("engineer"), SOURCE)) == ("sign_in_refused", 401)
    session = (await desk.service.sign_in(desk.login("engineer", BETTER), SOURCE))[1]
    assert await desk.service.by_session(session) is not None
    assert await refusal(redeems(desk, token)) == WRONG


async def test_all_that_was_open_ends_and_nothing_opens_but_the_token(people: Desk) -> None:
    desk = people
    session = await desk.signs_in("engineer")
    _, secret = await desk.service.add_token(await desk.principal("engineer"), TokenForm(name="script"))
    token = await issues(desk)
    assert await desk.service.by_session(session) is None
    assert await desk.service.by_api_token(secret) is None
    assert await desk.service.sessions() == []
    desk.clock.advance(30)
    assert await refusal(desk.service.sign_in(desk.login("engineer"), SOURCE)) == ("sign_in_refused", 401)
    assert token not in repr(await desk.service.users())
    assert (await desk.service.user("engineer")).failures == 0


async def test_a_session_that_was_opened_at_the_same_moment_is_dead(people: Desk) -> None:
    desk = people
    session = await desk.signs_in("engineer")
    opened = (await desk.service.sessions())[0]
    token = await issues(desk, Reset.TOTP)
    await desk.store.add_session(opened)
    assert await desk.service.by_session(session) is None
    await redeems(desk, token, GOOD)
    assert await desk.service.by_session(session) is None


async def test_who_was_signed_in_cannot_change_the_password_behind_the_token(people: Desk) -> None:
    """A session of the thief, at the moment the account is closed."""
    desk, form = people, PasswordForm(current=GOOD, new="Thief-Of-Phones-1")
    thief = await desk.principal("engineer")
    token = await issues(desk, Reset.TOTP)
    assert await refusal(desk.service.change_password(thief, form, SOURCE)) == ("password_wrong", 403)
    await redeems(desk, token, GOOD)


async def test_only_the_phone_was_lost_the_password_is_proved(people: Desk) -> None:
    desk = people
    token = await issues(desk, Reset.TOTP)
    assert await refusal(redeems(desk, token, BETTER)) == WRONG
    done = await redeems(desk, token, GOOD)
    assert done.totp_secret is not None
    assert await desk.signs_in("engineer")


async def test_only_the_password_was_lost_the_phone_is_proved(people: Desk) -> None:
    desk = people
    token = await issues(desk, Reset.PASSWORD)
    assert await refusal(redeems(desk, token)) == WRONG
    wrong = f"{(int(desk.code('engineer')) + 1) % 10**6:06d}"
    assert await refusal(redeems(desk, token, totp=wrong)) == WRONG
    code = desk.code("engineer")
    assert (await redeems(desk, token, totp=code)).totp_secret is None
    assert await refusal(desk.service.sign_in(desk.login("engineer", BETTER, code), SOURCE)) == ("sign_in_refused", 401)
    desk.clock.advance(30)
    await desk.service.sign_in(desk.login("engineer", BETTER), SOURCE)


async def test_without_the_code_nobody_learns_which_passwords_were_used(people: Desk) -> None:
    token = await issues(people, Reset.PASSWORD)
    assert await refusal(redeems(people, token, GOOD, "000000")) == WRONG
    assert await refusal(redeems(people, token, GOOD, people.code("engineer"))) == ("password_used_before", 422)


async def test_a_weak_or_used_password_leaves_the_token_good(people: Desk) -> None:
    token = await issues(people)
    assert await refusal(redeems(people, token, "short")) == ("password_too_weak", 422)
    assert await refusal(redeems(people, token, GOOD)) == ("password_used_before", 422)
    await redeems(people, token)


async def test_wrong_proofs_lock_and_the_lock_ends(people: Desk) -> None:
    desk = people
    token = await issues(desk, Reset.TOTP)
    for _ in range(POLICY.lock_after):
        assert await refusal(redeems(desk, token, BETTER)) == WRONG
    assert await refusal(redeems(desk, token, GOOD)) == WRONG
    desk.clock.advance(POLICY.lock_for.total_seconds())
    await redeems(desk, token, GOOD)


async def test_strangers_who_try_to_sign_in_cannot_lock_a_recovery(people: Desk) -> None:
    desk = people
    token = await issues(desk)
    for _ in range(2 * POLICY.lock_after):
        await refusal(desk.service.sign_in(desk.login("engineer", "wrong-password"), SOURCE))
    await redeems(desk, token)


@pytest.mark.parametrize(
    ("asker", "life"), [(CHIEF, RECOVERY_LIFE), (Asker("cli:root", CONSOLE), CONSOLE_RECOVERY_LIFE)], ids=str
)
async def test_a_token_ends_and_a_newer_one_replaces_it(people: Desk, asker: Asker, life: timedelta) -> None:
    desk = people
    first = await issues(desk, asker=asker)
    second = await issues(desk, asker=asker)
    assert await refusal(redeems(desk, first)) == WRONG
    desk.clock.advance(life.total_seconds())
    assert await refusal(redeems(desk, second)) == WRONG
    assert await refusal(desk.recovery.look(second, SOURCE)) == WRONG
    await redeems(desk, await issues(desk, asker=asker))


async def test_one_token_is_used_once_even_in_parallel(people: Desk) -> None:
    desk, token, done, refused = people, await issues(people), [], []

    async def attempt(number: int) -> None:
        try:
            done.append(await redeems(desk, token, f"{BETTER}-{number}"))
        except Refusal as refusal:
            refused.append(refusal.code)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(attempt(number))
    assert (len(done), refused) == (1, ["recovery_refused"] * 5)


async def test_who_may_be_recovered(people: Desk) -> None:
    desk = people
    assert await refusal(issues(desk, username="chief")) == ("not_for_oneself", 403)
    assert await refusal(issues(desk, username="nobody")) == ("unknown_user", 404)
    token = await issues(desk)
    await desk.service.patch_user("engineer", UserPatch(is_active=False), await desk.principal("chief"))
    assert await refusal(issues(desk)) == ("account_disabled", 409)
    assert await refusal(redeems(desk, token)) == WRONG


async def test_the_last_administrator_gets_back_in_from_the_console(people: Desk) -> None:
    desk = people
    desk.secrets.pop("chief")
    token = await issues(desk, username="chief", asker=Asker("cli:root", CONSOLE))
    shown = await desk.recovery.look(token, SOURCE)
    assert (shown.username, shown.reset) == ("chief", Reset.BOTH)
    await redeems(desk, token)
    desk.clock.advance(30)
    await desk.service.sign_in(desk.login("chief", BETTER), SOURCE)
    rows = await desk.audit.rows(after_no=0, limit=100, actor="cli:root")
    assert [(row.action, row.target, row.source) for row in rows] == [("recovery_issued", "chief", CONSOLE)]


async def test_somebody_who_waits_for_a_token_is_no_administrator_left(people: Desk) -> None:
    desk = people
    await desk.adds("second", Role.SECURITY_ADMIN)
    await issues(desk, username="second")
    patch = UserPatch(roles=[Role.VIEWER])
    assert await refusal(desk.service.patch_user("chief", patch, await desk.principal("second"))) == (
        "last_administrator",
        409,
    )


async def test_the_trail_says_who_and_what_and_holds_no_token(people: Desk) -> None:
    desk = people
    token = await issues(desk)
    await refusal(redeems(desk, "never-was-a-token"))
    await redeems(desk, token)
    rows = (await desk.audit.rows(after_no=0, limit=100))[-3:]
    assert [(row.actor, row.action, row.target, row.outcome) for row in rows] == [
        ("chief", "recovery_issued", "engineer", "ok"),
        ("unknown", "recovery_used", None, "refused"),
        ("engineer", "recovery_used", "engineer", "ok"),
    ]
    assert rows[0].fields["reset"] == "both"
    assert token not in repr(rows)
    assert BETTER not in repr(rows)


async def test_the_way_over_http(staff: StaffSite) -> None:
    await staff.adds("boss", Role.SECURITY_ADMIN)
    await staff.adds("engineer", Role.ENGINEER)
    boss, engineer = await staff.session("boss"), await staff.session("engineer")
    path = "/api/v1/users/engineer/recovery"
    assert (await staff.call("POST", path, body={}, session=engineer)).code == "forbidden"
    issued = await staff.call("POST", path, body={"reset": "both"}, session=boss)
    assert issued.status == 201
    assert (await staff.call("GET", "/api/v1/auth/me", session=engineer)).status == 401
    users = (await staff.call("GET", "/api/v1/users", session=boss)).document["items"]
    assert [row["username"] for row in users if row["recovery_expires_at"]] == ["engineer"]
    token = {"token": issued.document["token"]}
    assert (await staff.call("POST", "/api/v1/auth/recovery", body=token)).document["username"] == "engineer"
    done = await staff.call("POST", "/api/v1/auth/recover", body={**token, "password": BETTER})
    assert done.status == 200
    code = pyotp.TOTP(done.document["totp_secret"]).at(staff.clock.utc())
    login = {"username": "engineer", "password": BETTER, "totp": code}
    assert (await staff.call("POST", "/api/v1/auth/login", body=login)).status == 200
    again = await staff.call("POST", "/api/v1/auth/recover", body={**token, "password": BETTER})
    assert (again.status, again.code) == (403, "recovery_refused")
    rows = await staff.audit.rows(after_no=0, limit=100)
    assert [(row.actor, row.action, row.outcome) for row in rows] == [
        ("engineer", "users.recover_user", "refused"),
        ("boss", "recovery_issued", "ok"),
        ("engineer", "recovery_used", "ok"),
        ("engineer", "sign_in", "ok"),
        ("unknown", "recovery_used", "refused"),
    ]
