"""Departments, doctors and slots of today; the lock that keeps a slot until it is paid; orders of locks.

A lock outlives every payment made for it: an order takes no payment in the last minutes of its lock, so that what is
paid can still be posted. The identity of a schedule goes to the page as an opaque text and is looked up again when it
comes back, so nothing the page says about price or time is believed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, TypeVar

from kit.clock import Clock, ulid
from patient_platform.errors import Refusal
from patient_platform.his.ports import Department, Doctor, His, HisCode, HisRefused, HisUnreachable, Slot
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.identity.model import Session
from patient_platform.identity.service import Identity
from patient_platform.identity.vault import Vault
from patient_platform.money import Fen
from patient_platform.payment.model import Business, Order
from patient_platform.payment.service import NewOrder, Payments
from patient_platform.registration.model import (
    DepartmentsView,
    DepartmentView,
    DoctorsView,
    DoctorView,
    Lock,
    LockRequest,
    LockView,
    SlotsView,
    SlotView,
)
from patient_platform.registration.store import LockStore

RECEIPT_FIELD: Final = "receipt"
LAST_MINUTES: Final = timedelta(seconds=150)
"""The longest a payment takes from its beginning to its posting or reversal, with some room."""
LIFE_MIN_S: Final = 20.0
LOCK_MEMORY: Final = timedelta(days=1)
CACHE_S: Final = 5.0


REFUSALS: Final = {HisCode.SLOT_TAKEN: "slot_taken", HisCode.DOCTOR_STOPPED: "doctor_stopped"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What registering is made of."""

    his: His
    identity: Identity
    payments: Payments
    store: LockStore
    vault: Vault
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Where:
    """What the opaque text of a schedule says."""

    department: str
    doctor: str
    schedule: str
    day: date

    def text(self) -> str:
        facts = [self.department, self.doctor, self.schedule, self.day.isoformat()]
        return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


