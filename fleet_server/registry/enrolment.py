"""How a machine becomes a kiosk of the fleet, and how it renews its certificate.

The request comes from a stranger; all it can do is wait, within limits, until an engineer types the code
that stands on the machine's screen. The server never shows that code. Five wrong codes end the request.
What is compared is the code of the key in the request, so the certificate goes to that machine.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import (
    CertificateState,
    Confirmation,
    Enrolment,
    EnrolmentView,
    IssuedCertificate,
    Kiosk,
    KioskEvent,
    KioskState,
)
from fleet_server.registry.pki import CertificateAuthority, Leaf, SigningRequest, check_csr
from fleet_server.registry.renewals import REASON
from fleet_server.registry.service import UnknownKiosk, next_state, revoke_certificates
from fleet_server.registry.store import RegistryStore, RegistryWork
from fleet_server.settings import Settings
from fleet_server.staff.ports import AuditEntry, Auditor
from kit.clock import Clock, ulid
from kit.logs import get_logger
from wire.enrolment import (
    REQUEST_LIFETIME_S,
    WRONG_CODE_LIMIT,
    BrokerAddress,
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
    RenewalAnswer,
    pairing_code,
)
from wire.identity import InvalidKioskId, check_kiosk_id

TOKEN_BYTES: Final = 32
NONCE_BYTES: Final = 16
KEPT: Final = timedelta(days=30)
"""How long decided requests can be looked at."""
SOURCES_MAX: Final = 4_096
LIST_MAX: Final = 500
TOO_MANY: Final = 429
log = get_logger(__name__)


class SourceLimit:
    """Counts requests per network address over a sliding window; the least recent addresses are forgotten."""

    def __init__(self, count: int, window_s: float, clock: Clock) -> None:
        """Allow `count` requests in `window_s`."""
        self._count = count
        self._window_s = window_s
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, source: str) -> bool:
        """Count a request; False when this address has had its share."""
        now = self._clock.monotonic()
        times = self._seen.setdefault(source, deque())
        self._seen.move_to_end(source)
        while len(self._seen) > SOURCES_MAX:
            self._seen.popitem(last=False)
        while times and now - times[0] >= self._window_s:
            times.popleft()
        if len(times) >= self._count:
            return False
        times.append(now)
        return True


@dataclass(frozen=True, slots=True)
class WrongCode:
    """The code was not the one on the kiosk's screen."""

    tries_left: int


