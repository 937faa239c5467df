"""The registry's tables.

Every writing transaction first raises the one change counter. On PostgreSQL that row's lock also makes
registry writers queue up, so they cannot deadlock and changes become visible in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData, Text, insert
from sqlmodel import Field, SQLModel, col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from fleet_server.registry.model import (
    Asset,
    CertificateState,
    Enrolment,
    IssuedCertificate,
    Kiosk,
    KioskState,
    QuarantineReason,
)
from fleet_server.registry.rules import Sighting
from kit.store import Database, Json, UtcDateTime, metadata_of
from wire.enrolment import EnrolmentState

METADATA: MetaData = metadata_of("fleet")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class ChangeRow(_Row, table=True):
    """The one row of the change counter."""

    __tablename__ = "registry_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class KioskRow(_Row, table=True):
    """A kiosk."""

    __tablename__ = "registry_kiosk"
    no: int | None = Field(default=None, primary_key=True)
    kid: str = Field(max_length=40, unique=True)
    asset_no: str = Field(max_length=40, unique=True)
    serial: str | None = Field(default=None, max_length=64, unique=True)
    place: str = Field(max_length=64)
    area: str = Field(max_length=64)
    floor: str = Field(max_length=16)
    x: float | None = None
    y: float | None = None
    profile: str = Field(max_length=64)
    site: str = Field(default="", max_length=64, sa_column_kwargs={"server_default": ""})
    switch: str = Field(default="", max_length=64, sa_column_kwargs={"server_default": ""})
    power_feed: str = Field(default="", max_length=64, sa_column_kwargs={"server_default": ""})
    state: str = Field(max_length=16)
    state_since: datetime = Field(sa_type=UtcDateTime)
    state_reason: str | None = Field(default=None, max_length=200)
    quarantine: str | None = Field(default=None, max_length=16)
    change_seq: int = Field(sa_type=BigInteger, index=True)


class CertificateRow(_Row, table=True):
    """A certificate of a kiosk."""

    __tablename__ = "registry_certificate"
    fingerprint: str = Field(max_length=64, primary_key=True)
    kiosk_no: int = Field(foreign_key="registry_kiosk.no", index=True)
    kid: str = Field(max_length=40)
    serial: str = Field(max_length=40, unique=True)
    key_digest: str = Field(max_length=64)
    pem: str = Field(sa_type=Text)
    not_before: datetime = Field(sa_type=UtcDateTime)
    not_after: datetime = Field(sa_type=UtcDateTime)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    issued_by: str = Field(max_length=64)
    state: str = Field(max_length=16)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoke_reason: str | None = Field(default=None, max_length=200)
    cut: bool = False
    enforced_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class EnrolmentRow(_Row, table=True):
    """A request for an identity."""

    __tablename__ = "registry_enrolment"
    id: str = Field(max_length=26, primary_key=True)
    state: str = Field(max_length=16, index=True)
    csr: str = Field(sa_type=Text)
    key_digest: str = Field(max_length=64, index=True)
    serial: str = Field(max_length=64)
    model: str | None = Field(default=None, max_length=64)
    hostname: str | None = Field(default=None, max_length=64)
    agent_version: str | None = Field(default=None, max_length=64)
    nonce: str = Field(max_length=32)
    poll_token_digest: str = Field(max_length=64)
    source: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    wrong_tries: int = 0
    kid: str | None = Field(default=None, max_length=40)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str | None = Field(default=None, max_length=64)
    reason: str | None = Field(default=None, max_length=200)
    fingerprint: str | None = Field(default=None, max_length=64)


class SightingRow(_Row, table=True):
    """The latest sessions of a kiosk, for clone detection."""

    __tablename__ = "registry_sighting"
    kid: str = Field(max_length=40, primary_key=True)
    sightings: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    updated_at: datetime = Field(sa_type=UtcDateTime)


class RegistryStore:
    """Reads, each in a transaction of its own, and the door to writing."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[RegistryWork]:
        """Open the writing transaction; it commits when the block ends. Raises: StoreBusy."""
        async with self._database.session() as session:
            statement = update(ChangeRow).where(col(ChangeRow.id) == 1).values(value=ChangeRow.value + 1)
            result = await session.exec(statement.returning(col(ChangeRow.value)))
            yield RegistryWork(session, result.scalar_one())

    async def changed_since(self, change_seq: int) -> list[Kiosk]:
        """Kiosks changed after that number."""
        async with self._database.read_session() as session:
            rows = await session.exec(select(KioskRow).where(KioskRow.change_seq > change_seq))
            return [_kiosk(row) for row in rows]

    async def kiosk(self, kid: str) -> Kiosk | None:
        """One kiosk."""
        async with self._database.read_session() as session:
            row = (await session.exec(select(KioskRow).where(KioskRow.kid == kid))).first()
            return None if row is None else _kiosk(row)

    async def kiosks(self) -> list[Kiosk]:
        """All kiosks, by id."""
        async with self._database.read_session() as session:
            return [_kiosk(row) for row in await session.exec(select(KioskRow).order_by(KioskRow.kid))]

    async def certificate(self, fingerprint: str) -> IssuedCertificate | None:
        """One certificate."""
        async with self._database.read_session() as session:
            row = await session.get(CertificateRow, fingerprint)
            return None if row is None else _certificate(row)

    async def certificates_of(self, kid: str) -> list[IssuedCertificate]:
        """The certificates of one kiosk, newest first."""
        async with self._database.read_session() as session:
            order = col(CertificateRow.issued_at).desc()
            rows = await session.exec(select(CertificateRow).where(CertificateRow.kid == kid).order_by(order))
            return [_certificate(row) for row in rows]

    async def kids_with_superseded(self) -> list[str]:
        """Kiosks with a certificate that was replaced and still opens doors."""
        async with self._database.read_session() as session:
            statement = select(CertificateRow.kid).where(CertificateRow.state == CertificateState.SUPERSEDED)
            return sorted(set(await session.exec(statement)))

    async def live_certificates(self) -> list[IssuedCertificate]:
        """Certificates that are not revoked."""
        async with self._database.read_session() as session:
            statement = select(CertificateRow).where(CertificateRow.state != CertificateState.REVOKED)
            return [_certificate(row) for row in await session.exec(statement)]

    async def revoked_certificates(self, after: datetime) -> list[IssuedCertificate]:
        """Revoked certificates that end after that moment: the revocation list."""
        async with self._database.read_session() as session:
            rows = await session.exec(
                select(CertificateRow).where(
                    CertificateRow.state == CertificateState.REVOKED, CertificateRow.not_after > after
                )
            )
            return [_certificate(row) for row in rows]

    async def unenforced(self) -> list[IssuedCertificate]:
        """Revoked certificates the broker has not been proved to refuse yet."""
        async with self._database.read_session() as session:
            rows = await session.exec(
                select(CertificateRow).where(
                    CertificateRow.state == CertificateState.REVOKED, col(CertificateRow.enforced_at).is_(None)
                )
            )
            return [_certificate(row) for row in rows]

    async def enforced(self, fingerprints: Sequence[str], at: datetime) -> None:
        """Note that the broker refuses these."""
        async with self._database.session() as session:
            statement = update(CertificateRow).where(col(CertificateRow.fingerprint).in_(fingerprints))
            await session.exec(statement.values(enforced_at=at))

    async def enrolment(self, identifier: str) -> Enrolment | None:
        """One request."""
        async with self._database.read_session() as session:
            row = await session.get(EnrolmentRow, identifier)
            return None if row is None else _enrolment(row)

    async def enrolments(self, states: Iterable[EnrolmentState], *, limit: int) -> list[Enrolment]:
        """Requests in these states, newest first."""
        async with self._database.read_session() as session:
            statement = select(EnrolmentRow).where(col(EnrolmentRow.state).in_([state.value for state in states]))
            rows = await session.exec(statement.order_by(col(EnrolmentRow.id).desc()).limit(limit))
            return [_enrolment(row) for row in rows]

    async def sightings(self) -> dict[str, list[Sighting]]:
        """The latest sessions of every kiosk, oldest first."""
        async with self._database.read_session() as session:
            rows = await session.exec(select(SightingRow))
            return {row.kid: [Sighting.of_json(item) for item in row.sightings] for row in rows}

    async def keep_sightings(self, sightings: Mapping[str, Sequence[Sighting]], at: datetime) -> None:
        """Replace the latest sessions of these kiosks; none means forget."""
        async with self._database.session() as session:
            await session.exec(delete(SightingRow).where(col(SightingRow.kid).in_(list(sightings))))
            session.add_all(
                SightingRow(kid=kid, sightings=[item.to_json() for item in items], updated_at=at)
                for kid, items in sightings.items()
                if items
            )


