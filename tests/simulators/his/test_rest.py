"""The JSON interface, by bodies written by hand from its contract."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from kit.supervise import TaskGroup, spawn
from simulators.people import People
from support.his_counter import Counter

BILL = {"patient_id": "P000001", "recipe_ids": ["R0000004", "R0000005"]}
PAID = BILL | {"amount": 15_100, "trade_no": "T1", "pay_channel": "wechat", "trade_channel_payid": "42000001"}
SLOT = {"schedule_id": "D011-20260303-1", "no": 3, "client_id": "kiosk-1", "channel": "kiosk", "operator": "自助机"}


async def locked(his: Counter, patient: str = "P000001") -> dict[str, Any]:
    answer = await his.call("register/schedule_lock", **SLOT, patient_id=patient)
    assert answer["code"] == 0
    found: dict[str, Any] = answer["data"]
    return found


def commit(lock: dict[str, Any], **other: object) -> dict[str, Any]:
    body = {"pre_id": lock["pre_id"], "patient_id": "P000001", "trade_no": "T9", "amount": 1_000}
    return body | {"pay_channel": "alipay", "trade_channel_payid": "2026030222"} | other


async def test_a_patient_is_the_person_of_the_labs_card(his: Counter) -> None:
    person = People(1).person()
    answer = await his.call("patient/find", id_card=person.number)
    assert answer == {
        "code": 1,
        "msg": "成功",
        "data": {
            "patients": [
                {
                    "patient_id": "P000001",
                    "mzh": "2600000001",
                    "name": "陶娟强",
                    "sex": "男",
                    "birthday": "1941-04-28",
                    "id_card": "999999194104287816",
                    "phone": "19180997566",
                    "card_no": "JKM:68821ab89caee747c52567b5123af60b7c5102eed480e81a18e2d5376500f6a2",
                }
            ]
        },
    }
    [same] = (await his.call("patient/find", mzh="2600000001"))["data"]["patients"]
    assert same["name"] == person.name
    assert (await his.call("patient/find", mzh="1"))["data"] == {"patients": []}


async def test_a_new_patient_with_a_known_number_is_the_known_one(his: Counter) -> None:
    new = {"name": "𠮷田树", "sex": "女", "birthday": "1990-01-01", "id_card": "99999919900101002X", "phone": "1"}
    first = await his.call("patient/create", **new, address="测试省")
    assert first == await his.call("patient/create", **new, address="别处")
    [found] = (await his.call("patient/find", id_card=new["id_card"]))["data"]["patients"]
    assert found["name"] == "𠮷田树"


async def test_a_bill_is_shown_priced_and_paid_once(his: Counter) -> None:
    bills = (await his.call("bill/unpaidfees", patient_id="P000001"))["data"]["bills"]
    assert [(one["recipe_id"], one["kind"], one["should_money"]) for one in bills] == [
        ("R0000004", "检查", 12_000),
        ("R0000005", "治疗", 3_100),
    ]
    details = (await his.call("bill/unpaidfees_details", **BILL))["data"]
    assert (details["total"], sum(one["amount"] for one in details["items"])) == (15_100, 15_100)
    assert (await his.call("bill/settlement_pre", **BILL))["data"] == {"total": 15_100, "self_pay": 15_100}
    first = await his.call("bill/charge_commit", **PAID)
    assert first["code"] == 1
    assert set(first["data"]) == {"reconciliation_no", "window"}
    assert await his.call("bill/charge_commit", **PAID) == first
    assert (await his.call("bill/unpaidfees", patient_id="P000001"))["data"] == {"bills": []}
    assert await his.code("bill/charge_commit", **(PAID | {"trade_no": "T2"})) == 505
    check = (await his.call("other/trade_check", trade_no="T1", business="bill"))["data"]
    assert (check["state"], check["amount"]) == ("found", 15_100)
    assert check["reconciliation_no"] == first["data"]["reconciliation_no"]
    assert (await his.call("other/trade_check", trade_no="T2", business="bill"))["data"] == {"state": "notfound"}


async def test_a_day_of_trades_has_refunds_with_a_minus(his: Counter) -> None:
    paid = (await his.call("bill/charge_commit", **PAID))["data"]
    back = {"trade_no": "T1", "refund_no": "B1", "amount": 15_100}
    first = await his.call("bill/charge_refund", **back)
    assert await his.call("bill/charge_refund", **back) == first
    assert await his.code("bill/charge_refund", **(back | {"refund_no": "B2"})) == 507
    row = {"trade_no": "T1", "pay_channel": "wechat", "trade_channel_payid": "42000001", "terminal_type": "kiosk"}
    row |= {"time_trade": "2026-03-02 10:00:00"}
    plus = {"business": "bill", "amount": 15_100, "refund_no": "", "reconciliation_no": paid["reconciliation_no"]}
    minus = {"business": "refund", "amount": -15_100, "refund_no": "B1"}
    minus |= {"reconciliation_no": first["data"]["reconciliation_no"]}
    answer = (await his.call("other/trade_list", day="2026-03-02", offset=0, length=10))["data"]
    assert answer == {"total": 2, "rows": [row | plus, row | minus]}
    page = (await his.call("other/trade_list", day="2026-03-02", offset=1, length=10))["data"]
    assert page == {"total": 2, "rows": [row | minus]}
    assert (await his.call("other/trade_list", day="2026-03-01", offset=0, length=10))["data"]["rows"] == []
    assert len((await his.call("bill/unpaidfees", patient_id="P000001"))["data"]["bills"]) == 2


@pytest.mark.parametrize(
    ("act", "amount", "code"), [("void", 15_100, 503), ("amount", 15_100, 504), ("pay", 15_100, 505), ("", 1, 504)]
)
async def test_a_bill_that_changed_is_not_paid(his: Counter, act: str, amount: int, code: int) -> None:
    if act:
        assert (await his.sim("POST", f"bills/R0000005/{act}"))["status"] == 200
    assert await his.code("bill/charge_commit", **(PAID | {"amount": amount})) == code
    assert (await his.call("other/trade_check", trade_no="T1", business="bill"))["data"] == {"state": "notfound"}


async def test_a_bill_named_twice_is_refused(his: Counter) -> None:
    twice = {"recipe_ids": ["R0000004", "R0000004"], "amount": 24_000}
    assert await his.code("bill/charge_commit", **(PAID | twice)) == 400


async def test_nobody_pays_or_reads_the_bills_of_another(his: Counter) -> None:
    for operation in ("bill/charge_commit", "bill/settlement_pre", "bill/unpaidfees_details"):
        assert await his.code(operation, **(PAID | {"patient_id": "P000002"})) == 506


async def test_a_slot_is_locked_paid_and_given_back(his: Counter) -> None:
    lock = await locked(his)
    assert {name: lock[name] for name in ("see_no", "reg_fee", "expires_at")} == {
        "see_no": "上03",
        "reg_fee": 1_000,
        "expires_at": "2026-03-02 10:10:00",
    }
    first = await his.call("register/register_commit", **commit(lock))
    assert set(first["data"]) == {"register_no", "see_no", "location", "reconciliation_no"}
    assert await his.call("register/register_commit", **commit(lock)) == first
    assert await his.code("register/schedule_lock", **SLOT, patient_id="P000002") == 501
    back = {"register_no": first["data"]["register_no"], "trade_no": "T9", "refund_no": "B9", "amount": 1_000}
    assert await his.code("register/register_refund", **back) == 1
    assert await his.code("register/schedule_lock", **SLOT, patient_id="P000002") == 0


async def test_of_two_kiosks_one_gets_the_slot(his: Counter) -> None:
    async with TaskGroup() as group:
        tries = [
            spawn(group, his.code("register/schedule_lock", **SLOT, patient_id=patient), patient)
            for patient in ("P000001", "P000002")
        ]
    assert sorted(one.result() for one in tries) == [0, 501]


async def test_the_money_of_a_bill_goes_back_in_parts_and_never_more_than_was_paid(his: Counter) -> None:
    await his.call("bill/charge_commit", **PAID)
    back = {"trade_no": "T1", "refund_no": "B1", "amount": 5_000}
    first = await his.call("bill/charge_refund", **back)
    assert first["code"] == 1
    assert await his.call("bill/charge_refund", **back) == first
    assert await his.code("bill/charge_refund", **(back | {"amount": 5_001})) == 507
    assert (await his.call("bill/unpaidfees", patient_id="P000001"))["data"] == {"bills": []}
    for amount in (0, 10_101, 15_100):
        assert await his.code("bill/charge_refund", **(back | {"refund_no": "B2", "amount": amount})) == 504
    assert await his.code("register/register_refund", **(back | {"refund_no": "B2"})) == 506
    assert await his.code("bill/charge_refund", **(back | {"refund_no": "B2", "amount": 10_100})) == 1
    assert await his.code("bill/charge_refund", **(back | {"refund_no": "B3", "amount": 1})) == 507
    assert len((await his.call("bill/unpaidfees", patient_id="P000001"))["data"]["bills"]) == 2
    rows = (await his.call("other/trade_list", day="2026-03-02", offset=0, length=10))["data"]["rows"]
    assert [(row["refund_no"], row["amount"]) for row in rows] == [("", 15_100), ("B1", -5_000), ("B2", -10_100)]


async def test_half_a_registration_is_not_given_back(his: Counter) -> None:
    await his.call("register/register_commit", **commit(await locked(his)))
    assert await his.code("register/register_refund", trade_no="T9", refund_no="B9", amount=500) == 504
    assert await his.code("register/schedule_lock", **SLOT, patient_id="P000002") == 501


async def test_what_has_begun_is_not_offered_and_not_locked(his: Counter) -> None:
    """It is ten o'clock: the ninth slot of the morning begins now."""
    today = {"dept_id": "D01", "doctor_id": "D011", "date": "2026-03-02"}
    morning, afternoon = (await his.call("register/schedule_details", **today))["data"]["schedules"]
    assert [zone["begin"] for zone in morning["time_zones"]] == ["10:15", "10:30", "10:45"]
    assert len(afternoon["time_zones"]) == 12
    doctors = (await his.call("register/schedule_group", dept_id="D01", date="2026-03-02"))["data"]["doctors"]
    assert [one["reg_count"] for one in doctors] == [15, 15, 15]
    lock = SLOT | {"schedule_id": "D011-20260302-1", "patient_id": "P000001"}
    assert [await his.code("register/schedule_lock", **(lock | {"no": no})) for no in (9, 10)] == [508, 0]
    his.clock.advance(7 * 3_600)
    late = (await his.call("register/schedule_details", **today))["data"]["schedules"]
    assert [one["time_zones"] for one in late] == [[], []]


