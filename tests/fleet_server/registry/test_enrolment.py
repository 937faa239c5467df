from __future__ import annotations

from datetime import timedelta

import pytest

from fleet_server.errors import Refusal
from fleet_server.registry.enrolment import SOURCES_MAX, SourceLimit
from fleet_server.registry.model import CertificateState, Confirmation, IssuedCertificate, KioskState
from fleet_server.registry.pki import CsrRefused, KeyPair
from fleet_server.registry.renewals import RenewalWatch
from fleet_server.registry.service import UnknownKiosk
from fleet_server.settings import EnrolmentSettings, Settings
from kit.clock import ManualClock
from kit.store import Database
from support.registry import Desk, Machine, make_desk
from wire.enrolment import (
    REQUEST_LIFETIME_S,
    WRONG_CODE_LIMIT,
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
)

ASSET = "zzj-001,SN-1,大厅,门诊,1F,,,k20"
OTHER = "zzj-002,SN-2,药房,门诊,1F,,,k20"
PENDING = (EnrolmentState.PENDING,)


def ticket_of(machine: Machine) -> EnrolmentTicket:
    assert machine.ticket is not None
    return machine.ticket


async def polled(desk: Desk, machine: Machine) -> EnrolmentStatus:
    ticket = ticket_of(machine)
    status = await desk.enrolment.poll(ticket.request_id, ticket.poll_token)
    assert status is not None
    return status


async def confirmed(desk: Desk, machine: Machine, kid: str = "zzj-001", **options: bool) -> None:
    confirmation = Confirmation(code=machine.code, kid=kid, accept_serial_mismatch=options.get("accept", False))
    await desk.enrolment.confirm(ticket_of(machine).request_id, confirmation, actor="engineer")


async def peer_of(desk: Desk, kid: str = "zzj-001") -> IssuedCertificate:
    return next(item for item in await desk.store.certificates_of(kid) if item.state is CertificateState.ACTIVE)


