"""The hospital's own rules: who has what, which slot is whose, what was paid. No network in here.

A commit is told the same answer however often its trade number comes; that is what a kiosk platform has to be able
to rely on. Slots are locked for a while, and whoever is second is told so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, Final

from kit.clock import Clock
from simulators.his.model import ZONE, Bill, Books, Code, Doctor, Lock, Patient, Refused, Trade
from simulators.his.seeding import DEPARTMENTS, doctors, first_books, new_bill

LOCK_S: Final = 600.0
SLOTS: Final = 12
_MORNING: Final = ("上午", 8)
_AFTERNOON: Final = ("下午", 14)
_MINUTES: Final = 15
_OPEN_DAYS: Final = 8
_TEXT: Final = "%Y-%m-%d %H:%M:%S"
Parameters = Mapping[str, Any]  # Any: a JSON document
Data = dict[str, Any]  # Any: a JSON document


class Hospital:
    """One hospital."""

    def __init__(self, clock: Clock, seed: int = 1, books: Books | None = None) -> None:
        self.clock = clock
        self.seed = seed
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
        number = _text(parameters, "id_card")
        known = next((one for one in self.books.patients.values() if one.id_card == number and number), None)
        if known is None:
            self.books.counter += 1
            known = Patient(
                patient_id=f"N{self.books.counter:07d}",
                mzh=f"27{self.books.counter:08d}",
                name=_text(parameters, "name"),
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
        department, day = _text(parameters, "dept_id"), self._day(parameters)
        if department not in {one.dept_id for one in DEPARTMENTS}:
            raise Refused(Code.NOT_FOUND, "科室不存在")
        rows = []
        for doctor in self.doctors.values():
            if doctor.dept_id == department and not self._is_stopped(doctor):
                left = sum(
                    not self._taken(f"{half}", no) for half in self._halves(doctor, day) for no in self._numbers()
                )
                rows.append(
                    {
                        "doctor_id": doctor.doctor_id,
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
        doctor, day = self._doctor(_text(parameters, "doctor_id")), self._day(parameters)
        rows = []
        for schedule_id, (title, hour) in zip(self._halves(doctor, day), (_MORNING, _AFTERNOON), strict=True):
            zones = [
                {
                    "no": no,
                    "begin": _clock_text(hour, (no - 1) * _MINUTES),
                    "end": _clock_text(hour, no * _MINUTES),
                    "left": 0 if self._taken(schedule_id, no) else 1,
                }
                for no in self._numbers()
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
        schedule_id, no = _text(parameters, "schedule_id"), _whole(parameters, "no")
        patient = self._patient(parameters)
        doctor = self._doctor(schedule_id.split("-")[0])
        if self._is_stopped(doctor):
            raise Refused(Code.DOCTOR_STOPPED, "医生停诊")
        if no not in self._numbers() or schedule_id not in self._schedules(doctor):
            raise Refused(Code.NOT_FOUND, "号源不存在")
        mine = next((one for one in self._live_locks() if (one.schedule_id, one.no) == (schedule_id, no)), None)
        if mine is not None and mine.patient_id != patient.patient_id:
            raise Refused(Code.SLOT_TAKEN, "号源已被占用")
        if f"{schedule_id}/{no}" in self.books.booked:
            raise Refused(Code.SLOT_TAKEN, "号源已被占用")
        if mine is None:
            self.books.counter += 1
            expires_at = self.clock.utc().timestamp() + LOCK_S
            mine = Lock(
                f"L{self.books.counter:07d}", schedule_id, no, patient.patient_id, _see_no(schedule_id, no), expires_at
            )
            self.books.locks[mine.pre_id] = mine
        return {
            "pre_id": mine.pre_id,
            "see_no": mine.see_no,
            "reg_fee": doctor.reg_fee,
            "expires_at": datetime.fromtimestamp(mine.expires_at, ZONE).strftime(_TEXT),
        }

    def schedule_unlock(self, parameters: Parameters) -> Data:
        """Give it back; once more does no harm."""
        self.books.locks.pop(_text(parameters, "pre_id"), None)
        return {}

    def register_commit(self, parameters: Parameters) -> Data:
        """The slot is paid."""

        def commit() -> Data:
            lock = self.books.locks.get(_text(parameters, "pre_id"))
            if lock is None or lock.expires_at <= self.clock.utc().timestamp():
                raise Refused(Code.SLOT_TAKEN, "号源锁定已失效")
            doctor = self._doctor(lock.schedule_id.split("-")[0])
            if self._is_stopped(doctor):
                raise Refused(Code.DOCTOR_STOPPED, "医生停诊")
            if _whole(parameters, "amount") != doctor.reg_fee:
                raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
            if lock.patient_id != _text(parameters, "patient_id"):
                raise Refused(Code.SLOT_TAKEN, "号源已被占用")
            self.books.booked[f"{lock.schedule_id}/{lock.no}"] = _text(parameters, "trade_no")
            del self.books.locks[lock.pre_id]
            department = next(one for one in DEPARTMENTS if one.dept_id == doctor.dept_id)
            return {
                "register_no": f"G{self.books.counter + 1:08d}",
                "see_no": lock.see_no,
                "location": f"{department.location} {department.dept_name}",
            }

        return self._once(parameters, "register", commit)

    def register_refund(self, parameters: Parameters) -> Data:
        """Take a registration back; the slot is free again."""

        def undo(trade: Trade) -> None:
            for slot, number in list(self.books.booked.items()):
                if number == trade.trade_no:
                    del self.books.booked[slot]

        return self._undo(parameters, undo)

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
            if sum(bill.should_money for bill in bills) != _whole(parameters, "amount"):
                raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
            for bill in bills:
                bill.state, bill.trade_no = "paid", _text(parameters, "trade_no")
            is_medicine = any(bill.kind == "处方" for bill in bills)
            return {"window": f"{1 + self.books.counter % 6} 号取药窗口" if is_medicine else ""}

        return self._once(parameters, "bill", commit)

    def charge_refund(self, parameters: Parameters) -> Data:
        """Bills are unpaid again."""

        def undo(trade: Trade) -> None:
            for bill in self.books.bills.values():
                if bill.trade_no == trade.trade_no:
                    bill.state, bill.trade_no = "unpaid", ""

        return self._undo(parameters, undo)

    # --- books ---------------------------------------------------------------------------------------------

    def trade_check(self, parameters: Parameters) -> Data:
        """Whether a commit has happened."""
        number = _text(parameters, "trade_no")
        book = self.books.refunds if parameters.get("business") == "refund" else self.books.trades
        trade = book.get(number)
        if trade is None:
            return {"state": "notfound"}
        return {"state": "found", "amount": trade.amount, **trade.answer}

    def trade_list(self, parameters: Parameters) -> Data:
        """Everything of a day, a page at a time."""
        day = _text(parameters, "day")
        offset, length = _whole(parameters, "offset"), min(_whole(parameters, "length"), 5_000)
        trades = [*self.books.trades.values(), *self.books.refunds.values()]
        found = sorted((one for one in trades if one.time_trade.startswith(day)), key=lambda one: one.reconciliation_no)
        rows = [
            {
                "trade_no": one.trade_no,
                "refund_no": one.refund_no,
                "business": one.business,
                "amount": one.amount,
                "pay_channel": one.pay_channel,
                "trade_channel_payid": one.trade_channel_payid,
                "time_trade": one.time_trade,
                "reconciliation_no": one.reconciliation_no,
                "terminal_type": "kiosk",
            }
            for one in found[offset : offset + length]
        ]
        return {"total": len(found), "rows": rows}

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
        for lock in [one for one in self.books.locks.values() if (one.schedule_id, one.no) == (schedule_id, no)]:
            del self.books.locks[lock.pre_id]

    # --- parts ---------------------------------------------------------------------------------------------

    def _once(self, parameters: Parameters, business: str, commit: Callable[[], Data]) -> Data:
        number = _text(parameters, "trade_no")
        known = self.books.trades.get(number)
        if known is not None:
            if known.amount != _whole(parameters, "amount"):
                raise Refused(Code.CONFLICT, "同一流水号金额不一致")
            return known.answer
        data = commit()
        self.books.counter += 1
        data["reconciliation_no"] = f"H{self.books.counter:09d}"
        self.books.trades[number] = Trade(
            number,
            business,
            _whole(parameters, "amount"),
            str(parameters.get("pay_channel", "")),
            str(parameters.get("trade_channel_payid", "")),
            self.now().strftime(_TEXT),
            data["reconciliation_no"],
            answer=data,
        )
        return data

    def _undo(self, parameters: Parameters, undo: Callable[[Trade], None]) -> Data:
        number = _text(parameters, "refund_no")
        known = self.books.refunds.get(number)
        if known is not None:
            return known.answer
        trade = self.books.trades.get(_text(parameters, "trade_no"))
        if trade is None:
            raise Refused(Code.NOT_FOUND, "流水号不存在")
        if any(one.trade_no == trade.trade_no for one in self.books.refunds.values()):
            raise Refused(Code.CONFLICT, "已退费")
        if _whole(parameters, "amount") != trade.amount:
            raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
        undo(trade)
        self.books.counter += 1
        data = {"reconciliation_no": f"H{self.books.counter:09d}"}
        self.books.refunds[number] = Trade(
            trade.trade_no,
            "refund",
            -trade.amount,
            trade.pay_channel,
            trade.trade_channel_payid,
            self.now().strftime(_TEXT),
            data["reconciliation_no"],
            number,
            data,
        )
        return data

    def _payable(self, parameters: Parameters) -> list[Bill]:
        bills = self._bills(parameters)
        for bill in bills:
            if bill.state == "void":
                raise Refused(Code.BILL_VOID, "处方已作废")
            if bill.state == "paid":
                raise Refused(Code.ALREADY_PAID, "已缴费")
        return bills

    def _bills(self, parameters: Parameters) -> list[Bill]:
        numbers, patient = _texts(parameters, "recipe_ids"), self._patient(parameters)
        if len(set(numbers)) < len(numbers):
            raise Refused(Code.PARAMETER, "单据重复")
        bills = [self._bill(number) for number in numbers]
        if any(bill.patient_id != patient.patient_id for bill in bills):
            raise Refused(Code.NOT_FOUND, "单据不存在")
        return bills

    def _patient(self, parameters: Parameters) -> Patient:
        found = self.books.patients.get(_text(parameters, "patient_id"))
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
            day = date.fromisoformat(_text(parameters, "date"))
        except ValueError:
            raise Refused(Code.PARAMETER, "日期格式错误") from None
        today = self.now().date()
        if not today <= day < today + timedelta(days=_OPEN_DAYS):
            raise Refused(Code.NOT_FOUND, "未放号")
        return day

    def _live_locks(self) -> list[Lock]:
        now = self.clock.utc().timestamp()
        return [lock for lock in self.books.locks.values() if lock.expires_at > now]

    def _taken(self, schedule_id: str, no: int) -> bool:
        if f"{schedule_id}/{no}" in self.books.booked:
            return True
        return any((lock.schedule_id, lock.no) == (schedule_id, no) for lock in self._live_locks())

    def _schedules(self, doctor: Doctor) -> set[str]:
        today = self.now().date()
        return {half for day in range(_OPEN_DAYS) for half in self._halves(doctor, today + timedelta(days=day))}

    @staticmethod
    def _halves(doctor: Doctor, day: date) -> tuple[str, str]:
        return f"{doctor.doctor_id}-{day:%Y%m%d}-1", f"{doctor.doctor_id}-{day:%Y%m%d}-2"

    @staticmethod
    def _numbers() -> range:
        return range(1, SLOTS + 1)


def _see_no(schedule_id: str, no: int) -> str:
    return f"{'上' if schedule_id.endswith('1') else '下'}{no:02d}"


def _clock_text(hour: int, minutes: int) -> str:
    return f"{hour + minutes // 60:02d}:{minutes % 60:02d}"


def _text(parameters: Parameters, name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value or len(value) > 200:  # noqa: PLR2004 - longer than any number
        raise Refused(Code.PARAMETER, f"缺少参数 {name}")
    return value


def _whole(parameters: Parameters, name: str) -> int:
    value = parameters.get(name)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused(Code.PARAMETER, f"参数 {name} 错误")
    return value


def _texts(parameters: Parameters, name: str) -> list[str]:
    value = parameters.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= 100 or not all(isinstance(one, str) for one in value):  # noqa: PLR2004 - more than any patient has
        raise Refused(Code.PARAMETER, f"参数 {name} 错误")
    return value
