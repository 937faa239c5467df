"""How this kiosk gets its identity and keeps it: request, pairing code, certificate; renewal in good time.

Keys are made and certificates looked at by a short-lived child process (`agent.uplink.keys`). Patients notice
nothing of any of this: an expired certificate keeps the kiosk from its fleet server, not from its work.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agent.errors import EnrolmentFailed, IdentityError
from agent.reporter import Reporter
from agent.settings import Settings
from agent.uplink.identity import KEY, Identity, IdentityStore, PendingRequest, facts_from
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.clock import Clock, ServerTime
from kit.logs import get_logger
from kit.supervise import Backoff
from wire.device_api import EnrolmentView, LinkState
from wire.enrolment import (
    REQUEST_LIFETIME_S,
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
    RenewalAnswer,
    RenewalRequest,
    pairing_code,
)
from wire.faults import Fault

log = get_logger(__name__)

T = TypeVar("T")
COMPONENT = "agent.identity"
CHILD_TIMEOUT_S = 60.0
RENEW_AT_SHARE = 1 / 3
"""Share of the certificate's life that is left when renewal begins."""
EXPIRING_SHARE = 0.1
FAILURES_LIMIT = 3
CHECK_S = 600.0
_RETRY_BASE_S, _RETRY_CAP_S = 60.0, 3_600.0
_AFTER_REFUSAL_S = 60.0
_ANSWER_LIMIT_BYTES = 262_144


class FleetApi(Protocol):
    """The fleet server's kiosk API."""

    async def request(self, request: EnrolmentRequest, ca_file: Path) -> EnrolmentTicket:
        """Ask for an identity."""

    async def status(self, ticket: EnrolmentTicket, ca_file: Path) -> EnrolmentStatus:
        """Ask how a request stands."""

    async def renew(self, request: RenewalRequest, identity: Identity) -> RenewalAnswer:
        """Ask for the next certificate."""


class Verdict(StrEnum):
    """What one look at the certificate led to."""

    FINE = "fine"
    RENEWED = "renewed"
    FAILED = "failed"


@dataclass(slots=True)
class Progress:
    """What the kiosk's screen shows."""

    state: LinkState = LinkState.NOT_ENROLLED
    code: str | None = None
    until_s: float = 0.0
    message: str | None = None


