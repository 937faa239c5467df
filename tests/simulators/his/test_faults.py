"""What testers make go wrong, and what is kept when the HIS is killed."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from kit.clock import ManualClock
from support.his_counter import Counter, counter
from support.waiting import wait_for

PAID = {
    "patient_id": "P000001",
    "recipe_ids": ["R0000004", "R0000005"],
    "amount": 15_100,
    "trade_no": "T1",
    "pay_channel": "wechat",
    "trade_channel_payid": "42000001",
}


async def is_known(his: Counter, trade: str = "T1") -> bool:
    answer = await his.call("other/trade_check", trade_no=trade, business="bill")
    return bool(answer["data"]["state"] == "found")


@pytest.mark.parametrize(("fault", "is_there"), [("drop_after", True), ("drop_before", False)])
async def test_a_dropped_commit_has_happened_or_not(his: Counter, fault: str, is_there: bool) -> None:
    await his.fault("charge_commit", fault)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **PAID)
    assert await is_known(his) is is_there
    assert await his.code("bill/charge_commit", **PAID) == 1


async def test_a_late_commit_lands_after_its_answer_was_lost(his: Counter) -> None:
    await his.fault("charge_commit", "late_success", seconds=0.01)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **PAID)
    await wait_for(lambda: "T1" in his.server.desk.hospital.books.trades)
    assert await is_known(his)


async def test_a_late_commit_that_is_refused_harms_nobody(his: Counter) -> None:
    await his.fault("charge_commit", "late_success", seconds=0.01)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **(PAID | {"trade_no": "T2", "amount": 1}))
    await his.fault("charge_commit", "late_success", seconds=0.02)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **PAID)
    await wait_for(lambda: "T1" in his.server.desk.hospital.books.trades)
    assert not await is_known(his, "T2")


async def test_a_wrong_amount_is_told_and_not_booked(his: Counter) -> None:
    await his.fault("settlement_pre", "wrong_amount")
    asked = {name: PAID[name] for name in ("patient_id", "recipe_ids")}
    told = [(await his.call("bill/settlement_pre", **asked))["data"]["total"] for _ in range(2)]
    assert told == [15_101, 15_100]


async def test_broken_answers(his: Counter) -> None:
    headers = {"X-His-Token": his.token}
    seen = []
    for fault in ("http_500", "malformed"):
        await his.fault("department_list", fault)
        address = f"{his.facts['base_url']}/register/department_list"
        async with his.http.post(address, json={}, headers=headers) as response:
            seen.append((response.status, await response.text()))
    assert seen[0] == (500, "<html>Internal Server Error</html>")
    assert (seen[1][0], seen[1][1][-5:]) == (200, '{"tot')


async def test_a_fault_nobody_knows_is_refused(his: Counter) -> None:
    assert (await his.sim("POST", "faults", operation="charge", fault="delay"))["status"] == 422
    assert (await his.sim("POST", "faults", operation="charge_commit", fault="bad_signature"))["status"] == 422
    await his.fault("charge_commit", "delay", seconds=3)
    assert (await his.sim("GET", "state"))["faults"][0]["seconds"] == 3
    assert (await his.sim("DELETE", "faults"))["faults"] == []


async def test_what_was_answered_is_there_after_a_kill(his: Counter, clock: ManualClock, tmp_path: Path) -> None:
    first = await his.call("bill/charge_commit", **PAID)
    other = tmp_path / "after"
    other.mkdir()
    (other / "his-books.json").write_bytes((tmp_path / "his-books.json").read_bytes())
    async with counter(other, clock) as again:
        assert await again.call("bill/charge_commit", **PAID) == first
        assert again.token != his.token
    assert not (other / "his.json").exists()


async def test_a_late_commit_lands_though_the_simulator_was_killed_meanwhile(
    his: Counter, clock: ManualClock, tmp_path: Path
) -> None:
    await his.fault("charge_commit", "late_success", seconds=30)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **PAID)
    other = tmp_path / "after"
    other.mkdir()
    (other / "his-books.json").write_bytes((tmp_path / "his-books.json").read_bytes())
    clock.advance(30)
    async with counter(other, clock) as again:
        await wait_for(lambda: "T1" in again.server.desk.hospital.books.trades)
        assert again.server.desk.hospital.books.late == {}


async def test_new_books_know_nothing_of_a_late_commit(his: Counter) -> None:
    await his.fault("charge_commit", "late_success", seconds=0.01)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **PAID)
    await his.sim("POST", "reset")
    await his.fault("charge_commit", "late_success", seconds=0.02)
    with pytest.raises(aiohttp.ClientError):
        await his.call("bill/charge_commit", **(PAID | {"trade_no": "T2"}))
    await wait_for(lambda: "T2" in his.server.desk.hospital.books.trades)
    assert not await is_known(his)


async def test_only_the_owner_reads_what_it_writes(his: Counter, tmp_path: Path) -> None:
    await his.call("register/department_list")
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("token", "his.json", "his-books.json")}
    assert set(modes.values()) == {0o600}


async def test_a_new_bill_and_a_new_start(his: Counter) -> None:
    number = (await his.sim("POST", "bills", patient_id="P000001"))["done"]
    bills = (await his.call("bill/unpaidfees", patient_id="P000001"))["data"]["bills"]
    assert number in [one["recipe_id"] for one in bills]
    await his.sim("POST", "reset")
    assert len((await his.call("bill/unpaidfees", patient_id="P000001"))["data"]["bills"]) == 2