async def test_a_lock_ends_by_itself_or_by_an_unlock(his: Counter) -> None:
    lock = await locked(his)
    assert [await his.code("register/schedule_unlock", pre_id=lock["pre_id"]) for _ in range(2)] == [0, 0]
    lock = await locked(his, "P000002")
    his.clock.advance(601)
    assert (await his.sim("GET", "state"))["locks"] == 0
    assert (await locked(his))["pre_id"] != lock["pre_id"]
    late = commit(lock, patient_id="P000002")
    assert await his.code("register/register_commit", **late) == 501


async def test_what_happens_between_lock_and_payment(his: Counter) -> None:
    lock = await locked(his)
    assert await his.code("register/register_commit", **commit(lock, amount=999)) == 504
    await his.sim("POST", "doctors/D011/stop")
    assert await his.code("register/register_commit", **commit(lock)) == 502
    await his.sim("POST", "slots/take", schedule_id=SLOT["schedule_id"], no=SLOT["no"])
    assert await his.code("register/register_commit", **commit(lock)) == 501


@pytest.mark.parametrize(
    ("schedule", "no"), [("D011-20260303-9", 1), ("D011-20260301-1", 1), ("D011-x-1", 1), ("D011-20260303-1", 99)]
)
async def test_a_slot_that_does_not_exist_cannot_be_locked(his: Counter, schedule: str, no: int) -> None:
    body = SLOT | {"schedule_id": schedule, "no": no, "patient_id": "P000001"}
    assert await his.code("register/schedule_lock", **body) == 506


