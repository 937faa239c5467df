"""People who do not fit the form (section 16 of the reference): other names, several records, rare characters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulators.payments.keys import Keys
from support.patient_site import Answer, PatientSite, patient_site
from support.people import resident_check_digit
from support.stepped_site import SteppedSite

SEVENTEEN = "99999919900101002"
NUMBER = SEVENTEEN + resident_check_digit(SEVENTEEN)


@pytest.fixture(params=["rest", "soap"])
async def site(
    request: pytest.FixtureRequest, site_keys: Keys, tmp_path: Path, sqlite_platform_url: str
) -> AsyncIterator[PatientSite]:
    """Run everything, once with each of the HIS's interfaces."""
    async with patient_site(site_keys, tmp_path, sqlite_platform_url, style=request.param, drives=False) as found:
        yield found


async def present(site: PatientSite, name: str, number: str = NUMBER) -> Answer:
    """Somebody lays a card on the reader."""
    medium = {"kind": "id_card", "name": name, "number": number, "sex": "女", "born": "1990-01-01"}
    return await site.call("POST", "sessions", {"medium": medium})


@pytest.mark.parametrize("name", ["欧阳𫖯", "㛃𬭎", "买买提·艾力", "Ａｎｎａ　Ｌｅｅ"])
async def test_51_names_that_gbk_does_not_know_arrive_whole(site: PatientSite, name: str) -> None:
    made = await present(site, name)
    assert (made.status, made["patient"]["is_new"]) == (201, True)
    (kept,) = [one for one in site.his.desk.hospital.books.patients.values() if one.id_card == NUMBER]
    assert kept.name == name
    again = await present(site, name)
    assert again["patient"]["is_new"] is False
    assert again["patient"]["display_name"] == made["patient"]["display_name"]


@pytest.mark.parametrize("dot", ["•", "・", "．", "·"])
async def test_51_every_kind_of_dot_is_the_same_name(site: PatientSite, dot: str) -> None:
    assert (await present(site, "买买提·艾力")).status == 201
    assert (await present(site, f"买买提{dot}艾力")).status == 201
    assert len([one for one in site.his.desk.hospital.books.patients.values() if one.id_card == NUMBER]) == 1


async def test_51_a_child_without_a_card_comes_by_its_visit_number_or_not_at_all(site: PatientSite) -> None:
    known = len(site.his.desk.hospital.books.patients)
    nameless = await present(site, "张小宝", number="")
    assert nameless.status == 422
    medium = {"kind": "visit_number", "text": "99999999"}
    unknown = await site.call("POST", "sessions", {"medium": medium})
    assert (unknown.status, unknown["code"]) == (404, "patient_unknown")
    child = next(iter(site.his.desk.hospital.books.patients.values()))
    medium = {"kind": "visit_number", "text": child.mzh}
    assert (await site.call("POST", "sessions", {"medium": medium})).status == 201
    assert len(site.his.desk.hospital.books.patients) == known


async def test_52_another_name_for_the_number_stops_and_changes_nothing(site: PatientSite) -> None:
    patients = site.his.desk.hospital.books.patients
    known = dict(patients)
    stopped = await present(site, "别人", number=patients["P000001"].id_card)
    assert (stopped.status, stopped["code"]) == (409, "name_differs")
    assert patients["P000001"].name not in str(stopped.body)
    assert patients == known


async def test_52_several_records_are_never_merged_at_a_kiosk(site: PatientSite) -> None:
    patients = site.his.desk.hospital.books.patients
    first = patients["P000001"]
    patients["P999999"] = replace(first, patient_id="P999999", mzh="99999998")
    known = dict(patients)
    for name in (first.name, "别人"):
        stopped = await present(site, name, number=first.id_card)
        assert (stopped.status, stopped["code"]) == (409, "several_patients")
    assert patients == known
    medium = {"kind": "visit_number", "text": "99999998"}
    chosen = await site.call("POST", "sessions", {"medium": medium})
    assert chosen.status == 201  # the patient chooses by the visit number, which is of one record


async def test_51_a_second_visit_the_same_day_in_the_same_department_is_refused(till: SteppedSite) -> None:
    first = await till.order_registration(2)
    again = await second_visit(till)
    assert (again.status, again["code"]) == (409, "order_active")
    await till.pay_by_code(first)
    again = await second_visit(till)
    assert (again.status, again["code"]) == (409, "visit_booked")
    other = await second_visit(till, patient=3)
    assert other.status == 201
    elsewhere = await second_visit(till, department="D02")
    assert elsewhere.status == 201
    await till.site.call("POST", f"orders/{first}/refund")
    await till.pass_time(30.0)
    assert (await till.show(first))["advice"] == "refunded"
    assert (await second_visit(till)).status == 201


async def second_visit(till: SteppedSite, *, patient: int = 2, department: str = "D01") -> Answer:
    """A patient wants the last slot of a department's first doctor: the lock's refusal, or the order's answer."""
    kiosk = f"kiosk-{patient}"
    here = f"sessions/{await till.site.identify(patient, kiosk)}"
    path = f"{here}/departments/{department}/doctors"
    doctor = (await till.site.call("GET", path, kiosk=kiosk))["doctors"][0]["doctor"]
    slots = (await till.site.call("GET", f"{path}/{doctor}/slots", kiosk=kiosk))["slots"]
    free = [slot for slot in slots if slot["left"]][-1]
    body = {name: free[name] for name in ("schedule", "number")}
    lock = await till.site.call("POST", f"{here}/slot-locks", body, kiosk=kiosk)
    if lock.status != 201:
        return lock
    order = {"business": "registration", "lock": lock["lock"]}
    return await till.site.call("POST", f"{here}/orders", order, kiosk=kiosk)