class EnrolmentService:
    """The rules of enrolment and renewal."""

    def __init__(
        self,
        store: RegistryStore,
        directory: Directory,
        authority: CertificateAuthority,
        settings: Settings,
        clock: Clock,
        auditor: Auditor,
    ) -> None:
        """Sign with this authority."""
        self._store = store
        self._directory = directory
        self._authority = authority
        self._settings = settings
        self._clock = clock
        self._auditor = auditor
        limits = settings.enrolment
        self._sources = SourceLimit(limits.per_source, limits.per_source_window_s, clock)
        self._life = timedelta(days=settings.certificates.kiosk_days)

    # -- the machine's side ----------------------------------------------------------------------------------

    async def request(self, request: EnrolmentRequest, source: str) -> EnrolmentTicket:
        """Take a request of a stranger; an earlier one with the same key ends.

        Raises:
            CsrRefused: the signing request is not acceptable.
            Refusal: too many requests from there, or too many waiting.
        """
        if not self._sources.take(source):
            raise Refusal("too_many_requests", "too many requests from this address, wait a while", status=TOO_MANY)
        csr = check_csr(request.csr)
        if not request.serial.strip() or not request.serial.isprintable():
            raise Refusal("serial_invalid", "the serial number must be printable text", status=422)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        enrolment = self._new(request, csr, source, token)
        async with self._store.writing() as work:
            now = enrolment.created_at
            await work.expire_enrolments(now, key_digest=csr.key_digest)
            await work.forget_enrolments(now - KEPT)
            if await work.pending_enrolments() >= self._settings.enrolment.pending_max:
                raise Refusal("too_many_pending", "too many requests wait for an engineer", status=TOO_MANY)
            await work.add_enrolment(enrolment)
        log.info("enrolment.requested", enrolment_id=enrolment.id, serial=enrolment.serial, source=source)
        return EnrolmentTicket(
            request_id=enrolment.id, nonce=enrolment.nonce, poll_token=token, expires_at=enrolment.expires_at
        )

    async def poll(self, identifier: str, token: str) -> EnrolmentStatus | None:
        """What became of a request; None unless id and token belong together."""
        enrolment = await self._store.enrolment(identifier) if len(identifier) == len(ulid(self._clock)) else None
        known = enrolment.poll_token_digest if enrolment is not None else _digest("")
        if not hmac.compare_digest(known, _digest(token)) or enrolment is None:
            return None
        if enrolment.state is EnrolmentState.PENDING and enrolment.expires_at <= self._clock.utc():
            return EnrolmentStatus(state=EnrolmentState.EXPIRED)
        if enrolment.state is not EnrolmentState.CONFIRMED or enrolment.fingerprint is None:
            return EnrolmentStatus(state=enrolment.state, reason=_short(enrolment.reason))
        certificate = await self._store.certificate(enrolment.fingerprint)
        if certificate is None or certificate.state is CertificateState.REVOKED:
            return EnrolmentStatus(state=EnrolmentState.REFUSED, reason="revoked")
        broker = self._settings.broker
        return EnrolmentStatus(
            state=EnrolmentState.CONFIRMED,
            kid=enrolment.kid,
            certificate=certificate.pem,
            ca=self._authority.pem,
            broker=BrokerAddress(host=broker.public_host, port=broker.port),
        )

    async def renew(self, peer: IssuedCertificate, csr_pem: str) -> RenewalAnswer:
        """Give an enrolled kiosk its next certificate; asking again with the same key gives the same one.

        Raises:
            CsrRefused: the signing request is not acceptable.
            Refusal: the identity is not in order, or a newer certificate is in use already.
        """
        csr = check_csr(csr_pem)
        async with self._store.writing() as work:
            kiosk = await work.kiosk(peer.kid)
            if kiosk is None or kiosk.state is not KioskState.ENROLLED:
                raise Refusal("identity_refused", "this identity is not in order", status=403)
            certificates = await work.certificates_of(peer.kid)
            issued = await self._next_certificate(work, peer, csr, certificates)
        log.info("certificate.renewed", kiosk_id=peer.kid, not_after=issued.not_after.isoformat())
        return RenewalAnswer(certificate=issued.pem, ca=self._authority.pem)

    async def authenticate(self, fingerprint: str) -> IssuedCertificate | None:
        """The certificate of a TLS peer when it opens doors; its first use ends the one it replaces."""
        certificate = await self._store.certificate(fingerprint)
        if certificate is None or certificate.state is CertificateState.REVOKED:
            return None
        if self._clock.utc() >= certificate.not_after or self._directory.get(certificate.kid) is None:
            return None
        if certificate.state is CertificateState.ACTIVE:
            await self._retire_superseded(certificate.kid)
        return certificate

    # -- the engineer's side ---------------------------------------------------------------------------------

    async def listed(self, states: tuple[EnrolmentState, ...]) -> list[EnrolmentView]:
        """Requests in these states, newest first; those whose time is over count as expired."""
        now = self._clock.utc()
        found = await self._store.enrolments(EnrolmentState, limit=LIST_MAX)
        by_serial = {kiosk.serial: kiosk.kid for kiosk in self._directory.kiosks.values() if kiosk.serial}
        views = [_enrolment_view(item, by_serial.get(item.serial), now) for item in found]
        return [view for view in views if view.state in states]

    async def confirm(self, identifier: str, confirmation: Confirmation, *, actor: str) -> EnrolmentView:
        """Give the machine in front of the engineer the identity of an asset.

        Raises:
            UnknownKiosk: the asset is not in the list.
            Refusal: no such request, over, wrong code, the name is not for kiosks, or the serial numbers differ.
        """
        outcome = await self._decide(identifier, confirmation, actor)
        fields = {"enrolment_id": identifier}
        if isinstance(outcome, WrongCode):
            await self._auditor.record(AuditEntry(actor, "enrolment_code_wrong", confirmation.kid, "refused", fields))
            raise Refusal(
                "code_wrong" if outcome.tries_left else "code_exhausted",
                f"the code is not the one on the kiosk's screen, {outcome.tries_left} tries left",
                status=422,
            )
        await self._directory.refresh()
        await self._auditor.record(AuditEntry(actor, "kiosk_enrolled", confirmation.kid, "ok", fields))
        log.info("kiosk.enrolled", kiosk_id=confirmation.kid, enrolment_id=identifier)
        return _enrolment_view(outcome, confirmation.kid, self._clock.utc())

    async def refuse(self, identifier: str, reason: str, *, actor: str) -> EnrolmentView:
        """Turn a request down.

        Raises:
            Refusal: no such request, or it is decided already.
        """
        async with self._store.writing() as work:
            enrolment = await self._pending(work, identifier)
            now = self._clock.utc()
            decided = replace(
                enrolment, state=EnrolmentState.REFUSED, decided_at=now, decided_by=actor[:64], reason=reason
            )
            await work.save_enrolment(decided)
        await self._auditor.record(
            AuditEntry(actor, "enrolment_refused", None, "ok", {"enrolment_id": identifier, "reason": reason})
        )
        return _enrolment_view(decided, None, now)

    # -- inside ----------------------------------------------------------------------------------------------

    def _new(self, request: EnrolmentRequest, csr: SigningRequest, source: str, token: str) -> Enrolment:
        now = self._clock.utc()
        return Enrolment(
            id=ulid(self._clock),
            state=EnrolmentState.PENDING,
            csr=request.csr,
            key_digest=csr.key_digest,
            serial=request.serial.strip(),
            model=request.model,
            hostname=request.hostname,
            agent_version=request.agent_version,
            nonce=secrets.token_hex(NONCE_BYTES),
            poll_token_digest=_digest(token),
            source=source[:64],
            created_at=now,
            expires_at=now + timedelta(seconds=REQUEST_LIFETIME_S),
            wrong_tries=0,
            kid=None,
            decided_at=None,
            decided_by=None,
            reason=None,
            fingerprint=None,
        )

    async def _decide(self, identifier: str, confirmation: Confirmation, actor: str) -> Enrolment | WrongCode:
        """Decide in one transaction; a wrong code is counted, so it must commit and not raise."""
        async with self._store.writing() as work:
            enrolment = await self._pending(work, identifier)
            csr = check_csr(enrolment.csr)
            if not hmac.compare_digest(pairing_code(csr.public_key_der, enrolment.nonce), confirmation.code):
                return await self._count_wrong(work, enrolment)
            kiosk = await _asset(work, confirmation, enrolment.serial)
            now = self._clock.utc()
            await revoke_certificates(work, kiosk.kid, "replaced by a new enrolment", now, cut=True)
            issued = self._issue(kiosk.kid, csr, actor)
            await work.set_state(kiosk.kid, next_state(kiosk, KioskEvent.ENROL), at=now)
            await work.set_serial(kiosk.kid, enrolment.serial)
            await work.add_certificates([issued])
            await work.forget_sightings(kiosk.kid)
            decided = replace(
                enrolment,
                state=EnrolmentState.CONFIRMED,
                kid=kiosk.kid,
                decided_at=now,
                decided_by=actor[:64],
                fingerprint=issued.fingerprint,
            )
            await work.save_enrolment(decided)
            return decided

    async def _count_wrong(self, work: RegistryWork, enrolment: Enrolment) -> WrongCode:
        tries = enrolment.wrong_tries + 1
        counted = replace(enrolment, wrong_tries=tries)
        if tries >= WRONG_CODE_LIMIT:
            now = self._clock.utc()
            counted = replace(counted, state=EnrolmentState.REFUSED, decided_at=now, reason="too many wrong codes")
        await work.save_enrolment(counted)
        return WrongCode(max(0, WRONG_CODE_LIMIT - tries))

    async def _pending(self, work: RegistryWork, identifier: str) -> Enrolment:
        enrolment = await work.enrolment(identifier)
        if enrolment is None:
            raise Refusal("enrolment_unknown", "there is no such request", status=404)
        if enrolment.state is not EnrolmentState.PENDING:
            raise Refusal("enrolment_decided", f"the request is {enrolment.state} already")
        if enrolment.expires_at <= self._clock.utc():
            raise Refusal("enrolment_expired", "the request has expired: start again at the kiosk")
        return enrolment

    async def _next_certificate(
        self, work: RegistryWork, peer: IssuedCertificate, csr: SigningRequest, certificates: list[IssuedCertificate]
    ) -> IssuedCertificate:
        active = [item for item in certificates if item.state is CertificateState.ACTIVE]
        repeated = next((item for item in active if item.key_digest == csr.key_digest), None)
        if repeated is not None and repeated.fingerprint != peer.fingerprint:
            return repeated  # the answer was lost and the kiosk asks again
        if any(item.key_digest == csr.key_digest for item in certificates):
            raise Refusal("key_reused", "a renewal needs a new key", status=422)
        # A newer certificate that never reached the kiosk is of no use to anybody: it ends here.
        unused = [item.fingerprint for item in active if item.fingerprint != peer.fingerprint]
        now = self._clock.utc()
        await work.revoke_certificates(unused, at=now, reason="never received", cut=False)
        await work.supersede([peer.fingerprint])
        issued = self._issue(peer.kid, csr, peer.kid)
        await work.add_certificates([issued])
        return issued

    async def _retire_superseded(self, kid: str) -> None:
        certificates = await self._store.certificates_of(kid)
        old = [item.fingerprint for item in certificates if item.state is CertificateState.SUPERSEDED]
        if old:
            async with self._store.writing() as work:
                await work.revoke_certificates(old, at=self._clock.utc(), reason=REASON, cut=False)

    def _issue(self, kid: str, csr: SigningRequest, actor: str) -> IssuedCertificate:
        now = self._clock.utc()
        leaf = self._authority.issue_client(check_kiosk_id(kid), csr.public_key_der, now=now, life=self._life)
        return issued_record(leaf, now, actor)