class RegistryWork:
    """One writing transaction."""

    def __init__(self, session: AsyncSession, change_seq: int) -> None:
        """Work in this session; rows that change carry `change_seq`."""
        self._session = session
        self._change_seq = change_seq

    async def kiosk(self, kid: str) -> Kiosk | None:
        """One kiosk."""
        row = await self._kiosk_row(kid)
        return None if row is None else _kiosk(row)

    async def kiosk_with_serial(self, serial: str) -> Kiosk | None:
        """The kiosk that has this serial number."""
        row = (await self._session.exec(select(KioskRow).where(KioskRow.serial == serial))).first()
        return None if row is None else _kiosk(row)

    async def kiosks(self) -> list[Kiosk]:
        """All kiosks."""
        return [_kiosk(row) for row in await self._session.exec(select(KioskRow))]

    async def put_assets(self, new: Sequence[Asset], changed: Sequence[Asset], at: datetime) -> None:
        """Add planned kiosks, and bring known ones to what the list says.

        Serial numbers are taken off first, so that two kiosks may swap theirs.
        """
        rows = {row.kid: row for row in await self._rows([asset.kid for asset in changed])}
        for row in rows.values():
            row.serial = None
        await self._session.flush()
        for asset in changed:
            row = rows[asset.kid]
            row.serial, row.place, row.area, row.floor = asset.serial, asset.place, asset.area, asset.floor
            row.x, row.y, row.profile, row.change_seq = asset.x, asset.y, asset.profile, self._change_seq
            row.site, row.switch, row.power_feed = asset.site or "", asset.switch or "", asset.power_feed or ""
        await self._session.flush()
        if new:
            connection = await self._session.connection()
            await connection.execute(insert(KioskRow), [self._planned(asset, at) for asset in new])

    async def set_state(
        self,
        kid: str,
        state: KioskState,
        *,
        at: datetime,
        reason: str | None = None,
        quarantine: QuarantineReason | None = None,
    ) -> None:
        """Persist the state that the machine computed."""
        row = await self._known_row(kid)
        row.state, row.state_since, row.state_reason = state.value, at, reason
        row.quarantine = None if quarantine is None else quarantine.value
        row.change_seq = self._change_seq

    async def set_states(self, kids: Sequence[str], state: KioskState, *, at: datetime) -> None:
        """Persist one state for many kiosks."""
        for row in await self._rows(kids):
            row.state, row.state_since, row.state_reason, row.quarantine = state.value, at, None, None
            row.change_seq = self._change_seq

    async def set_serial(self, kid: str, serial: str) -> None:
        """Note the serial number of the machine that stands there now."""
        row = await self._known_row(kid)
        row.serial, row.change_seq = serial, self._change_seq

    async def add_certificates(self, certificates: Sequence[IssuedCertificate]) -> None:
        """Add certificates of known kiosks."""
        rows = {row.kid: row for row in await self._rows([item.kid for item in certificates])}
        self._session.add_all(_certificate_row(item, rows[item.kid].no or 0) for item in certificates)
        await self._session.flush()

    async def certificates_of(self, kid: str) -> list[IssuedCertificate]:
        """The certificates of one kiosk, newest first."""
        order = col(CertificateRow.issued_at).desc()
        rows = await self._session.exec(select(CertificateRow).where(CertificateRow.kid == kid).order_by(order))
        return [_certificate(row) for row in rows]

    async def supersede(self, fingerprints: Sequence[str]) -> None:
        """Mark certificates as replaced by a newer one that was not seen in use yet."""
        await self._set_certificates(fingerprints, {"state": CertificateState.SUPERSEDED.value})

    async def revoke_certificates(self, fingerprints: Sequence[str], *, at: datetime, reason: str, cut: bool) -> None:
        """Put certificates on the revocation list; `cut` when a live connection has to be ended."""
        values = {"state": CertificateState.REVOKED.value, "revoked_at": at, "revoke_reason": reason, "cut": cut}
        await self._set_certificates(fingerprints, values)

    async def add_enrolment(self, enrolment: Enrolment) -> None:
        """Add a request."""
        self._session.add(EnrolmentRow(**_columns(enrolment)))
        await self._session.flush()

    async def enrolment(self, identifier: str) -> Enrolment | None:
        """One request."""
        row = await self._session.get(EnrolmentRow, identifier)
        return None if row is None else _enrolment(row)

    async def save_enrolment(self, enrolment: Enrolment) -> None:
        """Replace a request by its new version."""
        await self._session.merge(EnrolmentRow(**_columns(enrolment)))
        await self._session.flush()

    async def expire_enrolments(self, now: datetime, *, key_digest: str | None = None) -> None:
        """End pending requests whose time is over, and earlier ones of the same key."""
        over = col(EnrolmentRow.expires_at) <= now
        which = over if key_digest is None else over | (col(EnrolmentRow.key_digest) == key_digest)
        await self._session.exec(
            update(EnrolmentRow)
            .where(col(EnrolmentRow.state) == EnrolmentState.PENDING.value, which)
            .values(state=EnrolmentState.EXPIRED.value, decided_at=now)
        )

    async def pending_enrolments(self) -> int:
        """How many requests wait."""
        statement = select(func.count()).where(EnrolmentRow.state == EnrolmentState.PENDING)
        return (await self._session.exec(statement)).one()

    async def forget_enrolments(self, before: datetime) -> None:
        """Remove decided and expired requests made before that moment."""
        await self._session.exec(
            delete(EnrolmentRow).where(
                col(EnrolmentRow.created_at) < before, col(EnrolmentRow.state) != EnrolmentState.PENDING.value
            )
        )

    async def forget_sightings(self, kid: str) -> None:
        """Start clone detection of this kiosk over."""
        await self._session.exec(delete(SightingRow).where(col(SightingRow.kid) == kid))

    def _planned(self, asset: Asset, at: datetime) -> dict[str, Any]:  # Any: one column each
        more = {"state": KioskState.PLANNED.value, "state_since": at, "change_seq": self._change_seq}
        shared = {name: getattr(asset, name) or "" for name in ("site", "switch", "power_feed")}
        return {**_columns(asset), **shared, **more}

    async def _kiosk_row(self, kid: str) -> KioskRow | None:
        return (await self._session.exec(select(KioskRow).where(KioskRow.kid == kid))).first()

    async def _known_row(self, kid: str) -> KioskRow:
        row = await self._kiosk_row(kid)
        if row is None:
            raise LookupError(kid)
        return row

    async def _rows(self, kids: Sequence[str]) -> list[KioskRow]:
        found: list[KioskRow] = []
        for start in range(0, len(kids), _CHUNK):
            part = kids[start : start + _CHUNK]
            found.extend(await self._session.exec(select(KioskRow).where(col(KioskRow.kid).in_(part))))
        return found

    async def _set_certificates(self, fingerprints: Sequence[str], values: Mapping[str, object]) -> None:
        if fingerprints:
            which = col(CertificateRow.fingerprint).in_(fingerprints)
            await self._session.exec(update(CertificateRow).where(which).values(**values))


