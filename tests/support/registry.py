"""The registry in process: its services on a store, fakes around them, and machines that ask for an identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509

from fleet_server.registry.clones import CloneWatch
from fleet_server.registry.directory import Directory
from fleet_server.registry.enrolment import EnrolmentService
from fleet_server.registry.installation import Installation
from fleet_server.registry.model import Confirmation
from fleet_server.registry.pki import CertificateAuthority, KeyPair, check_csr
from fleet_server.registry.service import RegistryService, Statuses
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import Settings
from fleet_server.staff.ports import AuditEntry
from kit.clock import ManualClock
from kit.store import Database
from support.broker import BrokerProcess
from wire.enrolment import EnrolmentRequest, EnrolmentTicket, pairing_code
from wire.envelope import Scalar
from wire.faults import Fault

HEAD = "asset_no,serial,place,area,floor,x,y,profile\n"


@dataclass(slots=True)
class FakeAuditor:
    entries: list[AuditEntry] = field(default_factory=list)

    async def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    @property
    def actions(self) -> list[tuple[str, str | None]]:
        return [(entry.action, entry.target) for entry in self.entries]


@dataclass(slots=True)
class FakeAlarms:
    open: set[tuple[str, str, Fault]] = field(default_factory=set)

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        self.open.add((kid, component, code))

    async def clear_alarm(self, kid: str, component: str, code: Fault) -> None:
        self.open.discard((kid, component, code))


@dataclass(slots=True)
class Machine:
    """A machine that asks for an identity."""

    pair: KeyPair
    serial: str
    ticket: EnrolmentTicket | None = None

    @property
    def code(self) -> str:
        """What stands on its screen."""
        assert self.ticket is not None
        return pairing_code(check_csr(self.pair.csr_pem("kiosk")).public_key_der, self.ticket.nonce)

    @property
    def wrong_code(self) -> str:
        return f"{(int(self.code) + 1) % 10**6:06d}"


@dataclass(slots=True)
class Desk:
    """The registry and everything around it."""

    clock: ManualClock
    settings: Settings
    store: RegistryStore
    directory: Directory
    auditor: FakeAuditor
    alarms: FakeAlarms
    statuses: Statuses
    authority: CertificateAuthority
    registry: RegistryService
    enrolment: EnrolmentService
    clones: CloneWatch

    async def assets(self, *lines: str) -> None:
        """Import lines that must be right."""
        report = await self.registry.import_assets(HEAD + "\n".join(lines), actor="test", dry_run=False)
        assert not report.errors, report.errors

    async def asks(self, serial: str = "SN-1", *, pair: KeyPair | None = None, source: str = "10.0.0.1") -> Machine:
        """A machine makes a key and sends its request."""
        machine = Machine(pair or KeyPair(), serial)
        request = EnrolmentRequest(csr=machine.pair.csr_pem("kiosk"), serial=serial, model="K20")
        machine.ticket = await self.enrolment.request(request, source)
        return machine

    async def enrols(self, kid: str, serial: str = "SN-1") -> Machine:
        """A machine asks and the engineer confirms."""
        machine = await self.asks(serial)
        assert machine.ticket is not None
        confirmation = Confirmation(code=machine.code, kid=kid)
        await self.enrolment.confirm(machine.ticket.request_id, confirmation, actor="engineer")
        return machine


def make_desk(database: Database, clock: ManualClock, authority: CertificateAuthority, settings: Settings) -> Desk:
    store = RegistryStore(database)
    directory = Directory(store)
    auditor, alarms, statuses = FakeAuditor(), FakeAlarms(), Statuses()
    registry = RegistryService(store, directory, clock, auditor=auditor, statuses=statuses)
    registry.use_alarms(alarms)
    enrolment = EnrolmentService(store, directory, authority, settings, clock, auditor)
    clones = CloneWatch(store, registry, clock)
    directory.on_change(clones.forget)
    return Desk(clock, settings, store, directory, auditor, alarms, statuses, authority, registry, enrolment, clones)


@dataclass(frozen=True, slots=True)
class Site:
    """An initialised data directory with a running broker."""

    settings: Settings
    installation: Installation
    authority: CertificateAuthority
    broker: BrokerProcess

    @property
    def crl_serials(self) -> set[str]:
        """What the revocation list names now."""
        crl = x509.load_pem_x509_crl(self.installation.crl_file.read_bytes())
        return {f"{item.serial_number:x}" for item in crl}
