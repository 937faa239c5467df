"""The command with which a person says that paper or toner was put in."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.payload import Request
from agent.maintenance.service import MaintenanceRefused
from wire.consumables import ConsumableStatus
from wire.device_api import CompletionCode
from wire.envelope import Code, ComponentName


class Refilled(Request):
    """What was put in, and how much where it is not a full one, in the unit of the consumable."""

    pass_word: Annotated[str, Field(max_length=64, repr=False)]
    component: ComponentName
    consumable: Code
    amount: float | None = Field(default=None, gt=0.0, le=1e9, allow_inf_nan=False)


class Consumables(Protocol):
    """The part of `agent.health.capabilities.Capabilities` that pages use."""

    async def refilled(self, component: str, consumable: str, amount: float | None = None) -> ConsumableStatus:
        """It is new. Raises: KeyError."""


class Maintenance(Protocol):
    """The part of `agent.maintenance.service.Maintenance` that says who may."""

    def current(self, pass_word: str) -> object:
        """The visit of the engineer with this pass. Raises: MaintenanceRefused."""


def verbs(service: Consumables, maintenance: Maintenance) -> dict[str, Verb]:
    """`Maintenance.Refilled`; a page in front of patients cannot say it."""

    async def refilled(request: Refilled, progress: Progress) -> ConsumableStatus:  # noqa: ARG001 - as `Verb` has it
        try:
            maintenance.current(request.pass_word)
            return await service.refilled(request.component, request.consumable, request.amount)
        except MaintenanceRefused as refused:
            raise Refusal(refused.code) from None
        except KeyError:
            code = "noSuchConsumable"
            raise Refusal(code, "not of this kiosk", completion=CompletionCode.INVALID_DATA) from None

    return {
        "Maintenance.Refilled": Verb(
            Refilled,
            refilled,
            limit_s=10.0,
            summary="耗材已更换 · Paper, toner or the like was put in",
            result=ConsumableStatus,
            refusals=("notOpen", "noSuchConsumable"),
        )
    }