class Registration:
    """The one door to registering."""

    def __init__(self, parts: Parts, *, order_life_s: float) -> None:
        self._his = parts.his
        self._identity = parts.identity
        self._payments = parts.payments
        self._store = parts.store
        self._vault = parts.vault
        self._clock = parts.clock
        self._order_life_s = order_life_s
        self._list: tuple[float, list[DepartmentView]] | None = None
        self._listing = asyncio.Lock()

    async def departments(self) -> DepartmentsView:
        """Departments of the campus; asked for once for everybody within a few seconds.

        Raises:
            Refusal: `his_down`.
        """
        async with self._listing:
            now_s = self._clock.monotonic()
            if self._list is None or now_s - self._list[0] > CACHE_S:
                self._list = (now_s, await self._departments())
            return DepartmentsView(departments=self._list[1])

    async def doctors(self, department: str) -> DoctorsView:
        """Doctors with hours today.

        Raises:
            Refusal: `his_down`, `department_unknown`.
        """
        found = await self._ask(self._his.doctors(department, self._today()), "department_unknown")
        return DoctorsView(
            doctors=[
                DoctorView(doctor=item.doctor, name=item.name, title=item.title, fee_fen=item.fee_fen, left=item.left)
                for item in found
            ]
        )

    async def slots(self, department: str, doctor: str) -> SlotsView:
        """What is left of a doctor's hours today.

        Raises:
            Refusal: `his_down`, `doctor_unknown`.
        """
        found = await self._ask(self._his.slots(department, doctor, self._today()), "doctor_unknown")
        return SlotsView(
            slots=[
                SlotView(
                    schedule=_Where(department, doctor, slot.schedule, slot.date).text(),
                    number=slot.number,
                    date=slot.date,
                    begin=slot.begin,
                    end=slot.end,
                    left=slot.left,
                    fee_fen=slot.fee_fen,
                )
                for slot in found
            ]
        )

    async def lock(self, session: Session, request: LockRequest) -> LockView:
        """Keep a slot for a patient.

        Raises:
            Refusal: `slot_unknown`, `slot_taken`, `doctor_stopped`, `visit_booked`, `his_down`.
        """
        where = _where(request.schedule)
        department, doctor, slot = await self._look(where, request.number)
        await self._not_booked(_visit(session.patient, department.name, slot.date.isoformat()))
        patient = await self._identity.patient(session.patient)
        locked = await self._ask(
            self._his.lock_slot(where.schedule, request.number, patient.his_patient, session.kiosk), "slot_taken"
        )
        lock = Lock(
            lock=ulid(self._clock),
            session=session.session,
            kiosk=session.kiosk,
            pre_id=locked.pre_id,
            slot_key=f"slot:{where.schedule}:{request.number}",
            fee_fen=locked.fee_fen,
            queue_number=locked.queue_number,
            department=department.name,
            doctor=doctor.name,
            location=department.location,
            begin=f"{slot.date.isoformat()} {slot.begin}",
            end=slot.end,
            expires_at=locked.expires_at,
        )
        await self._store.keep(lock, self._clock.utc() - LOCK_MEMORY)
        return LockView(
            lock=lock.lock,
            expires_at=lock.expires_at,
            fee_fen=lock.fee_fen,
            queue_number=lock.queue_number,
            department=lock.department,
            doctor=lock.doctor,
            begin=lock.begin,
            end=lock.end,
        )

    async def unlock(self, session: Session, number: str) -> None:
        """Give a slot back that was not ordered; what has an order is given back by the order's end."""
        lock = await self._store.lock(number)
        if lock is None or lock.session != session.session or lock.order is not None:
            return
        await self._ask(self._his.unlock_slot(lock.pre_id), "slot_unknown")
        await self._store.drop(number)

    async def order(self, session: Session, number: str) -> Order:
        """An order for a locked slot.

        Raises:
            Refusal: `slot_lost`, `visit_booked`, `order_active`.
        """
        lock = await self._store.lock(number)
        if lock is None or lock.session != session.session:
            raise Refusal("slot_lost", "this slot is not kept for you")
        left = lock.expires_at - LAST_MINUTES - self._clock.utc()
        life_s = min(self._order_life_s, left.total_seconds())
        if life_s < LIFE_MIN_S:
            raise Refusal("slot_lost", "this slot is not kept long enough to pay for it")
        patient = await self._identity.patient(session.patient)
        visit = _visit(session.patient, lock.department, lock.begin.partition(" ")[0])
        await self._not_booked(visit)
        order = await self._payments.create(
            NewOrder(
                kiosk=session.kiosk,
                session=session.session,
                patient=session.patient,
                business=Business.REGISTRATION,
                keys=(lock.slot_key, visit),
                subject={
                    "title": "门诊挂号",
                    "his_patient": patient.his_patient,
                    "pre_id": lock.pre_id,
                    "visit": visit,
                    "sealed": self._vault.seal(_receipt(lock), RECEIPT_FIELD),
                },
                amount_fen=Fen(lock.fee_fen),
                life_s=life_s,
                reserves=True,
            )
        )
        await self._store.ordered(number, order.order)
        return order

    async def _not_booked(self, visit: str) -> None:
        """One visit a day in a department: a second one is nearly always a mistake, the counter can still make it."""
        patient = visit.split(":")[1]
        if any(order.subject.get("visit") == visit for order in await self._payments.papers_of(patient)):
            raise Refusal("visit_booked", "there is a visit in this department on this day already")

    async def _departments(self) -> list[DepartmentView]:
        found = await self._ask(self._his.departments(), "his_refused")
        return [
            DepartmentView(
                department=item.department,
                name=item.name,
                pinyin=item.pinyin,
                location=item.location,
                floor=item.floor,
                has_slots=True,
            )
            for item in found
        ]

    async def _look(self, where: _Where, number: int) -> tuple[Department, Doctor, Slot]:
        """The slot as the HIS has it, whatever the page says."""
        departments = await self._ask(self._his.departments(), "slot_unknown")
        doctors = await self._ask(self._his.doctors(where.department, where.day), "slot_unknown")
        slots = await self._ask(self._his.slots(where.department, where.doctor, where.day), "slot_unknown")
        department = next((item for item in departments if item.department == where.department), None)
        doctor = next((item for item in doctors if item.doctor == where.doctor), None)
        slot = next((item for item in slots if (item.schedule, item.number) == (where.schedule, number)), None)
        if department is None or doctor is None or slot is None:
            raise Refusal("slot_unknown", "there is no such slot", status=404)
        return department, doctor, slot

    async def _ask(self, asking: Awaitable[T], refused_code: str) -> T:
        try:
            return await asking
        except HisUnreachable:
            raise Refusal("his_down", "the HIS does not answer", status=503) from None
        except HisRefused as refused:
            code = REFUSALS.get(refused.code, refused_code)
            raise Refusal(code, "the HIS says no") from None

    def _today(self) -> date:
        return self._clock.utc().astimezone(HOSPITAL_TIME).date()


def _where(text: str) -> _Where:
    try:
        facts = json.loads(base64.urlsafe_b64decode(text))
        department, doctor, schedule, day = (str(fact) for fact in facts)
        return _Where(department, doctor, schedule, date.fromisoformat(day))
    except (ValueError, TypeError, binascii.Error):
        raise Refusal("slot_unknown", "there is no such slot", status=404) from None


def _visit(patient: str, department: str, day: str) -> str:
    return f"visit:{patient}:{day}:{department}"


def _receipt(lock: Lock) -> str:
    return json.dumps(
        {
            "department": lock.department,
            "doctor": lock.doctor,
            "location": lock.location,
            "begin": lock.begin,
            "end": lock.end,
            "queue_number": lock.queue_number,
            "lines": [{"name": "挂号费", "specification": "", "quantity": "1", "amount_fen": lock.fee_fen}],
        },
        ensure_ascii=False,
    )
