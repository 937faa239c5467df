"""What `fleet-server init` does, step by step, and the bulk identities of a laboratory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fleet_server.errors import Refusal, SetupError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.enforcement import RevocationDuty
from fleet_server.registry.enrolment import issued_record
from fleet_server.registry.installation import PRIVATE, PUBLIC, Installation, worker_names, write_file
from fleet_server.registry.model import Asset, IssuedCertificate, Kiosk, KioskEvent, KioskState
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.registry.service import next_state
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import SETTINGS_FILE, Settings
from fleet_server.staff.store import StaffStore
from kit.clock import Clock
from kit.store import Database, migrate
from wire.identity import InvalidKioskId, check_kiosk_id

LAB_ACTOR: Final = "lab"
LAB_MAX: Final = 10_000
TOKEN_BYTES: Final = 32
_LAB_PROFILE: Final = "lab"
_LAB_AREA: Final = "lab"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing `init` looked after; `done` is False when it was in order already."""

    what: str
    path: Path
    done: bool


async def initialise(settings: Settings, migrations: str, clock: Clock) -> list[Step]:
    """Bring a data directory to where `run` can start; whatever is in order stays as it is.

    Raises:
        SetupError: something is there that must not be overwritten and cannot be used.
        StoreError: the store cannot be migrated.
    """
    installation = Installation(settings)
    steps, authority = await asyncio.to_thread(_files, installation, clock.utc())
    await migrate(settings.store_url, migrations)
    database = Database(settings.store_url)
    try:
        store = RegistryStore(database)
        duty = RevocationDuty(store, BrokerControl(installation, authority, clock), clock)
        await duty.reconcile()
        await duty.write_list()
        steps.append(await _first_admin(settings, StaffStore(database)))
    finally:
        await database.close()
    await asyncio.to_thread(installation.hand_over)
    return steps


def _files(installation: Installation, now: datetime) -> tuple[list[Step], CertificateAuthority]:
    settings = installation.settings
    if installation.root.exists():
        installation.server_owner()
    authority, is_new = installation.ensure_authority(now)
    steps = [Step("CA 证书 (CA)", installation.ca_file, is_new)]
    server = installation.ensure_server(authority, now)
    steps.append(Step("服务器证书 (server certificate)", installation.server.certificate_file, server))
    for name in worker_names(settings.worker):
        made = installation.ensure_worker(name, authority, now)
        steps.append(Step("工作进程证书 (worker certificate)", installation.worker(name).certificate_file, made))
    installation.ensure_broker(authority, now)
    steps.append(Step("消息代理配置 (broker configuration)", installation.conf_file, done=True))
    settings_file = installation.root / SETTINGS_FILE
    steps.append(Step("设置文件 (settings)", settings_file, _ensure(settings_file, _SETTINGS_TEXT, PUBLIC)))
    return steps, authority


async def _first_admin(settings: Settings, staff: StaffStore) -> Step:
    """The token with which the first account is made; none when there is an account."""
    path = settings.first_admin_token_file
    is_needed = not await staff.users()
    token = secrets.token_urlsafe(TOKEN_BYTES) + "\n"
    made = is_needed and await asyncio.to_thread(_ensure, path, token, PRIVATE)
    return Step("首位管理员一次性令牌 (first administrator's token)", path, made)


def _ensure(path: Path, text: str, mode: int) -> bool:
    if path.exists():
        return False
    write_file(path, text.encode(), mode)
    return True


_SETTINGS_TEXT: Final = """\
# 管理服务器设置 (fleet server settings). Variables FLEET_… override what stands here.
# Every key with its default: fleet_server/settings.py

# public_url = "https://fleet.hospital.example"
# names = ["fleet.hospital.example", "localhost", "127.0.0.1"]
# database_url = "postgresql+psycopg://fleet@/fleet"

# [kiosk_api]
# public_host = "fleet.hospital.example"

# [broker]
# public_host = "fleet.hospital.example"
"""


async def lab_identities(
    settings: Settings, authority: CertificateAuthority, clock: Clock, kids: Sequence[str], out: Path
) -> int:
    """Enrol kiosks for simulators at once, with keys made here; each gets `out/<kid>/{cert,key}.pem`.

    Unknown kiosks are added to the registry. A kiosk that is enrolled already gets one more certificate.

    Raises:
        SetupError: this is no laboratory.
        Refusal: too many, a name that no kiosk may bear, or a kiosk whose state does not allow it.
    """
    if not settings.lab:
        raise SetupError("bulk identities are for laboratories: set `lab = true` (FLEET_LAB=true) if this is one")
    if not 1 <= len(kids) <= LAB_MAX or len(set(kids)) != len(kids):
        raise Refusal("lab_refused", f"1 to {LAB_MAX} different kiosk ids are expected", status=422)
    for kid in kids:
        try:
            check_kiosk_id(kid)
        except InvalidKioskId as wrong:
            raise Refusal("kiosk_id_refused", f"{kid!r}: {wrong}", status=422) from None
    database = Database(settings.store_url)
    try:
        await _enrol_all(RegistryStore(database), authority, clock, kids, out, settings.certificates.kiosk_days)
    finally:
        await database.close()
    return len(kids)


async def _enrol_all(
    store: RegistryStore, authority: CertificateAuthority, clock: Clock, kids: Sequence[str], out: Path, days: int
) -> None:
    now = clock.utc()
    async with store.writing() as work:
        known = {kiosk.kid: kiosk for kiosk in await work.kiosks()}
        await work.put_assets([_lab_asset(kid) for kid in kids if kid not in known], [], now)
        for kid in kids:
            _may_enrol(known.get(kid))
        issued = await asyncio.to_thread(_issue_all, authority, kids, out, now, days)
        await work.set_states(kids, KioskState.ENROLLED, at=now)
        await work.add_certificates(issued)


def _may_enrol(kiosk: Kiosk | None) -> None:
    if kiosk is not None:
        next_state(kiosk, KioskEvent.ENROL)


def _lab_asset(kid: str) -> Asset:
    return Asset(
        asset_no=kid, kid=kid, serial=None, place=kid, area=_LAB_AREA, floor="", x=None, y=None, profile=_LAB_PROFILE
    )


def _issue_all(
    authority: CertificateAuthority, kids: Sequence[str], out: Path, now: datetime, days: int
) -> list[IssuedCertificate]:
    out.mkdir(parents=True, exist_ok=True, mode=0o755)
    write_file(out / "ca.pem", authority.pem.encode(), PUBLIC)
    found: list[IssuedCertificate] = []
    for kid in kids:
        leaf, key = authority.mint(kid, now=now, life=timedelta(days=days))
        folder = out / kid
        folder.mkdir(exist_ok=True, mode=0o700)
        (folder / "key.pem").touch(PRIVATE)
        (folder / "key.pem").write_bytes(key)
        (folder / "cert.pem").write_text(leaf.pem)
        found.append(issued_record(leaf, now, LAB_ACTOR))
    return found
