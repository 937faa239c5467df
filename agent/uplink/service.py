"""The uplink as one service: get an identity, stay connected with it, renew it, begin again when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from agent.settings import BrokerSettings
from agent.uplink.enrolment import CHECK_S, Enrolment, Verdict
from agent.uplink.identity import Identity
from agent.uplink.session import Inbound, Parts, Session, mqtt_settings
from kit.blocking import DeviceThread
from kit.logs import get_logger
from kit.mqtt import ClosedEarly, ConnectRefused
from kit.supervise import TaskGroup, spawn
from wire.device_api import EnrolmentView, LinkState, UplinkView
from wire.enrolment import BrokerAddress
from wire.presence import PresenceReason

log = get_logger(__name__)


class Uplink:
    """What the composition root runs; `view` and `enrolment` are for the local API."""

    name = "uplink"

    def __init__(
        self,
        parts: Parts,
        enrolment: Enrolment,
        broker: BrokerSettings,
        inbound: Mapping[str, Inbound] | None = None,
    ) -> None:
        self.identity: Identity | None = None
        self._parts = parts
        self._enrolment = enrolment
        self._broker = broker
        self._inbound = inbound
        self._session: Session | None = None
        self._asked = asyncio.Event()
        self._stop_reason: PresenceReason | None = None

    @property
    def certificate_expires_at(self) -> datetime | None:
        """When the identity ends."""
        return None if self.identity is None else self.identity.not_after

    def ask_for_enrolment(self) -> None:
        """An engineer wants a new identity for this kiosk; the old one stays in use until there is one."""
        self._asked.set()

    def stop(self, reason: PresenceReason) -> None:
        """Leave the fleet with a reason; `run` returns soon."""
        self._stop_reason = reason
        if self._session is not None:
            self._session.leave(reason)

    def enrolment(self) -> EnrolmentView:
        """What the engineer sees."""
        view = self._enrolment.view()
        if self.identity is not None and view.pairing_code is None:
            return view.model_copy(update={"state": self._link_state()})
        return view

    def view(self) -> UplinkView:
        """How the uplink stands."""
        session, pump = self._session, self._parts.pump.state
        now_s = self._parts.clock.monotonic()
        last_error = None if session is None else session.client.last_error
        return UplinkView(
            state=self._link_state(),
            session=0 if session is None else session.number,
            epoch=self._parts.outbox.epoch,
            queue=self._parts.outbox.depth(),
            server_online=None if session is None else session.is_server_online,
            last_error=None if last_error is None else last_error[:512],
            last_receipt_age_s=None if pump.last_receipt_s is None else now_s - pump.last_receipt_s,
        )

    async def run(self) -> None:
        """For ever, or until `stop`."""
        await self._load_numbers()
        try:
            self.identity = await self._enrolment.load()
            while self._stop_reason is None:
                if self.identity is None:
                    self.identity = await self._enrolment.obtain()
                await self._live(self.identity)
        finally:
            self._enrolment.close()

    async def _live(self, identity: Identity) -> None:
        """One identity's life: connection, renewal, and the wish for another."""
        broker = self._address(identity)
        self._asked.clear()
        session = Session(
            identity.kid,
            mqtt_settings(identity, broker, self._parts.settings),
            self._parts,
            certificate_expires_at=identity.not_after,
            inbound=self._inbound,
        )
        self._session = session
        async with TaskGroup() as group:
            helpers = [
                spawn(group, self._parts.pump.run(), "pump"),
                spawn(group, self._renew(session), "renewal"),
                spawn(group, self._replace(session), "enrolment"),
            ]
            try:
                await session.run()
            finally:
                for task in helpers:
                    task.cancel()

    async def _renew(self, session: Session) -> None:
        while True:
            if self.identity is not None:
                verdict, self.identity = await self._enrolment.look_after(self.identity)
                if verdict is Verdict.RENEWED:
                    session.renew(self.identity.not_after)
            await asyncio.sleep(CHECK_S)

    async def _replace(self, session: Session) -> None:
        """Get another identity beside the one in use, then change over."""
        await self._asked.wait()
        self.identity = await self._enrolment.obtain()
        session.leave(PresenceReason.MAINTENANCE)

    async def _load_numbers(self) -> None:
        thread = DeviceThread("session-numbers")
        try:
            await thread.call(self._parts.numbers.load, timeout_s=30.0)
            try:
                await thread.call(self._parts.numbers.reserve, timeout_s=30.0)
            except OSError as error:
                log.warning("session.number_not_saved", reason=str(error))
        finally:
            thread.close(timeout_s=0.0)

    def _address(self, identity: Identity) -> BrokerAddress:
        given = identity.facts.broker
        host = self._broker.host or (given.host if given is not None else "localhost")
        port = self._broker.port or (given.port if given is not None else 8883)
        return BrokerAddress(host=host, port=port)

    def _link_state(self) -> LinkState:
        session = self._session
        if self.identity is None or session is None:
            return self._enrolment.progress.state
        if session.client.is_connected:
            return LinkState.CONNECTED
        if isinstance(session.client.last_failure, ConnectRefused | ClosedEarly):
            return LinkState.REFUSED
        return LinkState.CONNECTING if session.client.last_failure is None else LinkState.OFFLINE
