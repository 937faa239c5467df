"""Social-security cards through the local bureau's certified component, wrapped in a program that speaks JSON lines.

Question `{"id", "op": "read_social_card", "wait_ms"}`; answer `{"id", "ok": true, "card": {…}}`, `"card": null` when
none came, or `{"id", "ok": false, "error": WORD}`. Never seen with a real component.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.devices.card_reader.types import SocialCard, SocialHolder
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkTimeout
from agent.links.program import ProgramGarbage, ProgramLink
from wire.faults import Fault

_GRACE_S = 5.0
_ERRORS = {
    "removed": (Fault.CARD_UNREADABLE, "removed"),
    "unreadable": (Fault.CARD_UNREADABLE, "damaged"),
    "other_kind": (Fault.CARD_UNREADABLE, "other_kind"),
    "no_reader": (Fault.UNPLUGGED, "component sees no reader"),
    "no_psam": (Fault.SAM_FAILED, "component sees no PSAM"),
}


class _Answered(BaseModel):
    """What comes from outside: extra keys are the component's own business."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


class _Holder(_Answered):
    id_number: str = Field(pattern=r"^[0-9]{17}[0-9X]$")
    name: str = Field(min_length=1, max_length=60)
    sex: str | None = None
    birth_date: str | None = Field(default=None, pattern=r"^[0-9]{8}$")
    area: str | None = Field(default=None, pattern=r"^[0-9]{6}$")


class _Card(_Answered):
    card_number: str = Field(min_length=1, max_length=32)
    identification: str = Field(default="", max_length=64)
    version: str = Field(default="", max_length=8)
    issued_on: str = Field(default="", max_length=8)
    expires_on: str = Field(default="", max_length=8)
    reset_information: str = Field(default="", max_length=64)
    needs_pin: bool = False
    holder: _Holder | None = None


class _Reply(_Answered):
    ok: bool
    card: _Card | None = None
    error: str | None = None


class ProgramSocialCardTerminal:
    """A `SocialCardTerminal` behind a program."""

    def __init__(self, link: ProgramLink) -> None:
        self._link = link

    async def read_social_card(self, *, wait_s: float) -> SocialCard | None:
        """See `SocialCardTerminal`."""
        question = {"op": "read_social_card", "wait_ms": round(wait_s * 1000)}
        try:
            await self._link.open()
            answer = _Reply.model_validate(await self._link.ask(question, timeout_s=wait_s + _GRACE_S))
        except LinkTimeout as error:
            raise DeviceFault(Fault.NOT_RESPONDING, "component does not answer") from error
        except (ProgramGarbage, ValidationError):  # what came may hold an identity: it is not carried on
            raise DeviceFault(Fault.PROTOCOL_ERROR, "component answers nonsense") from None
        except LinkError as error:
            raise DeviceFault(Fault.DEVICE_ERROR, "component ended") from error
        if not answer.ok:
            fault, detail = _ERRORS.get(answer.error or "", (Fault.DEVICE_ERROR, "component reports a failure"))
            raise DeviceFault(fault, detail)
        return None if answer.card is None else _social_card(answer.card)

    async def close(self) -> None:
        """End the program."""
        await self._link.close()


def _social_card(card: _Card) -> SocialCard:
    holder = None if card.holder is None else SocialHolder(**card.holder.model_dump())
    return SocialCard(**card.model_dump(exclude={"holder"}), holder=holder)
