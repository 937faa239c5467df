"""The commands of the maintenance page; only the page that opened maintenance knows the pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from agent.firmware.errors import NOTHING_BEGUN, Why
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.payload import Payload, Request
from agent.maintenance.access import DIGITS
from agent.maintenance.selftest import TESTS, Outcome
from agent.maintenance.service import STATUS, Devices, Maintenance, MaintenanceRefused, Say, has_paper
from agent.maintenance.visit import PaperChange, Result
from agent.maintenance.wizard import Event, Step, choices
from wire.envelope import ComponentName, Scalar, ShortText
from wire.faults import FACTS, Fault
from wire.profile import Capability

TEST_LIMIT_S: Final = 240.0
FIRMWARE_LIMIT_S: Final = 3_600.0
SAY: Final = "Maintenance.StepEvent"
PERCENT: Final = "Maintenance.PercentEvent"


class LookMaintenance(Request):
    """Whether an engineer is at work."""


class OpenMaintenance(Request):
    """Let an engineer in with the code of `kiosk-agent maintenance code`."""

    code: Annotated[str, Field(pattern=rf"^\d{{{DIGITS}}}$", repr=False)]
    engineer: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[^\x00-\x1f\x7f]+$")]


class InMaintenance(Request):
    """A command of the page that opened maintenance."""

    pass_word: Annotated[str, Field(max_length=64, repr=False)]


class TestDevice(InMaintenance):
    """Try one thing on one device."""

    component: ComponentName
    test: ShortText


class ConfirmResult(InMaintenance):
    """What the engineer saw of a test that asked."""

    no: int = Field(ge=1)
    is_good: bool


class BeginPaper(InMaintenance):
    """Change the paper of this printer."""

    component: ComponentName


class MovePaper(InMaintenance):
    """What the engineer did at the step that was shown."""

    event: Event


class UpdateFirmware(InMaintenance):
    """Put this version on a device."""

    component: ComponentName
    version: ShortText


class MaintenanceState(Payload):
    """Whether an engineer is at work."""

    is_open: bool


class DeviceTests(Payload):
    """A device and what can be tried on it."""

    component: ComponentName
    kind: Capability
    model: str | None = None
    tests: list[str]
    has_paper: bool


class FaultText(Payload):
    """What a fault is called, and what the engineer does about it."""

    zh: str
    en: str
    remedy_zh: str
    remedy_en: str


class MaintenanceOpened(Payload):
    """The engineer is in."""

    pass_word: str = Field(repr=False)
    visit: str
    engineer: str
    devices: list[DeviceTests]
    faults: dict[Fault, FaultText]


class ResultView(Payload):
    """One test and how it ended; `asked` wants to know what the engineer saw."""

    no: int
    component: ComponentName
    test: str
    at: datetime
    took_s: float
    outcome: Outcome
    fault: Fault | None = None
    why: str | None = None
    values: dict[str, Scalar]


class PaperView(Payload):
    """How far a change of paper is."""

    component: ComponentName
    step: Step
    choices: list[Event]
    is_met: bool | None = Field(default=None, description="whether the printer sees it; none: it cannot tell")
    why: str | None = None


class MaintenanceClosed(Payload):
    """What was sent to the fleet."""

    results: int
    passed: int
    failed: int
    digest: str
    is_signed: bool


class FirmwareOffer(Payload):
    """An update that a device could get."""

    component: ComponentName
    runs: str | None = Field(default=None, description="what the device said when it was last asked")
    version: str
    why_not: Why | None = Field(default=None, description="why it cannot get it now")


class FirmwareOffers(Payload):
    """All of them."""

    offers: list[FirmwareOffer]


class SayPercent(Payload):
    """How much of the image is in the device."""

    percent: int = Field(ge=0, le=100)


class SayStep(Payload):
    """What the engineer is to do now, by the key of its text."""

    say: str


class _Desk:
    """The page's side of maintenance."""

    def __init__(self, maintenance: Maintenance, devices: Devices) -> None:
        self._maintenance = maintenance
        self._devices = devices

    async def state(self, _request: LookMaintenance, _progress: Progress) -> MaintenanceState:
        return MaintenanceState(is_open=self._maintenance.is_open)

    async def open(self, request: OpenMaintenance, _progress: Progress) -> MaintenanceOpened:
        visit = await self._maintenance.open(request.code, request.engineer)
        devices = [
            DeviceTests(
                component=seen.component,
                kind=seen.capability,
                model=seen.facts.model,
                tests=[STATUS, *(test.name for test in TESTS.get(seen.capability, ()))],
                has_paper=has_paper(seen.capability),
            )
            for seen in self._devices.seen()
        ]
        return MaintenanceOpened(
            pass_word=visit.pass_word,
            visit=visit.number,
            engineer=visit.engineer,
            devices=devices,
            faults={
                fault: FaultText(zh=facts.zh, en=facts.en, remedy_zh=facts.remedy_zh, remedy_en=facts.remedy_en)
                for fault, facts in FACTS.items()
            },
        )

    async def close(self, request: InMaintenance, _progress: Progress) -> MaintenanceClosed:
        closing = await self._maintenance.close(request.pass_word)
        return MaintenanceClosed(
            results=closing.results,
            passed=closing.passed,
            failed=closing.failed,
            digest=closing.digest,
            is_signed=closing.is_signed,
        )

    async def test(self, request: TestDevice, progress: Progress) -> ResultView:
        return _result(await self._maintenance.test(request.pass_word, request.component, request.test, _say(progress)))

    async def confirm(self, request: ConfirmResult, _progress: Progress) -> ResultView:
        return _result(await self._maintenance.confirm(request.pass_word, request.no, is_good=request.is_good))

    async def firmware(self, request: InMaintenance, _progress: Progress) -> FirmwareOffers:
        return FirmwareOffers(
            offers=[
                FirmwareOffer(
                    component=offer.component,
                    runs=seen.facts.firmware,
                    version=offer.update.version,
                    why_not=offer.why_not,
                )
                for seen, offer in self._maintenance.offers(request.pass_word)
            ]
        )

    async def update_firmware(self, request: UpdateFirmware, progress: Progress) -> ResultView:
        is_over = False

        def tell(percent: int) -> None:
            if not is_over:  # it goes on when the page has stopped waiting
                progress.event(PERCENT, {"percent": percent})

        try:
            return _result(
                await self._maintenance.update_firmware(request.pass_word, request.component, request.version, tell)
            )
        finally:
            is_over = True

    async def begin_paper(self, request: BeginPaper, _progress: Progress) -> PaperView:
        return _paper(self._maintenance.begin_paper(request.pass_word, request.component))

    async def paper(self, request: InMaintenance, _progress: Progress) -> PaperView:
        return _paper(self._maintenance.paper(request.pass_word))

    async def move_paper(self, request: MovePaper, progress: Progress) -> PaperView:
        return _paper(await self._maintenance.move_paper(request.pass_word, request.event, _say(progress)))


