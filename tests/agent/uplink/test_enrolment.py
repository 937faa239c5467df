"""Getting, keeping and renewing the identity, against a server in memory with real certificates."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import EnrolmentFailed, IdentityError
from agent.settings import FleetSettings, Settings
from agent.uplink.enrolment import FAILURES_LIMIT, Enrolment, Verdict
from agent.uplink.identity import CURRENT, Identity, IdentityStore
from kit.clock import ManualClock, ServerTime
from support.kiosk_outbox import Kiosk
from support.waiting import wait_for
from wire.device_api import LinkState
from wire.enrolment import (
    BrokerAddress,
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
    RenewalAnswer,
    RenewalRequest,
    pairing_code,
)

KID = "kiosk-001"
NONCE = "0123456789abcdef" * 2
LIFE = timedelta(days=30)

pytestmark = pytest.mark.timeout(30)


@dataclass(slots=True)
class Authority:
    """Signs what it is asked to."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def certificate(self, csr_pem: str | None, kid: str, start: datetime, *, signer: Authority | None = None) -> str:
        public = self.key.public_key()
        if csr_pem is not None:
            csr = x509.load_pem_x509_csr(csr_pem.encode())
            assert csr.is_signature_valid
            found = csr.public_key()
            assert isinstance(found, ec.EllipticCurvePublicKey)
            public = found
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, kid)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + LIFE)
        )
        signed = built.sign((signer or self).key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def pem(self, start: datetime) -> str:
        return self.certificate(None, "Test CA", start)


@dataclass(slots=True)
class FakeFleet:
    """The kiosk API as a class; what it answers is decided by the test."""

    clock: ManualClock
    authority: Authority = field(default_factory=Authority)
    state: EnrolmentState = EnrolmentState.PENDING
    requests: list[EnrolmentRequest] = field(default_factory=list)
    polls: int = 0
    renewals: int = 0
    is_down: bool = False
    is_final: bool = False
    kid: str = KID
    signer: Authority | None = None
    uses_own_key: bool = False
    lifetime_s: float = 600.0

    async def request(self, request: EnrolmentRequest, ca_file: Path) -> EnrolmentTicket:
        assert ca_file.name == "fleet-ca.pem"
        self._answer()
        self.requests.append(request)
        until = self.clock.utc() + timedelta(seconds=self.lifetime_s)
        return EnrolmentTicket(request_id=f"r{len(self.requests)}", nonce=NONCE, poll_token="t" * 30, expires_at=until)

    async def status(self, ticket: EnrolmentTicket, ca_file: Path) -> EnrolmentStatus:
        self._answer()
        self.polls += 1
        assert ticket.poll_token == "t" * 30
        assert ca_file.name == "fleet-ca.pem"
        if self.state is not EnrolmentState.CONFIRMED:
            return EnrolmentStatus(state=self.state, reason="no such asset")
        certificate, authority = self._sign(self.requests[-1].csr)
        return EnrolmentStatus(
            state=self.state,
            kid=KID,
            certificate=certificate,
            ca=authority,
            broker=BrokerAddress(host="broker.test", port=8883),
        )

    async def renew(self, request: RenewalRequest, identity: Identity) -> RenewalAnswer:
        assert identity.kid == KID
        self._answer()
        self.renewals += 1
        certificate, authority = self._sign(request.csr)
        return RenewalAnswer(certificate=certificate, ca=authority)

    def _sign(self, csr: str) -> tuple[str, str]:
        now = self.clock.utc()
        given = None if self.uses_own_key else csr
        return self.authority.certificate(given, self.kid, now, signer=self.signer), self.authority.pem(now)

    def _answer(self) -> None:
        if self.is_down:
            raise EnrolmentFailed("the server cannot be reached", is_final=self.is_final)


@dataclass(slots=True)
class Stage:
    """One kiosk before and after enrolment."""

    enrolment: Enrolment
    fleet: FakeFleet
    store: IdentityStore
    kiosk: Kiosk
    settings: Settings

    def again(self) -> Enrolment:
        """The same kiosk after a restart."""
        self.enrolment.close()
        self.enrolment = make_enrolment(self)
        return self.enrolment


def make_enrolment(stage: Stage) -> Enrolment:
    clock = stage.kiosk.clock
    return Enrolment(
        stage.settings,
        stage.store,
        stage.fleet,
        reporter=stage.kiosk.reporter,
        clock=clock,
        server_time=ServerTime(clock),
        agent_version="0.1.0",
    )


@pytest.fixture
async def stage(tmp_path: Path, kiosk: Kiosk) -> AsyncIterator[Stage]:
    fleet = FleetSettings(
        enrol_url="https://fleet.test:8443",
        ca_file=tmp_path / "fleet-ca.pem",
        poll_s=0.01,
        retry_base_s=0.01,
        retry_cap_s=0.02,
    )
    settings = Settings(data_dir=tmp_path, serial="SN-1", fleet=fleet)
    store = IdentityStore(tmp_path / "identity")
    made = Stage(Enrolment.__new__(Enrolment), FakeFleet(kiosk.clock), store, kiosk, settings)
    made.enrolment = make_enrolment(made)
    yield made
    made.enrolment.close()


async def enrolled(stage: Stage) -> Identity:
    stage.fleet.state = EnrolmentState.CONFIRMED
    return await stage.enrolment.obtain()


async def ended(task: asyncio.Task[Identity]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_the_code_on_the_screen_is_the_code_the_server_computes(stage: Stage) -> None:
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: stage.enrolment.view().pairing_code, what="a pairing code")
    view = stage.enrolment.view()
    assert view.state is LinkState.ENROLLING
    assert view.expires_in_s is not None
    assert 0 < view.expires_in_s <= 600
    csr = x509.load_pem_x509_csr(stage.fleet.requests[0].csr.encode())
    public = csr.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert view.pairing_code == pairing_code(public, NONCE)
    stage.fleet.state = EnrolmentState.CONFIRMED
    identity = await task
    assert identity.kid == KID
    assert identity.facts.broker == BrokerAddress(host="broker.test", port=8883)
    assert stage.enrolment.view().pairing_code is None
    for file in (identity.key_file, identity.cert_file, identity.ca_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not stage.store.pending.exists()
    assert (await stage.again().load()) == identity


async def test_a_restart_keeps_the_code_the_engineer_is_typing(stage: Stage) -> None:
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: stage.fleet.polls > 0, what="a poll")
    code = stage.enrolment.view().pairing_code
    await ended(task)
    task = asyncio.get_running_loop().create_task(stage.again().obtain())
    await wait_for(lambda: stage.enrolment.view().pairing_code, what="a pairing code")
    assert stage.enrolment.view().pairing_code == code
    assert len(stage.fleet.requests) == 1
    stage.fleet.state = EnrolmentState.CONFIRMED
    assert (await task).kid == KID


@pytest.mark.parametrize("state", [EnrolmentState.REFUSED, EnrolmentState.EXPIRED])
async def test_a_request_that_was_turned_down_shows_why_and_leaves_no_key(stage: Stage, state: EnrolmentState) -> None:
    stage.fleet.state = state
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: stage.enrolment.progress.message, what="a message")
    if state is EnrolmentState.REFUSED:
        assert stage.enrolment.view().message == "refused: no such asset"
        assert not stage.store.pending.exists()
    await ended(task)