async def test_a_stranger_learns_nothing(his: Counter) -> None:
    his.token = "guessed"
    assert await his.code("patient/find", mzh="2600000001") == 401


async def test_a_request_in_two_pieces_is_read_whole(his: Counter) -> None:
    place = urlsplit(his.facts["base_url"])
    body = json.dumps({"mzh": "2600000001"}).encode()
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST /hisapi/patient/find HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    head += f"X-His-Token: {his.token}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:5])
    await writer.drain()
    await his.call("register/department_list")  # the first piece has been read by now
    writer.write(body[5:])
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert "陶娟强".encode() in answer


async def test_departments_and_doctors_as_the_contract_has_them(his: Counter) -> None:
    departments = (await his.call("register/department_list", campus="蓉江院区"))["data"]["departments"]
    assert departments[0] == {
        "dept_id": "D01",
        "dept_name": "心血管内科",
        "pinyin": "xxgnk",
        "location": "门诊楼三层东区",
        "floor": "3F",
    }
    doctors = (await his.call("register/schedule_group", dept_id="D01", date="2026-03-09"))["data"]["doctors"]
    assert [(one["doctor_id"], one["title"], one["reg_fee"], one["reg_count"]) for one in doctors] == [
        ("D011", "主治医师", 1_000, 24),
        ("D012", "副主任医师", 2_000, 24),
        ("D013", "主任医师", 3_000, 24),
    ]
    day = {"dept_id": "D01", "doctor_id": "D011", "date": "2026-03-03"}
    await locked(his)
    morning, afternoon = (await his.call("register/schedule_details", **day))["data"]["schedules"]
    assert (morning["schedule_id"], morning["partime"], afternoon["partime"]) == ("D011-20260303-1", "上午", "下午")
    assert morning["time_zones"][2] == {"no": 3, "begin": "08:30", "end": "08:45", "left": 0}
    assert afternoon["time_zones"][11] == {"no": 12, "begin": "16:45", "end": "17:00", "left": 1}


@pytest.mark.parametrize("day", ["2026-03-01", "2026-03-10", "tomorrow"])
async def test_only_today_and_seven_more_days_are_open(his: Counter, day: str) -> None:
    assert await his.code("register/schedule_group", dept_id="D01", date=day) in {400, 506}
