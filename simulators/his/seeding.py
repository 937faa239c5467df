"""The invented hospital as it is on the first morning: departments, doctors, patients and what they have to pay.

Patients are the people of the lab's cards: person 7 of the identity card reader is patient 7 here.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Final

from simulators.his.model import Bill, Books, Department, Doctor, Item, Patient
from simulators.people import Paper, People

PATIENTS: Final = 200
DEPARTMENTS: Final = (
    Department("D01", "心血管内科", "xxgnk", "门诊楼三层东区", "3F"),
    Department("D02", "呼吸内科", "hxnk", "门诊楼三层西区", "3F"),
    Department("D03", "消化内科", "xhnk", "门诊楼三层东区", "3F"),
    Department("D04", "普通外科", "ptwk", "门诊楼三层西区", "3F"),
    Department("D05", "骨科", "gk", "门诊楼二层东区", "2F"),
    Department("D06", "儿科", "ek", "门诊楼二层西区", "2F"),
    Department("D07", "妇产科", "fck", "门诊楼二层西区", "2F"),
    Department("D08", "眼科", "yk", "门诊楼四层东区", "4F"),
    Department("D09", "耳鼻咽喉科", "ebyhk", "门诊楼四层东区", "4F"),
    Department("D10", "皮肤科", "pfk", "门诊楼四层西区", "4F"),
    Department("D11", "中医科", "zyk", "门诊楼一层西区", "1F"),
    Department("D12", "全科医学科", "qkyxk", "门诊楼一层东区", "1F"),
)
_LEVELS: Final = (("1", "主治医师", 1_000), ("2", "副主任医师", 2_000), ("3", "主任医师", 3_000))
_MEDICINES: Final = (
    ("阿莫西林胶囊", "0.25g×24粒", "盒", 1_260),
    ("盐酸氨溴索口服溶液", "100ml", "瓶", 2_480),
    ("硝苯地平控释片", "30mg×7片", "盒", 2_930),
    ("二甲双胍缓释片", "0.5g×30片", "盒", 2_150),
    ("布洛芬缓释胶囊", "0.3g×20粒", "盒", 1_880),
    ("注射用头孢曲松钠", "1.0g", "支", 965),
    ("复方甘草片", "100片", "瓶", 705),
)
_EXAMINATIONS: Final = (
    ("检查", "胸部正侧位 DR", 12_000),
    ("检查", "腹部彩色多普勒超声", 16_500),
    ("检验", "血常规（五分类）", 2_400),
    ("检验", "生化全套", 18_600),
    ("治疗", "雾化吸入治疗", 3_100),
)


def doctors(seed: int) -> dict[str, Doctor]:
    """Three doctors a department."""
    people = iter(People(seed + 5_000_000))
    found: dict[str, Doctor] = {}
    for department in DEPARTMENTS:
        for level, title, fee in _LEVELS:
            number = f"{department.dept_id}{level}"
            found[number] = Doctor(number, department.dept_id, next(people).name, title, level, fee)
    return found


def first_books(seed: int, now: datetime) -> Books:
    """Patients and their bills."""
    books = Books()
    for number in range(PATIENTS):
        patient = patient_of(number)
        books.patients[patient.patient_id] = patient
        rng = random.Random(f"{seed}/{number}")
        for _ in range(rng.randint(1, 3)):
            new_bill(books, patient.patient_id, rng, now)
    return books


def patient_of(number: int) -> Patient:
    """Person `number` of the lab."""
    person = People(number).person(Paper.RESIDENT)
    digits = random.Random(f"phone/{number}")
    card = "".join(digits.choices("0123456789abcdef", k=64))
    return Patient(
        patient_id=f"P{number:06d}",
        mzh=f"26{number:08d}",
        name=person.name,
        sex="男" if person.sex == 1 else "女",
        birthday=person.born.isoformat(),
        id_card=person.number,
        phone=f"19{digits.randrange(10**9):09d}",
        card_no=f"JKM:{card}",
        address=person.address,
    )


def new_bill(books: Books, patient_id: str, rng: random.Random, now: datetime) -> Bill:
    """Something more to pay."""
    books.counter += 1
    department = rng.choice(DEPARTMENTS)
    if rng.random() < 0.6:  # noqa: PLR2004 - most bills are prescriptions
        kind, items = "处方", [_medicine(rng) for _ in range(rng.randint(1, 4))]
    else:
        kind, name, price = rng.choice(_EXAMINATIONS)
        items = [Item(name, "", "1", "次", price, price)]
    bill = Bill(
        recipe_id=f"R{books.counter:07d}",
        patient_id=patient_id,
        kind=kind,
        dept_name=department.dept_name,
        doctor_name=People(rng.randrange(1_000)).person().name,
        issued_at=now.strftime("%Y-%m-%d %H:%M:%S"),
        items=items,
    )
    books.bills[bill.recipe_id] = bill
    return bill


def _medicine(rng: random.Random) -> Item:
    name, spec, unit, price = rng.choice(_MEDICINES)
    quantity = rng.randint(1, 3)
    return Item(name, spec, str(quantity), unit, price, price * quantity)
