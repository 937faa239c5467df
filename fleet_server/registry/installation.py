"""The data directory of a fleet server, and how `fleet-server init` fills it.

    ca.pem, ca.key, server.pem, server.key, workers/<name>.{pem,key}     below `pki/`, keys mode 0600
    mosquitto.conf, acl, ca.pem, crl.pem, server.pem, server.key, data/  below `broker/`, the broker's own

Files appear whole or not at all: they are written beside their place and moved. Nothing that exists is
overwritten except what is generated from other files. Everything here blocks; call it from a thread.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fleet_server.errors import SetupError
from fleet_server.registry.broker_conf import WORKER_PREFIX, BrokerPlan, access_list, broker_conf
from fleet_server.registry.pki import CertificateAuthority, KeyPair, Leaf, read_leaf
from fleet_server.settings import SETTINGS_FILE, Settings

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
SHARED: Final = 0o640
SHARED_FOLDER: Final = 0o2750
"""New files in it belong to the broker's group."""
RENEW_SHARE: Final = 1 / 3
"""Certificates of our own are replaced when less than this share of their life is left."""
DUTIES_SUFFIX: Final = "-duties"
_BROKER_ACCOUNT: Final = "mosquitto"


@dataclass(frozen=True, slots=True)
class Identity:
    """Files with which a process of ours shows who it is."""

    name: str
    certificate_file: Path
    key_file: Path
    ca_file: Path


def worker_names(worker: str) -> tuple[str, str]:
    """The broker connections of one fleet server: for ingest and for its duties; one certificate each."""
    return f"{WORKER_PREFIX}{worker}", f"{WORKER_PREFIX}{worker}{DUTIES_SUFFIX}"


