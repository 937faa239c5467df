"""The hospital's own rules: who has what, which slot is whose, what was paid. No network in here.

A commit is told the same answer however often its trade number comes; that is what a kiosk platform has to be able
to rely on. Slots are locked for a while, and whoever is second is told so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Final

from kit.clock import Clock
from simulators.his import accounts, slots
from simulators.his.model import ZONE, Bill, Books, Code, Doctor, Lock, Patient, Refused
from simulators.his.parameters import Data, Parameters, text, texts, whole
from simulators.his.seeding import DEPARTMENTS, doctors, first_books, new_bill

LOCK_S: Final = 600.0


class Hospital:
    """One hospital."""

    def __init__(self, clock: Clock, seed: int = 1, books: Books | None = None, *, offers_past: bool = False) -> None:
        """With `offers_past`, today's slots that have begun are offered all the same: for testers in the evening."""
        self.clock = clock
        self.seed = seed
        self.offers_past = offers_past
        self.doctors = doctors(seed)
        self.books = books if books is not None else first_books(seed, self.now())
        self.operations: Mapping[str, Callable[[Parameters], Data]] = {
            "patient/find": self.find,
            "patient/create": self.create,
            "register/department_list": self.department_list,
            "register/schedule_group": self.schedule_group,
            "register/schedule_details": self.schedule_details,
            "register/schedule_lock": self.schedule_lock,
            "register/schedule_unlock": self.schedule_unlock,
            "register/register_commit": self.register_commit,
            "register/register_refund": self.register_refund,
            "bill/unpaidfees": self.unpaidfees,
            "bill/unpaidfees_details": self.unpaidfees_details,
            "bill/settlement_pre": self.settlement_pre,
            "bill/charge_commit": self.charge_commit,
            "bill/charge_refund": self.charge_refund,
            "other/trade_check": self.trade_check,
            "other/trade_list": self.trade_list,
        }

    def now(self) -> datetime:
        """The hospital's wall clock."""
        return self.clock.utc().astimezone(ZONE)

    # --- people --------------------------------------------------------------------------------------------

    def find(self, parameters: Parameters) -> Data:
        """Everybody with this number."""
        wanted = {name: parameters[name] for name in ("id_card", "mzh", "card_no", "phone") if parameters.get(name)}
        if len(wanted) != 1:
            raise Refused(Code.PARAMETER, "参数错误")
        [(name, value)] = wanted.items()
        found = [patient.row() for patient in self.books.patients.values() if getattr(patient, name) == value]
        return {"patients": found}

    def create(self, parameters: Parameters) -> Data:
        """A new patient, or the one who has this number."""
        number = text(parameters, "id_card")
        known = next((one for one in self.books.patients.values() if one.id_card == number and number), None)
        if known is None:
            self.books.counter += 1
            known = Patient(
                patient_id=f"N{self.books.counter:07d}",
                mzh=f"27{self.books.counter:08d}",
                name=text(parameters, "name"),
                sex=str(parameters.get("sex", "")),
                birthday=str(parameters.get("birthday", "")),
                id_card=number,
                phone=str(parameters.get("phone", "")),
                card_no="",
                address=str(parameters.get("address", "")),
            )
            self.books.patients[known.patient_id] = known
        return {"patient_id": known.patient_id, "mzh": known.mzh}

    # --- registering ---------------------------------------------------------------------------------------

    def department_list(self, _parameters: Parameters) -> Data:
        """All departments."""
        return {"departments": [asdict(one) for one in DEPARTMENTS]}

    def schedule_group(self, parameters: Parameters) -> Data:
        """Doctors of a department on a day."""
        department, day = text(parameters, "dept_id"), self._day(parameters)
        if department not in {one.dept_id for one in DEPARTMENTS}:
            raise Refused(Code.NOT_FOUND, "科室不存在")
        rows = []
        for number, doctor in self.doctors.items():
            if doctor.dept_id == department and not self._is_stopped(doctor):
                left = sum(self._is_free(half, no) for half in slots.halves(number, day) for no in slots.NUMBERS)
                rows.append(
                    {
                        "doctor_id": number,
                        "doctor_name": doctor.doctor_name,
                        "title": doctor.title,
                        "reg_level_id": doctor.reg_level_id,
                        "reg_fee": doctor.reg_fee,
                        "reg_count": left,
                    }
                )
        return {"doctors": rows}

    def schedule_details(self, parameters: Parameters) -> Data:
        """Slots of a doctor on a day."""
        doctor, day = self._doctor(text(parameters, "doctor_id")), self._day(parameters)
        rows = []
        for schedule_id, (_, title, _) in zip(slots.halves(doctor.doctor_id, day), slots.HALVES, strict=True):
            zones = [
                {
                    "no": no,
                    "begin": f"{slots.begin(schedule_id, no):%H:%M}",
                    "end": f"{slots.end(schedule_id, no):%H:%M}",
                    "left": 1 if self._is_free(schedule_id, no) else 0,
                }
                for no in slots.NUMBERS
                if not self._is_past(schedule_id, no)
            ]
            rows.append(
                {
                    "schedule_id": schedule_id,
                    "schedule_date": day.isoformat(),
                    "partime": title,
                    "time_zones": zones,
                    "reg_fee": doctor.reg_fee,
                }
            )
        return {"schedules": rows}

    def schedule_lock(self, parameters: Parameters) -> Data:
        """Keep a slot for a patient."""
        schedule_id, no = text(parameters, "schedule_id"), whole(parameters, "no")
        patient = self._patient(parameters)
        doctor = self._doctor(schedule_id.split("-")[0])
        if self._is_stopped(doctor):
            raise Refused(Code.DOCTOR_STOPPED, "医生停诊")
        if no not in slots.NUMBERS or schedule_id not in slots.schedules(doctor.doctor_id, self.now().date()):
            raise Refused(Code.NOT_FOUND, "号源不存在")
        if self._is_past(schedule_id, no):
            raise Refused(Code.SLOT_PAST, "号源已过就诊时间")
        mine = next((one for one in self.locks() if (one.schedule_id, one.no) == (schedule_id, no)), None)
        if mine is not None and mine.patient_id != patient.patient_id:
            raise Refused(Code.SLOT_TAKEN, "号源已被占用")
        if f"{schedule_id}/{no}" in self.books.booked:
            raise Refused(Code.SLOT_TAKEN, "号源已被占用")
        if mine is None:
            self.books.counter += 1
            expires_at = self.clock.utc().timestamp() + LOCK_S
            mine = Lock(
                f"L{self.books.counter:07d}",
                schedule_id,
                no,
                patient.patient_id,
                slots.see_no(schedule_id, no),
                expires_at,
            )
            self.books.locks[mine.pre_id] = mine
        return {
            "pre_id": mine.pre_id,
            "see_no": mine.see_no,
            "reg_fee": doctor.reg_fee,
            "expires_at": datetime.fromtimestamp(mine.expires_at, ZONE).strftime(accounts.TIME),
        }

    def schedule_unlock(self, parameters: Parameters) -> Data:
        """Give it back; once more does no harm."""
        self.books.locks.pop(text(parameters, "pre_id"), None)
        return {}

    def register_commit(self, parameters: Parameters) -> Data:
        """The slot is paid."""

        def commit() -> Data:
            pre_id = text(parameters, "pre_id")
            lock = next((one for one in self.locks() if one.pre_id == pre_id), None)
            if lock is None:
                raise Refused(Code.SLOT_TAKEN, "号源锁定已失效")
            doctor = self._doctor(lock.schedule_id.split("-")[0])
            if self._is_stopped(doctor):
                raise Refused(Code.DOCTOR_STOPPED, "医生停诊")
            if whole(parameters, "amount") != doctor.reg_fee:
                raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
            if lock.patient_id != text(parameters, "patient_id"):
                raise Refused(Code.SLOT_TAKEN, "号源已被占用")
            self.books.booked[f"{lock.schedule_id}/{lock.no}"] = text(parameters, "trade_no")
            del self.books.locks[lock.pre_id]
            department = next(one for one in DEPARTMENTS if one.dept_id == doctor.dept_id)
            return {
                "register_no": f"G{self.books.counter + 1:08d}",
                "see_no": lock.see_no,
                "location": f"{department.location} {department.dept_name}",
            }

        return accounts.commit_once(self.books, self.now(), parameters, "register", commit)

    def register_refund(self, parameters: Parameters) -> Data:
        """Take a registration back; the slot is free again."""
        data, ended = accounts.refund_once(self.books, self.now(), parameters, "register")
        for slot, number in list(self.books.booked.items()):
            if ended is not None and number == ended.trade_no:
                del self.books.booked[slot]
        return data

    # --- bills ---------------------------------------------------------------------------------------------

    def unpaidfees(self, parameters: Parameters) -> Data:
        """What a patient has to pay."""
        patient = self._patient(parameters)
        rows = [
            {
                "recipe_id": bill.recipe_id,
                "kind": bill.kind,
                "dept_name": bill.dept_name,
                "doctor_name": bill.doctor_name,
                "issued_at": bill.issued_at,
                "should_money": bill.should_money,
            }
            for bill in self.books.bills.values()
            if bill.patient_id == patient.patient_id and bill.state == "unpaid"
        ]
        return {"bills": rows}

    def unpaidfees_details(self, parameters: Parameters) -> Data:
        """The lines of bills."""
        bills = self._bills(parameters)
        items = [
            {
                "recipe_id": bill.recipe_id,
                "name": item.name,
                "spec": item.spec,
                "quantity": item.quantity,
                "unit": item.unit,
                "price": item.price,
                "amount": item.amount,
            }
            for bill in bills
            for item in bill.items
        ]
        return {"items": items, "total": sum(bill.should_money for bill in bills)}

    def settlement_pre(self, parameters: Parameters) -> Data:
        """What bills cost right now."""
        total = sum(bill.should_money for bill in self._payable(parameters))
        return {"total": total, "self_pay": total}

    def charge_commit(self, parameters: Parameters) -> Data:
        """Bills are paid."""

        def commit() -> Data:
            bills = self._payable(parameters)
            if sum(bill.should_money for bill in bills) != whole(parameters, "amount"):
                raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
            for bill in bills:
                bill.state, bill.trade_no = "paid", text(parameters, "trade_no")
            is_medicine = any(bill.kind == "处方" for bill in bills)
            return {"window": f"{1 + self.books.counter % 6} 号取药窗口" if is_medicine else ""}

        return accounts.commit_once(self.books, self.now(), parameters, "bill", commit)

    def charge_refund(self, parameters: Parameters) -> Data:
        """Some or all of the money of bills goes back; they are unpaid again when nothing is left of it."""
        data, ended = accounts.refund_once(self.books, self.now(), parameters, "bill")
        for bill in self.books.bills.values():
            if ended is not None and bill.trade_no == ended.trade_no:
                bill.state, bill.trade_no = "unpaid", ""
        return data

    # --- books ---------------------------------------------------------------------------------------------

    def trade_check(self, parameters: Parameters) -> Data:
        """Whether a commit has happened."""
        return accounts.check(self.books, parameters)

    def trade_list(self, parameters: Parameters) -> Data:
        """Everything of a day, a page at a time."""
        return accounts.page(self.books, parameters)

    # --- what testers do -----------------------------------------------------------------------------------

    def add_bill(self, patient_id: str) -> Bill:
        """A doctor prescribes something more."""
        if patient_id not in self.books.patients:
            raise Refused(Code.NOT_FOUND, "患者不存在")
        return new_bill(self.books, patient_id, random.Random(f"{self.seed}/{self.books.counter}"), self.now())

    def change_bill(self, number: str, act: str, delta: int = 100) -> Bill:
        """A doctor withdraws a bill, changes it, or somebody pays it at the counter."""
        bill = self._bill(number)
        if act == "void":
            bill.state = "void"
        elif act == "amount":
            bill.items[0].amount += delta
        elif act == "pay":
            bill.state, bill.trade_no = "paid", "COUNTER"
        else:
            raise Refused(Code.PARAMETER, "参数错误")
        return bill

    def stop_doctor(self, number: str) -> Doctor:
        """A doctor has to leave."""
        doctor = self._doctor(number)
        self.books.stopped.append(number)
        return doctor

    def take_slot(self, schedule_id: str, no: int) -> None:
        """Somebody at the counter was faster."""
        self.books.booked[f"{schedule_id}/{no}"] = "COUNTER"
        for lock in [one for one in self.locks() if (one.schedule_id, one.no) == (schedule_id, no)]:
            del self.books.locks[lock.pre_id]

    def locks(self) -> list[Lock]:
        """Slots that are kept now; what was kept long enough is struck from the books here, and free again."""
        now = self.clock.utc().timestamp()
        for lock in [one for one in self.books.locks.values() if one.expires_at <= now]:
            del self.books.locks[lock.pre_id]
        return list(self.books.locks.values())

    # --- parts ---------------------------------------------------------------------------------------------

    def _payable(self, parameters: Parameters) -> list[Bill]:
        bills = self._bills(parameters)
        for bill in bills:
            if bill.state == "void":
                raise Refused(Code.BILL_VOID, "处方已作废")
            if bill.state == "paid":
                raise Refused(Code.ALREADY_PAID, "已缴费")
        return bills

    def _bills(self, parameters: Parameters) -> list[Bill]:
        numbers, patient = texts(parameters, "recipe_ids"), self._patient(parameters)
        if len(set(numbers)) < len(numbers):
            raise Refused(Code.PARAMETER, "单据重复")
        bills = [self._bill(number) for number in numbers]
        if any(bill.patient_id != patient.patient_id for bill in bills):
            raise Refused(Code.NOT_FOUND, "单据不存在")
        return bills

    def _patient(self, parameters: Parameters) -> Patient:
        found = self.books.patients.get(text(parameters, "patient_id"))
        if found is None:
            raise Refused(Code.NOT_FOUND, "患者不存在")
        return found

    def _bill(self, number: str) -> Bill:
        found = self.books.bills.get(number)
        if found is None:
            raise Refused(Code.NOT_FOUND, "单据不存在")
        return found

    def _doctor(self, number: str) -> Doctor:
        found = self.doctors.get(number)
        if found is None:
            raise Refused(Code.NOT_FOUND, "医生不存在")
        return found

    def _is_stopped(self, doctor: Doctor) -> bool:
        return doctor.doctor_id in self.books.stopped

    def _day(self, parameters: Parameters) -> date:
        try:
            day = date.fromisoformat(text(parameters, "date"))
        except ValueError:
            raise Refused(Code.PARAMETER, "日期格式错误") from None
        today = self.now().date()
        if not today <= day < today + timedelta(days=slots.OPEN_DAYS):
            raise Refused(Code.NOT_FOUND, "未放号")
        return day

    def _is_free(self, schedule_id: str, no: int) -> bool:
        if self._is_past(schedule_id, no) or f"{schedule_id}/{no}" in self.books.booked:
            return False
        return all((lock.schedule_id, lock.no) != (schedule_id, no) for lock in self.locks())

    def _is_past(self, schedule_id: str, no: int) -> bool:
        return not self.offers_past and slots.begin(schedule_id, no) <= self.now()
