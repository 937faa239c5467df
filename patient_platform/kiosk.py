"""What a kiosk asks across features: what works right now, and orders of whatever can be ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.web import Call, Routes
from patient_platform.bills.service import Bills
from patient_platform.his.health import HisHealth
from patient_platform.identity.access import KioskPrincipal
from patient_platform.identity.routes import ROOT
from patient_platform.identity.service import Identity
from patient_platform.payment.channels.breaker import Breaker
from patient_platform.payment.model import ChannelName, Method
from patient_platform.payment.views import OrderView, view
from patient_platform.registration.service import Registration


class Function(StrEnum):
    """What patients can do here."""

    PAY_BILL = "pay_bill"
    REGISTER = "register"


class Closed(StrEnum):
    """Why something cannot be done now."""

    HIS_DOWN = "his_down"
    NO_CHANNEL = "no_channel"
    CHANNEL_DOWN = "channel_down"
    SWITCHED_OFF = "switched_off"


class FunctionView(BaseModel):
    """Whether patients can do something."""

    function: Function
    is_open: bool
    reason: Closed | None


class ChannelView(BaseModel):
    """Whether patients can pay this way."""

    channel: ChannelName
    is_open: bool
    methods: list[Method]
    reason: Closed | None


class StatusView(BaseModel):
    """What works right now."""

    now: AwareDatetime
    hospital: str
    campus: str
    functions: list[FunctionView]
    channels: list[ChannelView]


class BillOrder(BaseModel):
    """Pay these bills as they were shown."""

    model_config = ConfigDict(extra="forbid")

    business: Literal["bill"]
    bills: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=50)]
    bill_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RegistrationOrder(BaseModel):
    """Pay for a locked slot."""

    model_config = ConfigDict(extra="forbid")

    business: Literal["registration"]
    lock: Annotated[str, Field(max_length=40)]


AnyOrder = Annotated[BillOrder | RegistrationOrder, Field(discriminator="business")]


@dataclass(frozen=True, slots=True)
class Desk:
    """What this page of the API is made of."""

    identity: Identity
    bills: Bills
    registration: Registration
    his: HisHealth
    channels: Mapping[ChannelName, Breaker]
    clock: Clock
    hospital: str
    campus: str

    def status(self) -> StatusView:
        """What works right now."""
        channels = [self._channel(name) for name in ChannelName]
        reason: Closed | None = None
        if not self.his.is_up:
            reason = Closed.HIS_DOWN
        elif not any(channel.is_open for channel in channels):
            reason = Closed.NO_CHANNEL
        functions = [FunctionView(function=function, is_open=reason is None, reason=reason) for function in Function]
        return StatusView(
            now=self.clock.utc(), hospital=self.hospital, campus=self.campus, functions=functions, channels=channels
        )

    def _channel(self, name: ChannelName) -> ChannelView:
        breaker = self.channels.get(name)
        if breaker is None:
            return ChannelView(channel=name, is_open=False, methods=[], reason=Closed.SWITCHED_OFF)
        is_open = breaker.is_open_for_business
        return ChannelView(
            channel=name, is_open=is_open, methods=list(Method), reason=None if is_open else Closed.CHANNEL_DOWN
        )


_ORDERS: Final = f"{ROOT}/sessions/{{session}}/orders"


def kiosk_routes(desk: Desk) -> Routes:
    """Status and new orders."""
    routes = Routes("kiosk")

    @routes.get(f"{ROOT}/status", permission="kiosk", summary="What works right now")
    async def status(call: Call[KioskPrincipal]) -> StatusView:  # noqa: ARG001 - every handler has the same first argument
        return desk.status()

    @routes.post(_ORDERS, permission="kiosk", status=201, summary="Order what is to be paid")
    async def order(call: Call[KioskPrincipal], session: str, body: AnyOrder) -> OrderView:
        found = await desk.identity.session(session, call.principal.id)
        match body:
            case BillOrder():
                made = await desk.bills.order(found, body.bills, body.bill_hash)
            case RegistrationOrder():
                made = await desk.registration.order(found, body.lock)
        return view(made)

    return routes