class Installation:
    """The data directory."""

    def __init__(self, settings: Settings) -> None:
        """Know the places; nothing is touched."""
        self.settings = settings
        self.root = settings.data_dir
        self.pki_dir = self.root / "pki"
        self.broker_dir = self.root / "broker"
        self.ca_file = self.pki_dir / "ca.pem"
        self.server = Identity("server", self.pki_dir / "server.pem", self.pki_dir / "server.key", self.ca_file)
        self.crl_file = self.broker_dir / "crl.pem"
        self.proof_file = self.root / "crl-in-force"
        """The digest of the revocation list the broker was last seen to use."""
        self.conf_file = self.broker_dir / "mosquitto.conf"
        self.acl_file = self.broker_dir / "acl"
        self.broker_key_file = self.broker_dir / "server.key"

    def worker(self, name: str) -> Identity:
        """The identity of one broker connection, by its full name."""
        folder = self.pki_dir / "workers"
        return Identity(name, folder / f"{name}.pem", folder / f"{name}.key", self.ca_file)

    def load_authority(self) -> CertificateAuthority:
        """Take up the CA.

        Raises:
            SetupError: it is missing, unreadable, or its key may be read by others.
        """
        key_file = self.pki_dir / "ca.key"
        try:
            mode = stat.S_IMODE(key_file.stat().st_mode)
            if mode & 0o077:
                raise SetupError(f"{key_file} may be read by others: run chmod 600 on it")
            return CertificateAuthority.load(self.ca_file.read_bytes(), key_file.read_bytes())
        except FileNotFoundError:
            raise SetupError(f"there is no CA in {self.pki_dir}: run `fleet-server init` first") from None
        except OSError as error:
            raise SetupError(f"the CA in {self.pki_dir} cannot be read: {error.strerror}") from error

    def ensure_authority(self, now: datetime) -> tuple[CertificateAuthority, bool]:
        """The CA, made when there is none; True when it was made now.

        Raises:
            SetupError: only a part of it is there.
        """
        if self.pki_dir.exists():
            return self.load_authority(), False
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)  # the broker's account must reach its own folder, and may not look around
        building = self.root / f".pki-{os.getpid()}"
        building.mkdir(mode=0o700)
        authority = CertificateAuthority.create(now)
        write_file(building / "ca.key", authority.key_pem, PRIVATE)
        write_file(building / "ca.pem", authority.pem.encode(), PUBLIC)
        (building / "workers").mkdir(mode=0o700)
        try:
            building.rename(self.pki_dir)
        except OSError:
            shutil.rmtree(building)
            return self.load_authority(), False
        return authority, True

    def ensure_server(self, authority: CertificateAuthority, now: datetime) -> bool:
        """Make the certificate of the kiosks' server, or renew it when its names changed or its end is near."""
        return self._ensure(
            self.server.certificate_file, self.server.key_file, authority, now, server_names=self.server_names()
        )

    def ensure_worker(self, name: str, authority: CertificateAuthority, now: datetime) -> bool:
        """Make, or renew when its end is near, the certificate of one broker connection."""
        identity = self.worker(name)
        identity.certificate_file.parent.mkdir(mode=0o700, exist_ok=True)
        return self._ensure(identity.certificate_file, identity.key_file, authority, now, client_name=name)

    def ensure_platform(
        self, folder: Path, names: Sequence[str], authority: CertificateAuthority, now: datetime
    ) -> bool:
        """The certificate with which the patient platform shows itself to kiosks, and our CA beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "ca.pem", authority.pem.encode(), PUBLIC)
        return self._ensure(folder / "server.pem", folder / "server.key", authority, now, server_names=names)

    def ensure_broker(self, authority: CertificateAuthority, now: datetime) -> None:
        """Write everything the broker needs; its revocation list is written by the registry."""
        self.broker_dir.mkdir(mode=0o755, exist_ok=True)
        (self.broker_dir / "data").mkdir(mode=0o700, exist_ok=True)
        certificate, key = self.broker_dir / "server.pem", self.broker_key_file
        self._ensure(certificate, key, authority, now, server_names=self.server_names())
        if self.is_shared():
            key.chmod(SHARED)
        write_file(self.broker_dir / "ca.pem", authority.pem.encode(), PUBLIC)
        write_file(self.conf_file, broker_conf(self.broker_plan()).encode(), PUBLIC)
        self.write_access_list()
        self.hand_over()

    def write_access_list(self) -> None:
        """Write the access list for every worker that has a certificate."""
        write_file(self.acl_file, access_list(self.workers()).encode(), PUBLIC)

    def hand_over(self) -> None:
        """When root is at work, give everything to the accounts that need it.

        The broker's account gets its folder. When the data directory belongs to an account of the server's own,
        that one gets the rest and writes the broker's files, and the broker's account may read them.
        """
        account = self.broker_account()
        if account is None or os.getuid() != 0:
            return
        broker, server = pwd.getpwnam(account), self.server_owner()
        if server is None:
            for path in (self.broker_dir, *self.broker_dir.rglob("*")):
                os.chown(path, broker.pw_uid, broker.pw_gid, follow_symlinks=False)
            return
        data = self.broker_dir / "data"
        for path in (self.root, *self.root.rglob("*")):
            is_brokers, is_data = self.broker_dir in (path, *path.parents), data in (path, *path.parents)
            user = broker.pw_uid if is_data else server.pw_uid
            group = broker.pw_gid if is_brokers else server.pw_gid
            os.chown(path, user, group, follow_symlinks=False)
        self.broker_dir.chmod(SHARED_FOLDER)
        self.broker_key_file.chmod(SHARED)

    def server_owner(self) -> pwd.struct_passwd | None:
        """The account the server runs as, when it is another one than root and than the broker's.

        Raises:
            SetupError: it could not tell the broker to reload.
        """
        owner = self.root.stat().st_uid
        account = self.broker_account()
        if owner == 0 or os.getuid() != 0 or account is None or pwd.getpwnam(account).pw_uid == owner:
            return None
        if not self.settings.broker.reload_command:
            raise SetupError(
                f"{self.root} belongs to another account than the broker's ({account}): "
                f"set broker.reload_command in {self.root / SETTINGS_FILE}, see docs/runbooks/revocation.md"
            )
        return pwd.getpwuid(owner)

    def is_shared(self) -> bool:
        """Whether the broker of another account reads the files in its folder by its group."""
        return bool(self.broker_dir.stat().st_mode & stat.S_ISGID)

    def workers(self) -> list[str]:
        """The full names of all broker connections that have a certificate."""
        return sorted(path.stem for path in (self.pki_dir / "workers").glob(f"{WORKER_PREFIX}*.pem"))

    def broker_plan(self) -> BrokerPlan:
        """What the broker's configuration is made from."""
        broker = self.settings.broker
        return BrokerPlan(
            directory=self.broker_dir,
            port=broker.port,
            listen=None if broker.listen is None else str(broker.listen),
            user=self.broker_account(),
            max_connections=broker.max_connections,
            pid_file=None if broker.reload_command else self.settings.broker_pid_file,
        )

    def broker_account(self) -> str | None:
        """The account the broker runs as: the one in the settings, or Debian's when it can reach its files.

        `root` when root starts it and no other account can; None when it stays who it is started as.
        """
        chosen = self.settings.broker.user
        if chosen is not None:
            return chosen
        if os.getuid() != 0:
            return None
        try:
            pwd.getpwnam(_BROKER_ACCOUNT)
        except KeyError:
            return "root"
        return _BROKER_ACCOUNT if _others_may_pass(self.broker_dir) else "root"

    def server_names(self) -> list[str]:
        """Every name and address under which this server and the broker are reached."""
        settings = self.settings
        names = [*settings.names, settings.kiosk_api.public_host, settings.broker.public_host, settings.broker.host]
        return list(dict.fromkeys(names))

    def _ensure(
        self,
        certificate_file: Path,
        key_file: Path,
        authority: CertificateAuthority,
        now: datetime,
        *,
        server_names: Sequence[str] = (),
        client_name: str = "",
    ) -> bool:
        life = timedelta(days=self.settings.certificates.server_days)
        if key_file.exists() and certificate_file.exists():
            leaf = read_leaf(certificate_file.read_text())
            if leaf.not_after - now >= life * RENEW_SHARE and set(leaf.sans) == set(server_names):
                return False
        pair = KeyPair()
        leaf = (
            authority.issue_server(server_names, pair.public_key, now=now, life=life)
            if server_names
            else authority.issue_client(client_name, pair.public_key, now=now, life=life)
        )
        write_file(key_file, pair.pem, PRIVATE)
        write_file(certificate_file, leaf.pem.encode(), PUBLIC)
        return True


def certificate_of(identity: Identity) -> Leaf:
    """The certificate of a process of ours.

    Raises:
        SetupError: it is missing or not a certificate.
    """
    try:
        return read_leaf(identity.certificate_file.read_text())
    except (OSError, ValueError):
        raise SetupError(f"{identity.certificate_file} is missing or broken: run `fleet-server init`") from None


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place at once, on disk before it is seen; an owner other than us is kept."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        if path.exists() and os.getuid() == 0:
            owner = path.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.fsync(file.fileno())
    beside.replace(path)


def _others_may_pass(path: Path) -> bool:
    """Whether every folder above `path` lets other accounts through."""
    return all(
        stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH for folder in path.resolve().parents if folder.exists()
    )
