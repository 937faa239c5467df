"""Tables of staff: accounts, sessions, API tokens, the audit trail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData
from sqlmodel import Field, SQLModel, col, delete, func, select, update

from fleet_server.staff.model import ApiToken, AuditRow, Policy, PolicyView, Recovery, Reset, Session, User
from fleet_server.staff.permissions import Role
from kit.store import Database, Json, UtcDateTime, metadata_of

METADATA: MetaData = metadata_of("fleet")
_RECOVERY = tuple(Recovery.__slots__)


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class UserRow(_Row, table=True):
    """An account."""

    __tablename__ = "staff_user"
    username: str = Field(max_length=32, primary_key=True)
    display_name: str = Field(max_length=64)
    roles: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    language: str = Field(max_length=8)
    password_hash: str = Field(max_length=256)
    earlier_hashes: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    totp_secret: str = Field(max_length=64)
    totp_last_step: int = Field(sa_type=BigInteger)
    failures: int
    locked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    is_active: bool
    created_at: datetime = Field(sa_type=UtcDateTime)
    password_changed_at: datetime = Field(sa_type=UtcDateTime)
    recovery_digest: str | None = Field(default=None, max_length=64, index=True)
    recovery_reset: str | None = Field(default=None, max_length=16)
    recovery_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    spare_codes: list[Any] | None = Field(default=None, sa_type=Json)  # Any: a JSON document
    sso_name: str | None = Field(default=None, max_length=128, unique=True)


class PolicyRow(_Row, table=True):
    """The one row of the security policy; none while the defaults hold."""

    __tablename__ = "staff_policy"
    id: int = Field(primary_key=True)
    version: int
    document: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(max_length=64)


class SessionRow(_Row, table=True):
    """A signed-in browser."""

    __tablename__ = "staff_session"
    id: str = Field(max_length=26, primary_key=True)
    username: str = Field(max_length=32, foreign_key="staff_user.username", index=True)
    digest: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime = Field(sa_type=UtcDateTime)
    source: str = Field(max_length=64)


class TokenRow(_Row, table=True):
    """An API token."""

    __tablename__ = "staff_token"
    id: str = Field(max_length=26, primary_key=True)
    username: str = Field(max_length=32, foreign_key="staff_user.username", index=True)
    digest: str = Field(max_length=64, unique=True)
    name: str = Field(max_length=64)
    permissions: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class AuditHeadRow(_Row, table=True):
    """The one row with the end of the audit chain; its lock makes writers queue up."""

    __tablename__ = "staff_audit_head"
    id: int = Field(primary_key=True)
    no: int = Field(sa_type=BigInteger)
    chain: str = Field(max_length=64)


class AuditLine(_Row, table=True):
    """One line of the audit trail."""

    __tablename__ = "staff_audit"
    no: int = Field(sa_type=BigInteger, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(max_length=64, index=True)
    action: str = Field(max_length=64, index=True)
    target: str | None = Field(default=None, max_length=64, index=True)
    outcome: str = Field(max_length=16)
    source: str | None = Field(default=None, max_length=64)
    fields: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    chain: str = Field(max_length=64)


class StaffStore:
    """Accounts, sessions, tokens; each call is one transaction."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def user(self, username: str) -> User | None:
        """One account."""
        async with self._database.read_session() as session:
            row = await session.get(UserRow, username)
            return None if row is None else _user(row)

    async def user_by_recovery(self, digest: str) -> User | None:
        """The account for which the recovery token with that digest is out."""
        async with self._database.read_session() as session:
            row = (await session.exec(select(UserRow).where(UserRow.recovery_digest == digest))).first()
            return None if row is None else _user(row)

    async def users(self) -> list[User]:
        """All accounts, by name."""
        async with self._database.read_session() as session:
            return [_user(row) for row in await session.exec(select(UserRow).order_by(UserRow.username))]

    async def add_user(self, user: User, *, only_if_none: bool = False) -> bool:
        """Keep a new account; False when the name is taken, or `only_if_none` and there is any account."""
        async with self._database.session() as session:
            # The row of the audit head as a lock: two accounts made at once, or two first administrators, queue up.
            await session.get_one(AuditHeadRow, 1, with_for_update=True)
            taken = await session.get(UserRow, user.username) is not None
            if only_if_none:
                taken = (await session.exec(select(func.count()).select_from(UserRow))).one() > 0
            if not taken:
                session.add(_user_row(user))
            return not taken

    async def change_user(
        self, username: str, change: Callable[[User], User], *, check: Callable[[Sequence[User]], None] | None = None
    ) -> tuple[User, User] | None:
        """Apply `change` to an account under its lock; the account before and after, None when there is none.

        `check` is given all accounts as they would be, under the lock of all of them, and raises to refuse.
        """
        async with self._database.session() as session:
            if check is not None:
                rows = await session.exec(select(UserRow).order_by(UserRow.username).with_for_update())
                others = [_user(row) for row in rows if row.username != username]
            row = await session.get(UserRow, username, with_for_update=True)
            if row is None:
                return None
            before = _user(row)
            after = change(before)
            if check is not None:
                check([*others, after])
            await session.merge(_user_row(after))
            return before, after

    async def add_session(self, new: Session) -> None:
        """Keep a session."""
        async with self._database.session() as session:
            session.add(SessionRow(**_fields(new)))

    async def session_by_digest(self, digest: str) -> Session | None:
        """The session of that token."""
        async with self._database.read_session() as session:
            row = (await session.exec(select(SessionRow).where(SessionRow.digest == digest))).first()
            return None if row is None else Session(**row.model_dump())

    async def sessions(self) -> list[Session]:
        """All sessions, newest first."""
        async with self._database.read_session() as session:
            rows = await session.exec(select(SessionRow).order_by(col(SessionRow.created_at).desc()))
            return [Session(**row.model_dump()) for row in rows]

    async def touch_session(self, identifier: str, at: datetime) -> None:
        """Note that a session was used."""
        async with self._database.session() as session:
            await session.exec(update(SessionRow).where(col(SessionRow.id) == identifier).values(last_used_at=at))

    async def drop_sessions(self, *, identifier: str | None = None, username: str | None = None) -> int:
        """End one session, or all of an account; how many there were."""
        statement = delete(SessionRow)
        if identifier is not None:
            statement = statement.where(col(SessionRow.id) == identifier)
        if username is not None:
            statement = statement.where(col(SessionRow.username) == username)
        async with self._database.session() as session:
            return (await session.exec(statement)).rowcount

    async def drop_dead_sessions(self, created_before: datetime, used_before: datetime) -> None:
        """Forget sessions that are too old or unused for too long."""
        dead = (col(SessionRow.created_at) < created_before) | (col(SessionRow.last_used_at) < used_before)
        async with self._database.session() as session:
            await session.exec(delete(SessionRow).where(dead))

    async def add_token(self, token: ApiToken) -> None:
        """Keep an API token."""
        async with self._database.session() as session:
            session.add(TokenRow(**{**_fields(token), "permissions": sorted(token.permissions)}))

    async def token_by_digest(self, digest: str) -> ApiToken | None:
        """The API token with that digest."""
        async with self._database.read_session() as session:
            row = (await session.exec(select(TokenRow).where(TokenRow.digest == digest))).first()
            return None if row is None else _token(row)

    async def tokens(self, username: str) -> list[ApiToken]:
        """The API tokens of an account, newest first."""
        async with self._database.read_session() as session:
            order = col(TokenRow.created_at).desc()
            rows = await session.exec(select(TokenRow).where(TokenRow.username == username).order_by(order))
            return [_token(row) for row in rows]

    async def drop_token(self, identifier: str, username: str) -> bool:
        """Withdraw an API token of that account; False when there is none."""
        async with self._database.session() as session:
            statement = delete(TokenRow).where(col(TokenRow.id) == identifier, col(TokenRow.username) == username)
            return (await session.exec(statement)).rowcount > 0

    async def end_everything(self, username: str) -> int:
        """End all sessions and withdraw all API tokens of an account; how many there were."""
        async with self._database.session() as session:
            sessions = await session.exec(delete(SessionRow).where(col(SessionRow.username) == username))
            tokens = await session.exec(delete(TokenRow).where(col(TokenRow.username) == username))
            return sessions.rowcount + tokens.rowcount


