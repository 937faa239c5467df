"""Patients and sessions in the database; every column that identifies somebody is sealed."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from sqlalchemy import MetaData, delete
from sqlmodel import Field, SQLModel, col, select, update

from kit.store import Database, UtcDateTime, metadata_of
from patient_platform.identity.model import Patient, Session
from patient_platform.identity.vault import Vault

METADATA: MetaData = metadata_of("patient")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class PatientRow(_Row, table=True):
    """A patient."""

    __tablename__ = "identity_patient"
    patient: str = Field(max_length=40, primary_key=True)
    his_patient: str = Field(max_length=64, unique=True)
    visit_number: str = Field(max_length=1_000)
    number_index: str = Field(max_length=64, index=True)
    name_sealed: str = Field(max_length=1_000)
    number_sealed: str = Field(max_length=1_000)
    phone_sealed: str = Field(max_length=1_000)
    birthday_sealed: str = Field(max_length=1_000)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SessionRow(_Row, table=True):
    """A session."""

    __tablename__ = "identity_session"
    session: str = Field(max_length=40, primary_key=True)
    kiosk: str = Field(max_length=40, index=True)
    patient: str = Field(max_length=40, foreign_key="identity_patient.patient")
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class IdentityStore:
    """Keeps patients sealed and sessions short."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def keep(self, patient: Patient, now: datetime) -> Patient:
        """Add a patient or renew what is known of them; with the reference they have here."""
        async with self._database.session() as session:
            statement = select(PatientRow).where(PatientRow.his_patient == patient.his_patient)
            known = (await session.exec(statement)).first()
            row = self._row(patient if known is None else self._renamed(patient, known.patient), now)
            await session.merge(row)
            return self._renamed(patient, row.patient)

    async def patient(self, reference: str) -> Patient | None:
        """A patient, opened. Raises: Unsealable."""
        async with self._database.read_session() as session:
            row = await session.get(PatientRow, reference)
        return None if row is None else self._patient(row)

    async def begin(self, session: Session, now: datetime, forget_before: datetime) -> None:
        """Keep a new session; those of the kiosk before it are over, and long dead ones are forgotten."""
        async with self._database.session() as connection:
            others = update(SessionRow).where(
                col(SessionRow.kiosk) == session.kiosk, col(SessionRow.ended_at).is_(None)
            )
            await connection.exec(others.values(ended_at=now))
            await connection.exec(delete(SessionRow).where(col(SessionRow.expires_at) < forget_before))
            connection.add(
                SessionRow(
                    session=session.session,
                    kiosk=session.kiosk,
                    patient=session.patient,
                    created_at=now,
                    expires_at=session.expires_at,
                )
            )

    async def session(self, number: str) -> Session | None:
        """A session."""
        async with self._database.read_session() as session:
            row = await session.get(SessionRow, number)
        return None if row is None else Session(row.session, row.kiosk, row.patient, row.expires_at, row.ended_at)

    async def end(self, number: str, now: datetime) -> None:
        """A session is over."""
        async with self._database.session() as session:
            ending = update(SessionRow).where(col(SessionRow.session) == number, col(SessionRow.ended_at).is_(None))
            await session.exec(ending.values(ended_at=now))

    def _renamed(self, patient: Patient, reference: str) -> Patient:
        return Patient(
            reference,
            patient.his_patient,
            patient.visit_number,
            patient.name,
            patient.id_number,
            patient.phone,
            patient.birthday,
        )

    def _row(self, patient: Patient, now: datetime) -> PatientRow:
        vault = self._vault
        born = "" if patient.birthday is None else patient.birthday.isoformat()
        return PatientRow(
            patient=patient.patient,
            his_patient=patient.his_patient,
            visit_number=vault.seal(patient.visit_number, "visit_number"),
            number_index=vault.blind(patient.id_number, "number"),
            name_sealed=vault.seal(patient.name, "name"),
            number_sealed=vault.seal(patient.id_number, "number"),
            phone_sealed=vault.seal(patient.phone, "phone"),
            birthday_sealed=vault.seal(born, "birthday"),
            updated_at=now,
        )

    def _patient(self, row: PatientRow) -> Patient:
        vault = self._vault
        born = vault.open(row.birthday_sealed, "birthday")
        return Patient(
            row.patient,
            row.his_patient,
            vault.open(row.visit_number, "visit_number"),
            vault.open(row.name_sealed, "name"),
            vault.open(row.number_sealed, "number"),
            vault.open(row.phone_sealed, "phone"),
            date.fromisoformat(born) if born else None,
        )