async def test_a_code_nobody_confirms_runs_out_and_a_new_one_is_shown(stage: Stage) -> None:
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: stage.fleet.polls > 0, what="a poll")
    stage.kiosk.clock.advance(700.0)
    await wait_for(lambda: len(stage.fleet.requests) >= 2, what="a second request")
    assert stage.fleet.requests[0].csr != stage.fleet.requests[1].csr
    await ended(task)


async def test_a_server_that_is_away_for_a_while_changes_nothing(stage: Stage) -> None:
    stage.fleet.is_down = True
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: stage.enrolment.view().message, what="a message")
    stage.fleet.is_down = False
    await wait_for(lambda: stage.fleet.polls > 0, what="a poll")
    stage.fleet.is_down = True
    await asyncio.sleep(0.05)
    stage.fleet.is_down = False
    stage.fleet.state = EnrolmentState.CONFIRMED
    assert (await task).kid == KID
    assert len(stage.fleet.requests) == 1


async def test_without_an_address_the_kiosk_says_what_is_missing(tmp_path: Path, kiosk: Kiosk) -> None:
    enrolment = Enrolment(
        Settings(data_dir=tmp_path),
        IdentityStore(tmp_path / "identity"),
        None,
        reporter=kiosk.reporter,
        clock=kiosk.clock,
        server_time=ServerTime(kiosk.clock),
        agent_version="0.1.0",
    )
    task = asyncio.get_running_loop().create_task(enrolment.obtain())
    await wait_for(lambda: enrolment.view().message, what="a message")
    assert "fleet.enrol_url" in (enrolment.view().message or "")
    assert enrolment.view().state is LinkState.NOT_ENROLLED
    await ended(task)
    enrolment.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kid": "kiosk-002"}, "another kiosk"),
        ({"signer": Authority()}, "not signed by the CA"),
        ({"uses_own_key": True}, "another key"),
        ({"kid": "A/B#"}, "could not be understood"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_not_installed(
    stage: Stage, change: dict[str, object], why: str
) -> None:
    for name, value in change.items():
        setattr(stage.fleet, name, value)
    stage.fleet.state = EnrolmentState.CONFIRMED
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: why in (stage.enrolment.view().message or ""), what=why, timeout_s=20.0)
    assert not (stage.store.directory / CURRENT).exists()
    await ended(task)


