from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from fleet_server.app import MIGRATIONS
from fleet_server.errors import Refusal, SetupError
from fleet_server.registry.installation import Installation, worker_names, write_file
from fleet_server.registry.model import KioskState
from fleet_server.registry.pki import CertificateAuthority, read_leaf, read_revocations
from fleet_server.registry.provisioning import Step, initialise, lab_identities
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import Settings
from fleet_server.staff.model import User
from fleet_server.staff.store import StaffStore
from kit.clock import ManualClock
from kit.store import Database
from support.registry import HEAD, make_desk

PRIVATE_FILES = ["pki/ca.key", "pki/server.key", "pki/workers/fleet-main.key", "pki/workers/fleet-main-duties.key",
                 "broker/server.key", "first-admin.token"]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path / "fleet", "lab": True})


async def init(settings: Settings, clock: ManualClock) -> list[Step]:
    return await initialise(settings, MIGRATIONS, clock)


async def authority_of(settings: Settings) -> CertificateAuthority:
    return await asyncio.to_thread(Installation(settings).load_authority)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the store's and the revocation list, which is signed anew each time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".db" not in path.name and path.name != "crl.pem"
    }


async def test_init_makes_everything_and_keeps_secrets_secret(settings: Settings, manual_clock: ManualClock) -> None:
    steps = await init(settings, manual_clock)
    assert all(step.done for step in steps)
    for name in PRIVATE_FILES:
        assert stat.S_IMODE((settings.data_dir / name).stat().st_mode) == 0o600, name
    for folder in ("pki", "pki/workers"):
        assert stat.S_IMODE((settings.data_dir / folder).stat().st_mode) == 0o700
    assert len(settings.first_admin_token_file.read_text().strip()) >= 40


async def test_a_second_init_changes_nothing(settings: Settings, manual_clock: ManualClock) -> None:
    await init(settings, manual_clock)
    before = contents(settings.data_dir)
    manual_clock.advance(86_400)
    steps = await init(settings, manual_clock)
    assert contents(settings.data_dir) == before
    assert not next(step for step in steps if step.path == Installation(settings).ca_file).done


async def test_a_used_first_token_does_not_come_back(settings: Settings, manual_clock: ManualClock) -> None:
    await init(settings, manual_clock)
    database = Database(settings.store_url)
    user = User(
        username="lead",
        display_name="Lead",
        roles=(),
        language="zh-CN",
        password_hash="x",
        earlier_hashes=(),
        totp_secret="x",
        totp_last_step=0,
        failures=0,
        locked_until=None,
        is_active=True,
        created_at=manual_clock.utc(),
        password_changed_at=manual_clock.utc(),
    )
    assert await StaffStore(database).add_user(user, only_if_none=True)
    await database.close()
    settings.first_admin_token_file.unlink()
    await init(settings, manual_clock)
    assert not settings.first_admin_token_file.exists()


async def test_a_token_that_was_lost_before_it_was_used_is_made_again(
    settings: Settings, manual_clock: ManualClock
) -> None:
    await init(settings, manual_clock)
    settings.first_admin_token_file.unlink()
    await init(settings, manual_clock)
    assert settings.first_admin_token_file.exists()


async def test_a_store_restored_from_yesterday_lets_nobody_back_in(
    settings: Settings, manual_clock: ManualClock, tmp_path: Path
) -> None:
    await init(settings, manual_clock)
    authority = await authority_of(settings)
    await lab_identities(settings, authority, manual_clock, ["zzj-001", "zzj-002"], tmp_path / "ids")
    file = settings.data_dir / "fleet.db"
    yesterday = file.read_bytes()
    database = Database(settings.store_url)
    desk = make_desk(database, manual_clock, authority, settings)
    await desk.registry.revoke("zzj-001", "stolen", actor="lead")
    await database.close()
    await init(settings, manual_clock)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    file.write_bytes(yesterday)
    await init(settings, manual_clock)
    database = Database(settings.store_url)
    kiosks = {kiosk.kid: kiosk.state for kiosk in await RegistryStore(database).kiosks()}
    [revoked] = await RegistryStore(database).revoked_certificates(manual_clock.utc())
    await database.close()
    assert kiosks == {"zzj-001": KioskState.REVOKED, "zzj-002": KioskState.ENROLLED}
    serial = read_leaf((tmp_path / "ids" / "zzj-001" / "cert.pem").read_text()).serial
    assert revoked.serial == serial
    listed = read_revocations(Installation(settings).crl_file.read_bytes())
    assert [item.serial for item in listed] == [serial]


async def test_revocations_outlive_another_init(settings: Settings, manual_clock: ManualClock, tmp_path: Path) -> None:
    """Restoring the files of yesterday must not let in whom we threw out: the list is made from the store."""
    await init(settings, manual_clock)
    authority = await authority_of(settings)
    await lab_identities(settings, authority, manual_clock, ["zzj-001"], tmp_path / "ids")
    database = Database(settings.store_url)
    desk = make_desk(database, manual_clock, authority, settings)
    await desk.registry.revoke("zzj-001", "stolen", actor="lead")
    await database.close()
    Installation(settings).crl_file.unlink()
    await init(settings, manual_clock)
    leaf = read_leaf((tmp_path / "ids" / "zzj-001" / "cert.pem").read_text())
    listed = read_revocations(Installation(settings).crl_file.read_bytes())
    assert [item.serial for item in listed] == [leaf.serial]