class PolicyStore:
    """The security policy."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def policy(self) -> PolicyView | None:
        """What was set; None while nobody has set anything."""
        async with self._database.read_session() as session:
            row = await session.get(PolicyRow, 1)
        if row is None:
            return None
        return PolicyView(**row.document, version=row.version, changed_at=row.changed_at, changed_by=row.changed_by)

    async def put_policy(self, policy: Policy, *, at: datetime, by: str, expected_version: int) -> bool:
        """Keep it; False when the one in force is not of the expected version."""
        document = {name: getattr(policy, name) for name in Policy.model_fields}
        row = PolicyRow(id=1, version=expected_version + 1, document=document, changed_at=at, changed_by=by)
        async with self._database.session() as session:
            # The row of the audit head as a lock, also while there is no row of the policy yet.
            await session.get_one(AuditHeadRow, 1, with_for_update=True)
            present = await session.get(PolicyRow, 1)
            if (0 if present is None else present.version) != expected_version:
                return False
            await session.merge(row)
            return True


class AuditStore:
    """The audit trail: rows are added and read, nothing else."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    @asynccontextmanager
    async def appending(self) -> AsyncIterator[tuple[int, str, Callable[[AuditRow], None]]]:
        """Number and chain of the last row, and how to add the next one, under the chain's lock."""
        async with self._database.session() as session:
            head = await session.get_one(AuditHeadRow, 1, with_for_update=True)

            def add(row: AuditRow) -> None:
                session.add(AuditLine(**_fields(row)))
                head.no, head.chain = row.no, row.chain

            yield head.no, head.chain, add

    async def head(self) -> tuple[int, str]:
        """Number and chain of the last row; 0 and the start of the chain for an empty trail, -1 without a head."""
        async with self._database.read_session() as session:
            head = await session.get(AuditHeadRow, 1)
            return (-1, "") if head is None else (head.no, head.chain)

    async def chain_at(self, no: int) -> str | None:
        """The chain value of one row, None when there is no such row."""
        async with self._database.read_session() as session:
            return (await session.exec(select(AuditLine.chain).where(AuditLine.no == no))).first()

    async def rows(  # noqa: PLR0913 - the filters of the trail
        self,
        *,
        after_no: int | None = None,
        before_no: int | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        limit: int,
    ) -> Sequence[AuditRow]:
        """Rows in rising order after `after_no`, or falling before `before_no`."""
        statement = select(AuditLine)
        for column, wanted in ((AuditLine.actor, actor), (AuditLine.action, action), (AuditLine.target, target)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if since is not None:
            statement = statement.where(AuditLine.at >= since)
        if after_no is not None:
            statement = statement.where(AuditLine.no > after_no).order_by(col(AuditLine.no))
        else:
            statement = statement.order_by(col(AuditLine.no).desc())
        if before_no is not None:
            statement = statement.where(AuditLine.no < before_no)
        async with self._database.read_session() as session:
            return [AuditRow(**row.model_dump()) for row in await session.exec(statement.limit(limit))]


def _fields(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any of our slotted records
    return {name: getattr(record, name) for name in record.__slots__}


def _user(row: UserRow) -> User:
    values = row.model_dump()
    digest, reset, expires_at = (values.pop(f"recovery_{name}") for name in _RECOVERY)
    recovery = None if digest is None else Recovery(digest, Reset(reset), expires_at)
    values |= {"roles": tuple(Role(role) for role in row.roles), "earlier_hashes": tuple(row.earlier_hashes)}
    values["spare_codes"] = tuple(row.spare_codes or ())
    return User(**values, recovery=recovery)


def _user_row(user: User) -> UserRow:
    values = _fields(user)
    recovery = values.pop("recovery")
    values |= {f"recovery_{name}": None if recovery is None else getattr(recovery, name) for name in _RECOVERY}
    values["roles"] = [role.value for role in user.roles]
    values["earlier_hashes"] = list(user.earlier_hashes)
    values["spare_codes"] = list(user.spare_codes)
    return UserRow(**values)


def _token(row: TokenRow) -> ApiToken:
    return ApiToken(**{**row.model_dump(), "permissions": frozenset(row.permissions)})