_CHUNK = 500
"""Names in one IN clause; SQLite's own limit is higher."""


def _columns(record: Asset | Enrolment) -> dict[str, Any]:  # Any: one column each
    return {name: getattr(record, name) for name in type(record).__slots__}


def _kiosk(row: KioskRow) -> Kiosk:
    return Kiosk(
        no=row.no or 0,
        kid=row.kid,
        asset_no=row.asset_no,
        serial=row.serial,
        place=row.place,
        area=row.area,
        floor=row.floor,
        x=row.x,
        y=row.y,
        profile=row.profile,
        state=KioskState(row.state),
        state_since=row.state_since,
        state_reason=row.state_reason,
        quarantine=None if row.quarantine is None else QuarantineReason(row.quarantine),
        change_seq=row.change_seq,
        site=row.site,
        switch=row.switch,
        power_feed=row.power_feed,
    )


def _certificate(row: CertificateRow) -> IssuedCertificate:
    return IssuedCertificate(
        fingerprint=row.fingerprint,
        kid=row.kid,
        serial=row.serial,
        key_digest=row.key_digest,
        pem=row.pem,
        not_before=row.not_before,
        not_after=row.not_after,
        issued_at=row.issued_at,
        issued_by=row.issued_by,
        state=CertificateState(row.state),
        revoked_at=row.revoked_at,
        revoke_reason=row.revoke_reason,
        cut=row.cut,
    )


def _certificate_row(record: IssuedCertificate, kiosk_no: int) -> CertificateRow:
    return CertificateRow(
        fingerprint=record.fingerprint,
        kiosk_no=kiosk_no,
        kid=record.kid,
        serial=record.serial,
        key_digest=record.key_digest,
        pem=record.pem,
        not_before=record.not_before,
        not_after=record.not_after,
        issued_at=record.issued_at,
        issued_by=record.issued_by,
        state=record.state.value,
        revoked_at=record.revoked_at,
        revoke_reason=record.revoke_reason,
        cut=record.cut,
    )


def _enrolment(row: EnrolmentRow) -> Enrolment:
    values = {name: getattr(row, name) for name in Enrolment.__slots__}
    return Enrolment(**{**values, "state": EnrolmentState(row.state)})
