"""Commands that read what a patient brings: a document, a card, a code; or whichever of them comes first."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import Annotated, Final, Literal, cast

from pydantic import Field

from agent.devices.card_reader.types import BankCard, Card, CardKind, CardReader
from agent.devices.id_card_reader.types import DocumentType, IdCardReader, IdDocument, Sex
from agent.devices.qr_scanner.types import CodeKind, CodeSpent, QrScanner, Scan
from agent.devices.types import Driver
from agent.errors import DeviceFault
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.payload import Payload, Request
from agent.local_api.verbs.bench import Bench, DeviceRequest
from kit.supervise import TaskGroup, spawn
from wire.device_api import CompletionCode
from wire.envelope import ComponentName
from wire.profile import Capability

LIMIT_S: Final = 120.0
_BEYOND_S: Final = LIMIT_S + 5.0
"""Drivers wait a little longer than the command, so that the command's own deadline is what ends it."""
_AGAIN_S: Final = 0.5
_SHOW_AGAIN: Final = frozenset({"card_unreadable", "codeSpent"})
Codes = Annotated[list[CodeKind], Field(min_length=1, max_length=len(CodeKind))]
Cards = Annotated[list[CardKind], Field(min_length=1, max_length=len(CardKind))]


class Document(Payload):
    """An identity document as it was read."""

    medium: Literal["id_card"] = "id_card"
    component: ComponentName
    type: DocumentType
    name: str
    number: str
    number_is_valid: bool = Field(description="whether the check digit fits")
    sex: Sex
    born: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    is_long_term: bool = False
    latin_name: str = ""
    nation_code: str = ""
    nation: str = ""
    address: str = ""
    newest_address: str = ""
    issuer: str = ""
    pass_number: str = ""
    issue_count: str = ""
    country: str = ""
    older_number: str = ""
    photo: str | None = Field(default=None, description="base64, as the chip has it; only when it was asked for")


class Holder(Payload):
    """Who a social-security card belongs to."""

    id_number: str
    name: str
    sex: str | None = None
    birth_date: str | None = None
    area: str | None = None


class SocialCardRead(Payload):
    """A social-security card as it was read."""

    medium: Literal["social_card"] = "social_card"
    component: ComponentName
    card_number: str
    identification: str
    version: str
    issued_on: str
    expires_on: str
    needs_pin: bool = False
    holder: Holder | None = None
    reset_information: str = ""


class BankCardRead(Payload):
    """What of a bank card leaves the reader."""

    medium: Literal["bank_card"] = "bank_card"
    component: ComponentName
    masked_pan: str
    expires: str = Field(description="YYMM")
    label: str = ""
    application: str = ""


class CodeRead(Payload):
    """A scanned code; with more than one kind a person has to be asked what it is."""

    medium: Literal["code"] = "code"
    component: ComponentName
    text: str
    kinds: list[CodeKind]
    symbology: str | None = None
    fingerprint: str = Field(description="names the code in logs without telling it")


Medium = Annotated[Document | SocialCardRead | BankCardRead | CodeRead, Field(discriminator="medium")]


class CardRead(Payload):
    """A card, whichever it was."""

    card: Annotated[SocialCardRead | BankCardRead, Field(discriminator="medium")]


class First(Payload):
    """The medium that came first."""

    first: Medium


class ReadDocument(DeviceRequest):
    """Wait for an identity document and read it."""

    photo: bool = False


class ReadCard(DeviceRequest):
    """Wait for one of these cards and read it."""

    accept: Cards = Field(default_factory=lambda: list(CardKind))


class ReadCode(DeviceRequest):
    """Wait for a code; what the page expects decides what it may be."""

    expect: Codes = Field(default_factory=lambda: list(CodeKind))


class ReadFirst(Request):
    """Arm several readers at once; the first medium wins and the others go dark."""

    id_card: bool = True
    cards: list[CardKind] = Field(default_factory=lambda: list(CardKind), max_length=len(CardKind))
    codes: list[CodeKind] = Field(default_factory=lambda: list(CodeKind), max_length=len(CodeKind))
    photo: bool = False


class ReaderTrouble(Payload):
    """A reader that takes no part any more (`is_over`), or that waits for the medium to be shown once more."""

    component: ComponentName
    errorCode: str  # noqa: N815 - as in completions
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Armed:
    component: str
    read: Callable[[], Awaitable[Medium]]