def issued_record(leaf: Leaf, now: datetime, actor: str) -> IssuedCertificate:
    """The registry's record of a certificate that was just signed."""
    return IssuedCertificate(
        fingerprint=leaf.fingerprint,
        kid=leaf.name,
        serial=leaf.serial,
        key_digest=leaf.key_digest,
        pem=leaf.pem,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issued_at=now,
        issued_by=actor[:64],
        state=CertificateState.ACTIVE,
    )


async def _asset(work: RegistryWork, confirmation: Confirmation, serial: str) -> Kiosk:
    """The asset the machine is to become."""
    try:
        check_kiosk_id(confirmation.kid)
    except InvalidKioskId:
        raise Refusal("kiosk_id_refused", "no kiosk may be called so", status=422) from None
    kiosk = await work.kiosk(confirmation.kid)
    if kiosk is None:
        raise UnknownKiosk
    if kiosk.serial is not None and kiosk.serial != serial and not confirmation.accept_serial_mismatch:
        raise Refusal("serial_mismatch", "the machine's serial number is not the one in the asset list")
    other = await work.kiosk_with_serial(serial)
    if other is not None and other.kid != kiosk.kid:
        raise Refusal("serial_taken", f"the machine's serial number belongs to {other.kid}")
    return kiosk


def _enrolment_view(item: Enrolment, suggested: str | None, now: datetime) -> EnrolmentView:
    is_over = item.state is EnrolmentState.PENDING and item.expires_at <= now
    return EnrolmentView(
        id=item.id,
        state=EnrolmentState.EXPIRED if is_over else item.state,
        serial=item.serial,
        model=item.model,
        hostname=item.hostname,
        agent_version=item.agent_version,
        source=item.source,
        created_at=item.created_at,
        expires_at=item.expires_at,
        tries_left=max(0, WRONG_CODE_LIMIT - item.wrong_tries),
        suggested_kid=suggested,
        kid=item.kid,
        decided_at=item.decided_at,
        decided_by=item.decided_by,
        reason=item.reason,
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _short(text: str | None) -> str | None:
    return None if text is None else text[:64]