@pytest.mark.parametrize("lost", ["ca.key", "ca.pem"])
async def test_half_an_authority_is_never_replaced(settings: Settings, manual_clock: ManualClock, lost: str) -> None:
    await init(settings, manual_clock)
    (settings.data_dir / "pki" / lost).unlink()
    before = contents(settings.data_dir)
    with pytest.raises(SetupError):
        await init(settings, manual_clock)
    assert contents(settings.data_dir) == before


async def test_a_readable_key_of_the_authority_is_refused(settings: Settings, manual_clock: ManualClock) -> None:
    await init(settings, manual_clock)
    (settings.data_dir / "pki" / "ca.key").chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        await init(settings, manual_clock)


async def test_a_foreign_key_is_refused(settings: Settings, manual_clock: ManualClock) -> None:
    await init(settings, manual_clock)
    other = Settings.model_validate({"data_dir": settings.data_dir.parent / "other"})
    await init(other, manual_clock)
    (settings.data_dir / "pki" / "ca.key").write_bytes((other.data_dir / "pki" / "ca.key").read_bytes())
    with pytest.raises(SetupError, match="does not belong"):
        await init(settings, manual_clock)


async def test_certificates_are_renewed_before_they_end_and_when_names_change(
    settings: Settings, manual_clock: ManualClock
) -> None:
    await init(settings, manual_clock)
    installation = Installation(settings)
    worker = installation.worker(worker_names("main")[0])
    before = contents(settings.data_dir)
    renamed = settings.model_copy(update={"names": ("fleet.example", "127.0.0.1")})
    await init(renamed, manual_clock)
    assert "fleet.example" in read_leaf(installation.server.certificate_file.read_text()).sans
    assert worker.certificate_file.read_bytes() == before["pki/workers/fleet-main.pem"]
    manual_clock.advance(5 * 365 * 86_400 * 0.7)
    await init(renamed, manual_clock)
    assert worker.certificate_file.read_bytes() != before["pki/workers/fleet-main.pem"]
    assert contents(settings.data_dir)["pki/ca.pem"] == before["pki/ca.pem"]


async def test_every_worker_stands_in_the_access_list(settings: Settings, manual_clock: ManualClock) -> None:
    await init(settings, manual_clock)
    await init(settings.model_copy(update={"worker": "second"}), manual_clock)
    text = Installation(settings).acl_file.read_text()
    assert [line for line in text.splitlines() if line.startswith("user")] == [
        "user fleet-main",
        "user fleet-main-duties",
        "user fleet-second",
        "user fleet-second-duties",
    ]


# -- laboratory --------------------------------------------------------------------------------------------------


async def test_a_thousand_identities_in_time(settings: Settings, manual_clock: ManualClock, tmp_path: Path) -> None:
    await init(settings, manual_clock)
    authority = await authority_of(settings)
    kids = [f"sim-{number:04d}" for number in range(1_000)]
    await lab_identities(settings, authority, manual_clock, kids, tmp_path / "ids")
    database = Database(settings.store_url)
    kiosks = await RegistryStore(database).kiosks()
    await database.close()
    assert {kiosk.state for kiosk in kiosks} == {KioskState.ENROLLED}
    assert len(kiosks) == 1_000
    leaf = read_leaf((tmp_path / "ids" / "sim-0999" / "cert.pem").read_text())
    assert leaf.name == "sim-0999"
    assert stat.S_IMODE((tmp_path / "ids" / "sim-0999" / "key.pem").stat().st_mode) == 0o600
    assert (tmp_path / "ids" / "ca.pem").read_text() == authority.pem


async def test_identities_for_kiosks_that_are_in_the_list(
    settings: Settings, manual_clock: ManualClock, tmp_path: Path
) -> None:
    await init(settings, manual_clock)
    authority = await authority_of(settings)
    database = Database(settings.store_url)
    desk = make_desk(database, manual_clock, authority, settings)
    report = await desk.registry.import_assets(HEAD + "ZZJ-001,SN-1,大厅,门诊,,,,k20", actor="t", dry_run=False)
    assert report.created == 1
    await lab_identities(settings, authority, manual_clock, ["zzj-001", "zzj-002"], tmp_path / "ids")
    await desk.directory.refresh()
    kiosk = desk.directory.get("zzj-001")
    await database.close()
    assert kiosk is not None
    assert (kiosk.place, kiosk.serial, kiosk.state) == ("大厅", "SN-1", KioskState.ENROLLED)


async def test_a_hospital_is_no_laboratory(settings: Settings, manual_clock: ManualClock, tmp_path: Path) -> None:
    await init(settings, manual_clock)
    authority = await authority_of(settings)
    hospital = settings.model_copy(update={"lab": False})
    with pytest.raises(SetupError, match="laborator"):
        await lab_identities(hospital, authority, manual_clock, ["sim-0001"], tmp_path / "ids")
    assert not (tmp_path / "ids").exists()


@pytest.mark.parametrize(
    "kids",
    [["fleet-main"], ["server"], ["#"], ["a/b"], ["sim-0001", "sim-0001"], [], ["sim-0001", "+"]],
    ids=["worker", "server", "wildcard", "slash", "twice", "none", "one good one bad"],
)
async def test_bad_names_enrol_nobody(
    settings: Settings, manual_clock: ManualClock, tmp_path: Path, kids: list[str]
) -> None:
    await init(settings, manual_clock)
    with pytest.raises(Refusal):
        await lab_identities(settings, await authority_of(settings), manual_clock, kids, tmp_path / "ids")
    database = Database(settings.store_url)
    kiosks = await RegistryStore(database).kiosks()
    await database.close()
    assert kiosks == []


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_file(path, b"one", 0o600)
    write_file(path, b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["key"]
