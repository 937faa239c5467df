"""The page for patients at an agent's own local API, the whole patient platform behind it, and media a test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from e2e.serving import ROOT

from agent.devices.id_card_reader.types import DocumentType, Sex
from agent.devices.qr_scanner.classify import classify
from agent.devices.qr_scanner.types import CodeKind
from agent.local_api import lease
from agent.local_api.auth import LocalToken
from agent.local_api.channel import DeviceChannel
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.feed import Feed
from agent.local_api.lease import SessionLease
from agent.local_api.status_page import add_page
from agent.local_api.verbs.printers import JobDone, JobView, Print
from agent.local_api.verbs.readers import CodeRead, Document, First, ReadCode, ReadFirst
from agent.patient.link import Answer, PlatformLink, Unreachable
from agent.patient.proxy import PlatformProxy
from agent.printing.machine import JobState
from kit.clock import SystemClock
from kit.web import Guard, GuardSettings, HttpServer

if TYPE_CHECKING:
    from support.patient_site import PatientSite

DIST: Final = ROOT / "kiosk_ui" / "dist"
KIOSK: Final = "kiosk-1"


class SiteLink(PlatformLink):
    """The way to a platform that believes kiosks their names; cut while `is_cut`."""

    def __init__(self, site: PatientSite) -> None:
        super().__init__(site.url, lambda: None)
        self._site = site
        self.is_cut = False

    async def ask(
        self,
        method: str,
        target: str,
        *,
        limit_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """See `PlatformLink`."""
        if self.is_cut:
            raise Unreachable("cut")
        sent = {**(headers or {}), "X-Test-Kiosk": KIOSK} | ({"Content-Type": "application/json"} if body else {})
        async with asyncio.timeout(limit_s):
            url = f"{self._site.url}{target}"
            async with self._site.http.request(method, url, data=body, headers=sent) as response:
                kind = None if response.status == HTTPStatus.NO_CONTENT else response.content_type
                answer = Answer(response.status, kind, await response.read())
        if self.is_cut:
            raise Unreachable("cut")
        return answer


class PatientRig:
    """One kiosk: what is presented to its readers, and what its printer printed."""

    def __init__(self, site: PatientSite) -> None:
        self.site = site
        self.link = SiteLink(site)
        self._clock = SystemClock()
        self.lease = SessionLease(self._clock)
        self.papers: dict[str, str] = {}
        self.has_paper = True
        self._cards: asyncio.Queue[Document] = asyncio.Queue()
        self._codes: asyncio.Queue[str] = asyncio.Queue()
        self._token = LocalToken("first-boot")

    def lay_card(self, number: int) -> None:
        """Patient `number` of the HIS lays an identity card on the reader."""
        patient = self.site.his.desk.hospital.books.patients[f"P{number:06d}"]
        card = Document(
            component="id_reader",
            type=DocumentType.RESIDENT,
            name=patient.name,
            number=patient.id_card,
            number_is_valid=True,
            sex=Sex.FEMALE,
        )
        self._cards.put_nowait(card)

    def show_code(self, text: str) -> None:
        """A phone is held before the scanner."""
        self._codes.put_nowait(text)

    async def _first(self, _request: ReadFirst, _progress: Progress) -> First:
        return First(first=await self._cards.get())

    async def _code(self, request: ReadCode, _progress: Progress) -> CodeRead:
        text = await self._codes.get()
        kinds: list[CodeKind] = list(classify(text, request.expect))
        return CodeRead(component="scanner", text=text, kinds=kinds, fingerprint="f")

    async def _print(self, request: Print, _progress: Progress) -> JobDone:
        if not self.has_paper:
            raise Refusal("failed", "paper_out")
        assert request.paper is not None
        self.papers[request.key] = request.paper.receipt().model_dump_json()
        job: dict[str, Any] = {"no": 1, "attempts": 1, "copy_no": 0, "can_reprint": True, "made_at": self._clock.utc()}
        view = JobView(key=request.key, component="p", kind=request.kind, state=JobState.PRINTED, **job)
        return JobDone(job=view)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the page, the channel and the way to the platform; the address."""
        app = web.Application()
        commands = {
            **lease.verbs(self.lease),
            "Media.ReadFirst": Verb(ReadFirst, self._first, 120.0),
            "BarcodeReader.Read": Verb(ReadCode, self._code, 120.0),
            "Printer.Print": Verb(Print, self._print),
        }
        DeviceChannel(commands, Feed(), self._token).mount(app)
        PlatformProxy(self.link).mount(app, self._token.authenticate)
        await asyncio.to_thread(add_page, app, self._token.value, DIST)
        guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1"})))
        http = HttpServer("local-api", app, guard=guard, host="127.0.0.1", port=0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(http.run(), name="local api")
            try:
                await http.started()
                yield f"{http.url}/kiosk/"
            finally:
                task.cancel()