async def test_from_request_to_certificate(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.asks()
    assert (await polled(desk, machine)).state is EnrolmentState.PENDING
    [waiting] = await desk.enrolment.listed(PENDING)
    assert (waiting.serial, waiting.suggested_kid, waiting.tries_left) == ("SN-1", "zzj-001", WRONG_CODE_LIMIT)
    await confirmed(desk, machine)
    status = await polled(desk, machine)
    assert (status.state, status.kid, status.ca) == (EnrolmentState.CONFIRMED, "zzj-001", desk.authority.pem)
    assert status.broker is not None
    [certificate] = await desk.store.certificates_of("zzj-001")
    assert certificate.pem == status.certificate
    assert certificate.not_after == desk.clock.utc() + timedelta(days=365)
    assert desk.registry.accepts("zzj-001")
    assert ("kiosk_enrolled", "zzj-001") in desk.auditor.actions
    assert await desk.enrolment.listed(PENDING) == []


async def test_the_code_is_shown_nowhere_on_the_server(desk: Desk) -> None:
    machine = await desk.asks()
    [view] = await desk.enrolment.listed(PENDING)
    kept = await desk.store.enrolment(ticket_of(machine).request_id)
    assert machine.code not in view.model_dump_json()
    assert machine.code not in str(kept)
    assert ticket_of(machine).poll_token not in str(kept)


async def test_five_wrong_codes_end_the_request_and_the_right_one_comes_too_late(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.asks()
    for left in range(WRONG_CODE_LIMIT - 1, -1, -1):
        with pytest.raises(Refusal, match=f"{left} tries left"):
            await desk.enrolment.confirm(
                ticket_of(machine).request_id, Confirmation(code=machine.wrong_code, kid="zzj-001"), actor="guess"
            )
    with pytest.raises(Refusal, match="refused already"):
        await confirmed(desk, machine)
    assert (await polled(desk, machine)).state is EnrolmentState.REFUSED
    assert not desk.registry.accepts("zzj-001")


async def test_a_request_is_over_after_ten_minutes(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.asks()
    desk.clock.advance(REQUEST_LIFETIME_S)
    with pytest.raises(Refusal, match="expired"):
        await confirmed(desk, machine)
    assert (await polled(desk, machine)).state is EnrolmentState.EXPIRED
    assert await desk.enrolment.listed(PENDING) == []


async def test_a_machine_that_asks_again_replaces_its_own_request(desk: Desk) -> None:
    await desk.assets(ASSET)
    first = await desk.asks()
    again = await desk.asks(pair=first.pair)
    assert (await polled(desk, first)).state is EnrolmentState.EXPIRED
    assert len(await desk.enrolment.listed(PENDING)) == 1
    await confirmed(desk, again)


async def test_the_code_of_one_machine_is_not_the_code_of_another(desk: Desk) -> None:
    await desk.assets(ASSET)
    honest, thief = await desk.asks(), await desk.asks("SN-9")
    with pytest.raises(Refusal, match="code"):
        await desk.enrolment.confirm(
            ticket_of(thief).request_id, Confirmation(code=honest.code, kid="zzj-001"), actor="engineer"
        )


async def test_only_the_holder_of_the_token_learns_anything(desk: Desk) -> None:
    machine, other = await desk.asks(), await desk.asks("SN-2")
    identifier = ticket_of(machine).request_id
    for token in ("", "x", ticket_of(other).poll_token):
        assert await desk.enrolment.poll(identifier, token) is None
    for unknown in ("", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "../../etc/passwd", "x" * 10_000):
        assert await desk.enrolment.poll(unknown, ticket_of(machine).poll_token) is None


async def test_another_serial_number_needs_an_explicit_yes(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.asks("SN-NEW")
    with pytest.raises(Refusal, match="serial number is not the one"):
        await confirmed(desk, machine)
    await confirmed(desk, machine, accept=True)
    kiosk = await desk.store.kiosk("zzj-001")
    assert kiosk is not None
    assert kiosk.serial == "SN-NEW"


async def test_a_serial_number_of_another_kiosk_is_never_taken(desk: Desk) -> None:
    await desk.assets(ASSET, OTHER)
    machine = await desk.asks("SN-2")
    with pytest.raises(Refusal, match="belongs to zzj-002"):
        await confirmed(desk, machine, accept=True)


@pytest.mark.parametrize("kid", ["server", "fleet-main"])
async def test_names_of_servers_are_refused(sqlite_desk: Desk, kid: str) -> None:
    machine = await sqlite_desk.asks()
    with pytest.raises(Refusal, match="may be called"):
        await confirmed(sqlite_desk, machine, kid)


@pytest.mark.parametrize("kid", ["#", "+", "a/b", "kiosk\n", "ZZJ-001", "zzj_001", "z" * 41, "é23", ""])
def test_names_that_are_patterns_cannot_even_be_asked_for(kid: str) -> None:
    with pytest.raises(ValueError, match="kid"):
        Confirmation(code="000000", kid=kid)


async def test_an_asset_that_is_not_in_the_list_is_refused(desk: Desk) -> None:
    machine = await desk.asks()
    with pytest.raises(UnknownKiosk):
        await confirmed(desk, machine)
    assert (await polled(desk, machine)).state is EnrolmentState.PENDING


async def test_a_new_key_for_an_enrolled_asset_revokes_the_old_certificate(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    [old] = await desk.store.certificates_of("zzj-001")
    desk.clock.advance(60)
    await desk.enrols("zzj-001")
    new, replaced = await desk.store.certificates_of("zzj-001")
    assert (new.state, replaced.state) == (CertificateState.ACTIVE, CertificateState.REVOKED)
    assert [item.fingerprint for item in await desk.store.unenforced()] == [old.fingerprint]
    assert await desk.enrolment.authenticate(old.fingerprint) is None
    assert await desk.enrolment.authenticate(new.fingerprint) is not None


async def test_a_request_that_is_refused_stays_refused(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.asks()
    await desk.enrolment.refuse(ticket_of(machine).request_id, "nobody ordered this", actor="engineer")
    status = await polled(desk, machine)
    assert (status.state, status.reason) == (EnrolmentState.REFUSED, "nobody ordered this")
    with pytest.raises(Refusal, match="refused already"):
        await confirmed(desk, machine)


async def test_a_certificate_that_was_revoked_is_not_handed_out_any_more(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.enrols("zzj-001")
    await desk.registry.revoke("zzj-001", "mistake", actor="lead")
    status = await polled(desk, machine)
    assert (status.state, status.certificate) == (EnrolmentState.REFUSED, None)


@pytest.mark.parametrize("serial", ["", "  ", "SN\n1", "SN\x1b[2J"])
async def test_an_unprintable_serial_number_is_refused(sqlite_desk: Desk, serial: str) -> None:
    with pytest.raises(Refusal, match="serial"):
        await sqlite_desk.asks(serial)


async def test_a_bad_signing_request_leaves_nothing_behind(desk: Desk) -> None:
    with pytest.raises(CsrRefused):
        await desk.enrolment.request(EnrolmentRequest(csr="garbage", serial="SN-1"), "10.0.0.1")
    assert await desk.enrolment.listed(PENDING) == []


async def test_strangers_cannot_fill_the_waiting_room(
    sqlite_fleet_db: Database, sqlite_desk: Desk, manual_clock: ManualClock
) -> None:
    limits = EnrolmentSettings(pending_max=3, per_source=2)
    desk = make_desk(sqlite_fleet_db, manual_clock, sqlite_desk.authority, Settings(enrolment=limits))
    for number in range(2):
        await desk.asks(f"SN-{number}")
    with pytest.raises(Refusal, match="this address"):
        await desk.asks("SN-3")
    await desk.asks("SN-4", source="10.0.0.2")
    with pytest.raises(Refusal, match="wait for an engineer"):
        await desk.asks("SN-5", source="10.0.0.3")
    manual_clock.advance(REQUEST_LIFETIME_S)
    await desk.asks("SN-6")


def test_the_memory_of_addresses_is_bounded(manual_clock: ManualClock) -> None:
    limit = SourceLimit(1, 60.0, manual_clock)
    assert all(limit.take(f"10.0.{number // 256}.{number % 256}") for number in range(SOURCES_MAX + 10))
    assert not limit.take("10.0.16.9")
    assert limit.take("10.0.0.0")


# -- renewal -------------------------------------------------------------------------------------------------


async def test_a_renewal_gives_a_year_to_a_new_key_and_the_old_one_ends_when_the_new_is_used(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    old = await peer_of(desk)
    desk.clock.advance(250 * 86_400.0)
    answer = await desk.enrolment.renew(old, KeyPair().csr_pem("kiosk"))
    new = await peer_of(desk)
    assert answer.certificate == new.pem
    assert new.not_after == desk.clock.utc() + timedelta(days=365)
    assert await desk.enrolment.authenticate(old.fingerprint) is not None
    assert await desk.enrolment.authenticate(new.fingerprint) is not None
    assert await desk.enrolment.authenticate(old.fingerprint) is None
    [ended] = await desk.store.unenforced()
    assert (ended.fingerprint, ended.cut) == (old.fingerprint, False)


async def test_a_birth_with_the_new_certificate_ends_the_old_one_and_no_other_birth_does(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    old = await peer_of(desk)
    desk.clock.advance(86_400.0)
    await desk.enrolment.renew(old, KeyPair().csr_pem("kiosk"))
    new = await peer_of(desk)
    watch = RenewalWatch(desk.store, desk.clock)
    assert await watch.sweep() == []
    watch.note("zzj-001", old.not_after)
    assert await watch.sweep() == []
    assert await desk.enrolment.authenticate(old.fingerprint) is not None
    watch.note("zzj-001", new.not_after)
    assert await watch.sweep() == ["zzj-001"]
    assert await desk.enrolment.authenticate(old.fingerprint) is None
    assert await watch.sweep() == []


async def test_a_lost_answer_is_given_again(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    old, csr = await peer_of(desk), KeyPair().csr_pem("kiosk")
    first = await desk.enrolment.renew(old, csr)
    again = await desk.enrolment.renew(old, csr)
    assert first == again
    assert len(await desk.store.certificates_of("zzj-001")) == 2


async def test_a_kiosk_that_lost_its_new_key_may_make_another(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    old = await peer_of(desk)
    await desk.enrolment.renew(old, KeyPair().csr_pem("kiosk"))
    answer = await desk.enrolment.renew(old, KeyPair().csr_pem("kiosk"))
    states = sorted(item.state for item in await desk.store.certificates_of("zzj-001"))
    assert states == ["active", "revoked", "superseded"]
    assert (await peer_of(desk)).pem == answer.certificate


async def test_the_old_key_cannot_be_certified_again(desk: Desk) -> None:
    await desk.assets(ASSET)
    machine = await desk.enrols("zzj-001")
    with pytest.raises(Refusal, match="new key"):
        await desk.enrolment.renew(await peer_of(desk), machine.pair.csr_pem("kiosk"))


async def test_a_quarantined_kiosk_gets_no_certificate(desk: Desk) -> None:
    from fleet_server.registry.model import QuarantineReason  # noqa: PLC0415 - used once

    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    peer = await peer_of(desk)
    await desk.registry.quarantine("zzj-001", QuarantineReason.CLONED, "test")
    with pytest.raises(Refusal, match="not in order"):
        await desk.enrolment.renew(peer, KeyPair().csr_pem("kiosk"))


async def test_an_expired_certificate_opens_nothing(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    peer = await peer_of(desk)
    desk.clock.jump_wall(366 * 86_400.0)
    assert await desk.enrolment.authenticate(peer.fingerprint) is None


async def test_a_certificate_we_never_issued_opens_nothing(desk: Desk) -> None:
    leaf, _ = desk.authority.mint("zzj-001", now=desk.clock.utc(), life=timedelta(days=1))
    assert await desk.enrolment.authenticate(leaf.fingerprint) is None


async def test_enrolling_a_revoked_kiosk_brings_it_back(desk: Desk) -> None:
    await desk.assets(ASSET)
    await desk.enrols("zzj-001")
    await desk.registry.revoke("zzj-001", "lost", actor="lead")
    await desk.enrols("zzj-001")
    kiosk = desk.directory.get("zzj-001")
    assert kiosk is not None
    assert (kiosk.state, kiosk.state_reason) == (KioskState.ENROLLED, None)