def verbs(maintenance: Maintenance, devices: Devices) -> dict[str, Verb]:
    """The commands of `Maintenance.*`."""
    desk, said = _Desk(maintenance, devices), {SAY: SayStep}
    mine = ("notOpen", "busy")
    paper = (*mine, "noSuchComponent", "noPaper", "noPaperChange", "notNow")
    return {
        "Maintenance.State": Verb(
            LookMaintenance, desk.state, 5.0, "是否维护中 · Whether an engineer is at work", MaintenanceState
        ),
        "Maintenance.Open": Verb(
            OpenMaintenance, _told(desk.open), 10.0, "凭一次性维护码进入 · Let an engineer in", MaintenanceOpened,
            refusals=("sessionActive", "maintenanceOpen", "wrongCode"),
        ),
        "Maintenance.Close": Verb(
            InMaintenance, _told(desk.close), 60.0, "结束维护, 签名并上报 · Sign and send what was found",
            MaintenanceClosed, refusals=mine,
        ),
        "Maintenance.Test": Verb(
            TestDevice, _told(desk.test), TEST_LIMIT_S, "测试设备 · Try one thing on one device", ResultView, said,
            (*mine, "noSuchComponent", "noSuchTest"),
        ),
        "Maintenance.Confirm": Verb(
            ConfirmResult, _told(desk.confirm), 30.0, "人工确认结果 · What the engineer saw", ResultView,
            refusals=(*mine, "noSuchResult"),
        ),
        "Maintenance.Firmware": Verb(
            InMaintenance, _told(desk.firmware), 10.0, "可用的设备固件更新 · Updates that devices could get",
            FirmwareOffers, refusals=mine,
        ),
        "Maintenance.UpdateFirmware": Verb(
            UpdateFirmware, _told(desk.update_firmware), FIRMWARE_LIMIT_S,
            "更新设备固件, 取消不会中断更新 · Put firmware on a device; cancelling stops no update",
            ResultView, {PERCENT: SayPercent}, (*mine, *NOTHING_BEGUN),
        ),
        "Maintenance.BeginPaper": Verb(
            BeginPaper, _told(desk.begin_paper), 10.0, "开始换纸 · Change the paper of a printer", PaperView,
            refusals=paper,
        ),
        "Maintenance.Paper": Verb(
            InMaintenance, _told(desk.paper), 10.0, "换纸进度 · How far it is", PaperView, refusals=paper
        ),
        "Maintenance.MovePaper": Verb(
            MovePaper, _told(desk.move_paper), TEST_LIMIT_S, "换纸下一步 · What the engineer did", PaperView,
            said, paper,
        ),
    }  # fmt: skip


def _told(work: Callable[[Any, Progress], Awaitable[BaseModel]]) -> Callable[[Any, Progress], Awaitable[BaseModel]]:
    """With what maintenance refuses as a refusal of the command."""

    async def answer(request: Any, progress: Progress) -> BaseModel:  # noqa: ANN401 - the request of `work`
        try:
            return await work(request, progress)
        except MaintenanceRefused as refused:
            raise Refusal(refused.code) from None

    return answer


def _say(progress: Progress) -> Say:
    return lambda key: progress.event(SAY, {"say": key})


def _result(result: Result) -> ResultView:
    finding = result.finding
    return ResultView(
        no=result.no,
        component=result.component,
        test=result.test,
        at=result.at,
        took_s=result.took_s,
        outcome=finding.outcome,
        fault=finding.fault,
        why=finding.why or None,
        values=dict(finding.values),
    )


def _paper(change: PaperChange) -> PaperView:
    return PaperView(
        component=change.component,
        step=change.step,
        choices=choices(change.step),
        is_met=change.is_met,
        why=change.why or None,
    )