class KeyTool:
    """Runs the key program in a thread of its own."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store
        self._thread: DeviceThread | None = None
        self._child: subprocess.Popen[str] | None = None

    async def new_key(self, name: str) -> tuple[str, bytes]:
        """A new pending key; its certificate request and public key.

        Raises:
            IdentityError: no key was made.
        """

        def work() -> dict[str, Any]:
            place = self._store.make_pending()
            return self._run(("new", "--key", str(place / KEY), "--name", name))

        answer = await self.call(work)
        try:
            return str(answer["csr"]), base64.b64decode(answer["public_key"])
        except (KeyError, ValueError) as error:
            raise IdentityError("the key program gave no request") from error

    async def inspect(self, certificate: str, authority: str) -> str:
        """What the key program says about a certificate for the pending key, as JSON.

        Raises:
            IdentityError: it said nothing.
        """
        given = json.dumps({"certificate": certificate, "ca": authority})
        key_file = str(self._store.pending / KEY)
        return json.dumps(await self.call(lambda: self._run(("inspect", "--key", key_file), given)))

    async def call(self, work: Callable[[], T]) -> T:
        """Do file work off the event loop.

        Raises:
            IdentityError: the disk or the key program failed.
        """
        if self._thread is None or not self._thread.is_usable:
            self._thread = DeviceThread("identity")
        try:
            return await self._thread.call(work, timeout_s=CHILD_TIMEOUT_S + 5.0)
        except (OSError, CallTimeout, Abandoned) as error:
            raise IdentityError(f"identity files: {type(error).__name__}") from error

    def close(self) -> None:
        """End the thread, and the key program should it be running."""
        child = self._child
        if child is not None:
            child.kill()
        if self._thread is not None:
            self._thread.close(timeout_s=0.0)
            self._thread = None

    def _run(self, arguments: tuple[str, ...], given: str = "") -> dict[str, Any]:
        """Run the key program, in our thread; its answer.

        Raises:
            IdentityError: it failed.
        """
        command = (sys.executable, "-m", "agent.uplink.keys", *arguments)
        pipe = subprocess.PIPE
        try:
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
                self._child = child
                try:
                    output, _ = child.communicate(given, timeout=CHILD_TIMEOUT_S)
                finally:
                    self._child = None
                    child.kill()
            answer = json.loads(output[:_ANSWER_LIMIT_BYTES]) if child.returncode == 0 else None
        except (subprocess.SubprocessError, ValueError) as error:
            raise IdentityError(f"the key program failed: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise IdentityError(f"the key program ended with code {child.returncode}")
        return answer


class Enrolment:
    """Both halves: `obtain` until there is an identity, `look_after` for its renewal."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        store: IdentityStore,
        api: FleetApi | None,
        *,
        reporter: Reporter,
        clock: Clock,
        server_time: ServerTime,
        agent_version: str,
    ) -> None:
        self.progress = Progress()
        self._settings = settings
        self._fleet = settings.fleet
        self._store = store
        self._api = api
        self._reporter = reporter
        self._clock = clock
        self._server_time = server_time
        self._version = agent_version
        self._keys = KeyTool(store)
        self._retry = Backoff(base_s=self._fleet.retry_base_s, cap_s=self._fleet.retry_cap_s)
        self._renewal_retry = Backoff(base_s=_RETRY_BASE_S, cap_s=_RETRY_CAP_S)
        self._renew_after_s = 0.0
        self._failures = 0

    def view(self) -> EnrolmentView:
        """What the engineer sees."""
        progress = self.progress
        left_s = progress.until_s - self._clock.monotonic() if progress.code is not None else None
        return EnrolmentView(
            state=progress.state,
            pairing_code=progress.code,
            expires_in_s=None if left_s is None else max(0.0, left_s),
            serial=self._settings.serial,
            message=progress.message,
        )

    def close(self) -> None:
        """End the thread for file work."""
        self._keys.close()

    async def load(self) -> Identity | None:
        """The identity on disk, None when there is none that can be used."""
        try:
            return await self._keys.call(self._store.load)
        except IdentityError as error:
            log.warning("identity.unusable", reason=str(error))
            self.progress = Progress(message=str(error)[:512])
            return None

    async def obtain(self) -> Identity:
        """Ask until the fleet server has given this kiosk an identity."""
        while True:
            try:
                identity = await self._once()
            except (EnrolmentFailed, IdentityError) as error:
                if self.progress.message != str(error):
                    log.warning("enrolment.failed", reason=str(error))
                self.progress = Progress(LinkState.NOT_ENROLLED, message=str(error)[:512])
                is_final = isinstance(error, EnrolmentFailed) and error.is_final
                await asyncio.sleep(max(self._retry.next_s(), _AFTER_REFUSAL_S if is_final else 0.0))
                continue
            self.progress = Progress(LinkState.CONNECTING)
            self._retry.reset()
            log.info("enrolment.done", kid=identity.kid, expires_at=identity.not_after.isoformat())
            return identity

    async def look_after(self, identity: Identity) -> tuple[Verdict, Identity]:
        """Renew when it is time, and report how the certificate stands."""
        facts = identity.facts
        life_s = (facts.not_after - facts.not_before).total_seconds()
        left_s = (facts.not_after - self._server_time.now()).total_seconds()
        verdict = Verdict.FINE
        if (
            left_s < life_s * RENEW_AT_SHARE
            and self._api is not None
            and self._clock.monotonic() >= self._renew_after_s
        ):
            try:
                identity = await self._renew(self._api, identity)
            except (EnrolmentFailed, IdentityError) as error:
                self._failures += 1
                self._renew_after_s = self._clock.monotonic() + self._renewal_retry.next_s()
                verdict = Verdict.FAILED
                if self._failures == 1:
                    log.warning("renewal.failed", reason=str(error))
            else:
                self._failures, verdict = 0, Verdict.RENEWED
                self._renewal_retry.reset()
                left_s = (identity.not_after - self._server_time.now()).total_seconds()
                log.info("renewal.done", kid=identity.kid, expires_at=identity.not_after.isoformat())
        detail = {"expires_at": identity.not_after.isoformat()}
        await self._reporter.alarm(
            COMPONENT, Fault.CERTIFICATE_EXPIRING, is_up=left_s < life_s * EXPIRING_SHARE, detail=detail
        )
        await self._reporter.alarm(
            COMPONENT, Fault.RENEWAL_FAILING, is_up=self._failures >= FAILURES_LIMIT, detail=detail
        )
        return verdict, identity

    async def _once(self) -> Identity:
        """One request from key to certificate.

        Raises:
            EnrolmentFailed, IdentityError: as they say.
        """
        if self._api is None or self._fleet.ca_file is None:
            raise EnrolmentFailed("fleet.enrol_url and fleet.ca_file are not set", is_final=True)
        request = await self._keys.call(self._store.load_request)
        if request is None or request.ticket.expires_at <= self._server_time.now():
            request = await self._ask(self._api, self._fleet.ca_file)
        left_s = (request.ticket.expires_at - self._server_time.now()).total_seconds()
        until_s = self._clock.monotonic() + min(max(left_s, self._fleet.poll_s), REQUEST_LIFETIME_S)
        self.progress = Progress(LinkState.ENROLLING, request.pairing_code, until_s)
        log.info("enrolment.pairing_code_shown", expires_in_s=round(until_s - self._clock.monotonic()))
        status = await self._poll(self._api, request.ticket, self._fleet.ca_file, until_s)
        return await self._install(status)

    async def _ask(self, api: FleetApi, ca_file: Path) -> PendingRequest:
        serial = self._settings.serial or socket.gethostname()[:64]
        csr, public_key = await self._keys.new_key(serial)
        ticket = await api.request(
            EnrolmentRequest(
                csr=csr,
                serial=serial,
                model=self._settings.model,
                hostname=socket.gethostname()[:64],
                agent_version=self._version,
            ),
            ca_file,
        )
        request = PendingRequest(ticket=ticket, pairing_code=pairing_code(public_key, ticket.nonce))
        await self._keys.call(lambda: self._store.save_request(request))
        return request

    async def _poll(self, api: FleetApi, ticket: EnrolmentTicket, ca_file: Path, until_s: float) -> EnrolmentStatus:
        """Ask until it is decided; a server that cannot be reached for a while changes nothing."""
        while True:
            try:
                status = await api.status(ticket, ca_file)
            except EnrolmentFailed as error:
                if error.is_final:
                    await self._keys.call(self._store.drop_pending)
                    raise
                status = EnrolmentStatus(state=EnrolmentState.PENDING)
            if status.state is EnrolmentState.CONFIRMED:
                return status
            is_over = self._clock.monotonic() >= until_s
            if status.state is not EnrolmentState.PENDING or is_over:
                await self._keys.call(self._store.drop_pending)
                is_refused = status.state is EnrolmentState.REFUSED
                why = f"refused: {status.reason or ''}" if is_refused else "the pairing code was not confirmed in time"
                raise EnrolmentFailed(why, is_final=is_refused)
            await asyncio.sleep(self._fleet.poll_s)

    async def _install(self, status: EnrolmentStatus) -> Identity:
        certificate, authority = status.certificate, status.ca
        if certificate is None or authority is None or status.broker is None:
            raise EnrolmentFailed("the confirmation carries no certificate, CA or broker")
        facts = facts_from(await self._keys.inspect(certificate, authority), status.broker)
        if status.kid is not None and facts.kid != status.kid:
            raise IdentityError("the certificate names another kiosk than the confirmation")
        return await self._keys.call(lambda: self._store.install(certificate, authority, facts))

    async def _renew(self, api: FleetApi, identity: Identity) -> Identity:
        csr, _ = await self._keys.new_key(identity.kid)
        answer = await api.renew(RenewalRequest(csr=csr), identity)
        facts = facts_from(await self._keys.inspect(answer.certificate, answer.ca), identity.facts.broker)
        if facts.kid != identity.kid:
            raise IdentityError("the new certificate names another kiosk")
        if facts.not_after - identity.not_after < timedelta(0):
            raise IdentityError("the new certificate ends before the one in use")
        return await self._keys.call(lambda: self._store.install(answer.certificate, answer.ca, facts))
