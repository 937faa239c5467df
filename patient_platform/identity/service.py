"""Finds or makes the patient behind what was presented, and opens a session for them at one kiosk."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final, Protocol

from kit.clock import Clock, ulid
from patient_platform.errors import Refusal
from patient_platform.his.ports import His, HisPatient, HisRefused, HisUnreachable, Medium, NewPatient
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.identity.masking import age_on, born_of, is_resident_number, mask_name, mask_phone, tail
from patient_platform.identity.model import (
    ELDER_AGE,
    AnyMedium,
    CodeMedium,
    IdCardMedium,
    Patient,
    PatientView,
    Session,
    SessionView,
    SocialSecurityCardMedium,
    VisitNumberMedium,
)
from patient_platform.identity.store import IdentityStore

SESSION_LIFE: Final = timedelta(minutes=30)
SESSION_MEMORY: Final = timedelta(days=1)
VISIT_CODE: Final = "MZ"
RESIDENT_DIGITS: Final = 18


class Tell(Protocol):
    """Notes that a kiosk was told who somebody is."""

    async def __call__(self, kiosk: str, kind: str, patient: str, *, is_new: bool) -> None:
        """Raises: StoreBusy."""


class Identity:
    """The one door to who somebody is."""

    def __init__(self, store: IdentityStore, his: His, clock: Clock, tell: Tell) -> None:
        self._store = store
        self._tell = tell
        self._his = his
        self._clock = clock

    async def identify(self, kiosk: str, medium: AnyMedium) -> SessionView:
        """Open a session for whom the medium belongs to; a person with a document who is new is registered.

        Raises:
            Refusal: `number_wrong`, `patient_unknown`, `name_differs`, `several_patients`, `his_down`.
        """
        try:
            found, is_new = await self._find(medium)
        except HisUnreachable:
            raise Refusal("his_down", "the HIS does not answer", status=503) from None
        except HisRefused:
            raise Refusal("patient_refused", "the HIS does not accept this person") from None
        now = self._clock.utc()
        patient = await self._store.keep(_patient(found, ulid(self._clock)), now)
        session = Session(secrets.token_hex(16), kiosk, patient.patient, now + SESSION_LIFE)
        await self._tell(kiosk, medium.kind, patient.patient, is_new=is_new)  # before anybody is told who it is
        await self._store.begin(session, now, now - SESSION_MEMORY)
        return SessionView(
            session=session.session, expires_at=session.expires_at, patient=self.view(patient, is_new=is_new)
        )

    async def session(self, number: str, kiosk: str) -> Session:
        """A running session of this kiosk.

        Raises:
            Refusal: `session_over`.
        """
        session = await self._store.session(number)
        if session is None or session.kiosk != kiosk or session.ended_at or session.expires_at <= self._clock.utc():
            raise Refusal("session_over", "this session is over", status=410)
        return session

    async def patient(self, reference: str) -> Patient:
        """A patient we know.

        Raises:
            Refusal: `patient_unknown`.
        """
        patient = await self._store.patient(reference)
        if patient is None:
            raise Refusal("patient_unknown", "there is no such patient", status=404)
        return patient

    async def end(self, number: str, kiosk: str) -> None:
        """The patient leaves; once is enough."""
        session = await self._store.session(number)
        if session is not None and session.kiosk == kiosk:
            await self._store.end(number, self._clock.utc())

    def view(self, patient: Patient, *, is_new: bool = False) -> PatientView:
        """What a screen may show."""
        today = self._clock.utc().astimezone(HOSPITAL_TIME).date()
        age = age_on(patient.birthday or born_of(patient.id_number), today)
        return PatientView(
            display_name=mask_name(patient.name),
            number_tail=tail(patient.id_number),
            phone=mask_phone(patient.phone),
            is_elder=age is not None and age >= ELDER_AGE,
            is_new=is_new,
        )

    async def _find(self, medium: AnyMedium) -> tuple[HisPatient, bool]:
        match medium:
            case IdCardMedium() | SocialSecurityCardMedium():
                return await self._of_document(medium)
            case CodeMedium(text=text):
                by = Medium.VISIT_NUMBER if text.startswith(VISIT_CODE) else Medium.CARD_NUMBER
                return self._only(await self._his.find_patients(by, text.removeprefix(VISIT_CODE))), False
            case VisitNumberMedium(text=text):
                return self._only(await self._his.find_patients(Medium.VISIT_NUMBER, text)), False

    async def _of_document(self, medium: IdCardMedium | SocialSecurityCardMedium) -> tuple[HisPatient, bool]:
        number = medium.number.upper()
        if len(number) == RESIDENT_DIGITS and not is_resident_number(number):
            raise Refusal("number_wrong", "the number's check digit does not fit", status=422)
        known = await self._his.find_patients(Medium.ID_NUMBER, number)
        if known:
            patient = self._only(known)
            if patient.name and _plain(patient.name) != _plain(medium.name):
                raise Refusal("name_differs", "the HIS has another name for this number")
            return patient, False
        born = medium.born if isinstance(medium, IdCardMedium) else None
        person = NewPatient(
            medium.name,
            medium.sex if isinstance(medium, IdCardMedium) else "",
            born or born_of(number),
            number,
            address=medium.address if isinstance(medium, IdCardMedium) else "",
        )
        return await self._his.create_patient(person), True

    @staticmethod
    def _only(found: list[HisPatient]) -> HisPatient:
        if not found:
            raise Refusal("patient_unknown", "nobody has this number", status=404)
        if len(found) > 1:
            raise Refusal("several_patients", "several patients have this number")
        return found[0]


def _patient(found: HisPatient, reference: str) -> Patient:
    return Patient(
        reference,
        found.patient_id,
        found.visit_number,
        found.name,
        found.id_number,
        found.phone,
        found.birthday,
    )


def _plain(name: str) -> str:
    """Names differ by dots and spaces only between systems: `买买提·艾力` and `买买提•艾力`."""
    return "".join(character for character in name if character.isalnum()).casefold()
