"""Social-security cards through the local bureau's certified component, wrapped in a program that speaks JSON lines.

Question `{"id", "op": "about"}`; answer `{"id", "ok": true, "model", "version", "serial"}`, each of the three may be
absent. Question `{"id", "op": "read_social_card", "wait_ms"}`; answer `{"id", "ok": true, "card": {…}}`, `"card": null`
when none came, or `{"id", "ok": false, "error": WORD}`. Never seen with a real component.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.devices.card_reader.types import CardKind, SocialCard, SocialHolder
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkTimeout
from agent.links.program import ProgramGarbage, ProgramLink
from kit.clock import Clock
from kit.logs import get_logger
from wire.faults import Fault
from wire.profile import DeviceProfile

_log = get_logger(__name__)
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
    error: str | None = None


class _About(_Reply):
    model: str | None = Field(default=None, max_length=64)
    version: str | None = Field(default=None, max_length=64)
    serial: str | None = Field(default=None, max_length=64)


class _Read(_Reply):
    card: _Card | None = None


R = TypeVar("R", bound=_Reply)


class ProgramSocialCardTerminal:
    """A `SocialCardTerminal` behind a program; one that was ended, because it hung or was called off, starts anew."""

    def __init__(self, link: ProgramLink) -> None:
        self._link = link

    async def about(self, *, timeout_s: float) -> DeviceFacts:
        """What the component says of itself. Raises: DeviceFault."""
        answer = await self._ask({"op": "about"}, _About, timeout_s)
        return DeviceFacts(answer.model, answer.version, answer.serial)

    async def read_social_card(self, *, wait_s: float) -> SocialCard | None:
        """See `SocialCardTerminal`."""
        question = {"op": "read_social_card", "wait_ms": round(wait_s * 1000)}
        answer = await self._ask(question, _Read, wait_s + _GRACE_S)
        return None if answer.card is None else _social_card(answer.card)

    async def _ask(self, question: dict[str, object], kind: type[R], timeout_s: float) -> R:
        try:
            await self._link.open()
            answer = kind.model_validate(await self._link.ask(question, timeout_s=timeout_s))
        except LinkTimeout as error:
            raise DeviceFault(Fault.NOT_RESPONDING, "component does not answer") from error
        except (ProgramGarbage, ValidationError):  # what came may hold an identity: it is not carried on
            raise DeviceFault(Fault.PROTOCOL_ERROR, "component answers nonsense") from None
        except LinkError as error:
            raise DeviceFault(Fault.DEVICE_ERROR, "component ended") from error
        if not answer.ok:
            fault, detail = _ERRORS.get(answer.error or "", (Fault.DEVICE_ERROR, "component reports a failure"))
            raise DeviceFault(fault, detail)
        return answer

    async def close(self) -> None:
        """End the program."""
        await self._link.close()


class Options(BaseModel):
    """What a profile may say of a component."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    answer_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long it may take to say what it is."""
    poll_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """How often it is asked while nobody reads."""


class ProgramCardReader:
    """A `Driver` and a `CardReader` for social-security cards; it cannot tell whether a card is in."""

    def __init__(self, link: ProgramLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        del clock  # deadlines are the loop's
        self._options = Options.model_validate({**profile.capabilities, **profile.quirks})
        self._terminal = ProgramSocialCardTerminal(link)
        self._owner = owner
        self._lock = asyncio.Lock()

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        facts = await self._terminal.about(timeout_s=self._options.answer_s)
        self._owner.status(DeviceStatus({}, {"media": "unknown"}))
        return facts

    async def run(self) -> None:
        """See `Driver`; a component that hangs or ends is out of order until it answers again."""
        while True:
            await asyncio.sleep(self._options.poll_s)
            if not self._lock.locked():  # who reads has a deadline of his own
                async with self._lock:
                    _ = await self._terminal.about(timeout_s=self._options.answer_s)
            self._owner.alive()

    async def stop(self) -> None:
        """See `Driver`: the program ends with its link."""

    async def read_card(self, accept: Collection[CardKind], *, wait_s: float) -> SocialCard | None:
        """See `CardReader`."""
        if CardKind.SOCIAL not in accept:
            raise DeviceFault(Fault.CARD_UNREADABLE, "other_kind")
        async with self._lock:
            card = await self._terminal.read_social_card(wait_s=wait_s)
        if card is not None:
            _log.info("card.read", kind=CardKind.SOCIAL)
        return card


def _social_card(card: _Card) -> SocialCard:
    holder = None if card.holder is None else SocialHolder(**card.holder.model_dump())
    return SocialCard(**card.model_dump(exclude={"holder"}), holder=holder)