class Readers:
    """Everything that reads."""

    def __init__(self, bench: Bench) -> None:
        """Read with the devices of this bench."""
        self._bench = bench

    def verbs(self) -> dict[str, Verb]:
        """The commands, by name."""
        device = ("noSuchComponent", "componentNeeded", "noMedium")
        return {
            "IdCardReader.Read": Verb(
                ReadDocument, self._document, LIMIT_S, "读身份证件 · Wait for an identity document and read it",
                Document, refusals=device,
            ),
            "CardReader.Read": Verb(
                ReadCard, self._card, LIMIT_S, "读社保卡或银行卡 · Wait for a card and read it", CardRead,
                refusals=device,
            ),
            "BarcodeReader.Read": Verb(
                ReadCode, self._code, LIMIT_S, "扫码 · Wait for one code", CodeRead, refusals=(*device, "codeSpent")
            ),
            "Media.ReadFirst": Verb(
                ReadFirst, self._first, LIMIT_S, "同时等待多种介质, 先到先得 · Arm several readers, the first wins",
                First, {"Media.ReaderTrouble": ReaderTrouble}, ("noSuchComponent", "noMedium"),
            ),
        }  # fmt: skip

    async def _document(self, request: ReadDocument, _progress: Progress) -> Document:
        component = self._bench.find(Capability.ID_CARD_READER, request.component)
        return await self._read_document(component, with_photo=request.photo)

    async def _card(self, request: ReadCard, _progress: Progress) -> CardRead:
        component = self._bench.find(Capability.CARD_READER, request.component)
        return CardRead(card=await self._read_card(component, request.accept))

    async def _code(self, request: ReadCode, _progress: Progress) -> CodeRead:
        return await self._read_code(self._bench.find(Capability.QR_SCANNER, request.component), request.expect)

    async def _first(self, request: ReadFirst, progress: Progress) -> First:
        armed = self._armed(request)
        if not armed:
            raise Refusal("noSuchComponent", "this kiosk has no reader for it")
        winner: asyncio.Future[Medium] = asyncio.get_running_loop().create_future()
        async with TaskGroup() as group:
            tasks = [spawn(group, _compete(one, winner, progress), f"arm {one.component}") for one in armed]
            over = spawn(group, _all_over(tasks), "arm-over")
            try:
                await asyncio.wait((winner, over), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*tasks, over):
                    task.cancel()
        if not winner.done():
            raise Refusal("noMedium", "no reader works", completion=CompletionCode.DEVICE_NOT_READY)
        return First(first=winner.result())

    def _armed(self, request: ReadFirst) -> list[_Armed]:
        bench, armed = self._bench, list[_Armed]()
        if request.id_card:
            armed += [
                _Armed(name, partial(self._read_document, name, with_photo=request.photo))
                for name in bench.all_of(Capability.ID_CARD_READER)
            ]
        if request.cards:
            armed += [
                _Armed(name, partial(self._read_card, name, request.cards))
                for name in bench.all_of(Capability.CARD_READER)
            ]
        if request.codes:
            armed += [
                _Armed(name, partial(self._read_code, name, request.codes))
                for name in bench.all_of(Capability.QR_SCANNER)
            ]
        return armed

    # -- one reader each ---------------------------------------------------------------------------------------

    async def _read_document(self, component: str, *, with_photo: bool) -> Document:
        async def work(driver: Driver) -> IdDocument | None:
            return await cast("IdCardReader", driver).read_document(timeout_s=_BEYOND_S)

        found = await self._bench.use(component, work)
        if found is None:
            raise _nothing_came()
        fields = {name: value for name, value in asdict(found).items() if name not in {"photo", "picture"}}
        photo = b64encode(found.photo).decode() if with_photo and found.photo else None
        return Document(component=component, photo=photo, **fields)

    async def _read_card(self, component: str, accept: list[CardKind]) -> SocialCardRead | BankCardRead:
        async def work(driver: Driver) -> Card | None:
            return await cast("CardReader", driver).read_card(accept, wait_s=_BEYOND_S)

        card = await self._bench.use(component, work)
        if card is None:
            raise _nothing_came()
        if isinstance(card, BankCard):
            return BankCardRead(component=component, **asdict(card))
        return SocialCardRead(component=component, **asdict(card))

    async def _read_code(self, component: str, expect: list[CodeKind]) -> CodeRead:
        async def work(driver: Driver) -> Scan | None:
            return await cast("QrScanner", driver).read_code(expect, wait_s=_BEYOND_S)

        scan = await self._bench.use(component, work)
        if scan is None:
            raise _nothing_came()
        try:
            text = scan.code.take()
        except CodeSpent as spent:
            raise Refusal("codeSpent", str(spent)) from None
        return CodeRead(
            component=component,
            text=text,
            kinds=list(scan.kinds),
            symbology=scan.symbology,
            fingerprint=scan.code.fingerprint,
        )


def _nothing_came() -> Refusal:
    return Refusal("noMedium", completion=CompletionCode.TIME_OUT)


async def _compete(armed: _Armed, winner: asyncio.Future[Medium], progress: Progress) -> None:
    """Read until something was read or the reader fails; a medium that cannot be read may be shown once more."""
    while True:
        try:
            medium = await armed.read()
        except (DeviceFault, Refusal) as error:
            code = error.fault.value if isinstance(error, DeviceFault) else error.code
            is_over = code not in _SHOW_AGAIN
            trouble = ReaderTrouble(component=armed.component, errorCode=code, is_over=is_over)
            progress.event("Media.ReaderTrouble", trouble.model_dump(mode="json"))
            if is_over:
                return
            await asyncio.sleep(_AGAIN_S)
            continue
        if not winner.done():
            winner.set_result(medium)
        return


async def _all_over(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