async def test_renewal_begins_at_a_third_of_life_left(stage: Stage) -> None:
    identity = await enrolled(stage)
    verdict, same = await stage.enrolment.look_after(identity)
    assert (verdict, same) == (Verdict.FINE, identity)
    stage.kiosk.clock.advance(LIFE.total_seconds() * 2 / 3 - 60)
    assert (await stage.enrolment.look_after(identity))[0] is Verdict.FINE
    stage.kiosk.clock.advance(120.0)
    key = identity.key_file.read_bytes()
    verdict, renewed = await stage.enrolment.look_after(identity)
    assert verdict is Verdict.RENEWED
    assert renewed.not_after > identity.not_after
    assert renewed.facts.broker == identity.facts.broker
    assert renewed.key_file.read_bytes() != key
    assert stage.kiosk.reporter.open_alarms() == ()
    assert (await stage.again().load()) == renewed
    assert stage.fleet.renewals == 1


async def test_a_renewal_that_keeps_failing_is_an_alarm_and_the_old_set_stays(stage: Stage) -> None:
    identity = await enrolled(stage)
    stage.fleet.is_down = True
    stage.kiosk.clock.advance(LIFE.total_seconds() * 0.7)
    before = {name: (identity.directory / CURRENT / name).read_bytes() for name in ("key.pem", "cert.pem", "ca.pem")}
    for _ in range(FAILURES_LIMIT):
        assert (await stage.enrolment.look_after(identity))[0] is Verdict.FAILED
        assert (await stage.enrolment.look_after(identity))[0] is Verdict.FINE
        stage.kiosk.clock.advance(3_700.0)
    assert [alarm.code for alarm in stage.kiosk.reporter.open_alarms()] == ["renewal_failing"]
    after = {name: (identity.directory / CURRENT / name).read_bytes() for name in before}
    assert after == before
    stage.kiosk.clock.advance(LIFE.total_seconds() * 0.25)
    await stage.enrolment.look_after(identity)
    codes = {alarm.code for alarm in stage.kiosk.reporter.open_alarms()}
    assert codes == {"renewal_failing", "certificate_expiring"}
    stage.fleet.is_down = False
    stage.kiosk.clock.advance(3_700.0)
    verdict, _ = await stage.enrolment.look_after(identity)
    assert verdict is Verdict.RENEWED
    assert stage.kiosk.reporter.open_alarms() == ()


async def test_a_wrong_wall_clock_renews_nothing_once_the_server_was_heard(stage: Stage) -> None:
    identity = await enrolled(stage)
    server_time = ServerTime(stage.kiosk.clock)
    server_time.observe(stage.kiosk.clock.utc())
    stage.enrolment.close()
    stage.enrolment = Enrolment(
        stage.settings,
        stage.store,
        stage.fleet,
        reporter=stage.kiosk.reporter,
        clock=stage.kiosk.clock,
        server_time=server_time,
        agent_version="0.1.0",
    )
    for jump_s in (400 * 86_400.0, -800 * 86_400.0):
        stage.kiosk.clock.jump_wall(jump_s)
        assert (await stage.enrolment.look_after(identity))[0] is Verdict.FINE
    assert stage.fleet.renewals == 0
    assert stage.kiosk.reporter.open_alarms() == ()


async def test_a_damaged_identity_is_told_and_not_used(stage: Stage) -> None:
    identity = await enrolled(stage)
    (identity.directory / CURRENT / "cert.pem").unlink()
    assert await stage.again().load() is None
    assert "cert.pem is missing" in (stage.enrolment.view().message or "")
    with pytest.raises(IdentityError):
        await asyncio.to_thread(stage.store.load)


async def test_a_new_enrolment_replaces_the_identity_only_when_it_is_complete(stage: Stage) -> None:
    first = await enrolled(stage)
    certificate = first.cert_file.read_bytes()
    stage.fleet.state = EnrolmentState.PENDING
    task = asyncio.get_running_loop().create_task(stage.enrolment.obtain())
    await wait_for(lambda: len(stage.fleet.requests) == 2, what="the second request")
    assert first.cert_file.read_bytes() == certificate
    stage.fleet.state = EnrolmentState.CONFIRMED
    second = await task
    assert second.cert_file.read_bytes() != certificate
