"""The camera: one portrait for one consent, and a preview on this machine only."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Final, cast

from pydantic import AwareDatetime, Field

from agent.devices.face_camera.types import FaceCamera, Gate, Portrait, Preview
from agent.devices.types import Driver
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.payload import Payload
from agent.local_api.previews import LIFE_S, Previews
from agent.local_api.verbs.bench import Bench, DeviceRequest
from wire.device_api import CompletionCode
from wire.envelope import ComponentName
from wire.profile import Capability

GUIDANCE: Final = "Camera.GuidanceEvent"
LIMIT_S: Final = 60.0
_MARGIN_S: Final = 10.0
HINTS: Final[Mapping[Gate, tuple[str, str]]] = MappingProxyType(
    {
        Gate.TOO_DARK: ("光线太暗", "It is too dark"),
        Gate.TOO_BRIGHT: ("光线太强", "There is too much light"),
        Gate.NO_FACE: ("请正对摄像头", "Please look into the camera"),
        Gate.SEVERAL_FACES: ("请只留一个人在画面中", "Only one person, please"),
        Gate.TOO_FAR: ("请靠近一点", "Please come closer"),
        Gate.TOO_CLOSE: ("请退后一点", "Please step back a little"),
        Gate.OFF_CENTRE: ("请将脸移到画面中间", "Please move to the middle"),
        Gate.BLURRED: ("画面模糊，请稍候", "The picture is not sharp yet"),
        Gate.MOVING: ("请保持不动", "Please hold still"),
        Gate.READY: ("很好，请保持不动", "Good, hold still"),
    }
)


class TakePicture(DeviceRequest):
    """Take the portrait that a patient agreed to; `consent_reference` is where the platform keeps the agreement."""

    consent_reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    time_limit_s: float = Field(default=20.0, ge=1.0, le=LIMIT_S)


class Guidance(Payload):
    """What the patient should do now."""

    component: ComponentName
    gate: Gate
    zh: str
    en: str


class Picture(Payload):
    """The portrait, told once and kept nowhere."""

    component: ComponentName
    consent_reference: str
    picture: str = Field(repr=False, description="JPEG, base64")
    width: int
    height: int
    face: list[float] = Field(repr=False, description="x, y, width and height as shares of the picture")
    taken_at: AwareDatetime


class PreviewOpened(Payload):
    """Where the pictures are, for an `img`; ends by itself after `life_s` and with the session."""

    component: ComponentName
    url: str = Field(repr=False)
    life_s: float


class PreviewStopped(Payload):
    """Whether there was one."""

    was_open: bool


class Camera:
    """Portrait and preview."""

    def __init__(self, bench: Bench, previews: Previews, in_session: Callable[[], bool]) -> None:
        """Use the camera of this bench, only while a patient's session is held."""
        self._bench = bench
        self._previews = previews
        self._in_session = in_session

    def verbs(self) -> dict[str, Verb]:
        """The commands, by name."""
        device = ("noSuchComponent", "componentNeeded", "noSession")
        return {
            "Camera.TakePicture": Verb(
                TakePicture, self._take, LIMIT_S + _MARGIN_S, "拍摄人像 · Take a portrait, with consent",
                Picture, {GUIDANCE: Guidance}, (*device, "noPicture"),
            ),
            "Camera.StartPreview": Verb(
                DeviceRequest, self._start, 30.0, "打开预览 · Show what the camera sees", PreviewOpened,
                refusals=device,
            ),
            "Camera.StopPreview": Verb(
                DeviceRequest, self._stop, 5.0, "关闭预览 · End the preview", PreviewStopped,
                refusals=("noSuchComponent", "componentNeeded"),
            ),
        }  # fmt: skip

    def _camera(self, request: DeviceRequest) -> str:
        if not self._in_session():
            raise Refusal("noSession", "only in a patient's session", completion=CompletionCode.SEQUENCE_ERROR)
        return self._bench.find(Capability.FACE_CAMERA, request.component)

    async def _take(self, request: TakePicture, progress: Progress) -> Picture:
        component = self._camera(request)
        last = Gate.NO_FACE

        def tell(gate: Gate) -> None:
            nonlocal last
            last = gate
            zh, en = HINTS[gate]
            told = Guidance(component=component, gate=gate, zh=zh, en=en)
            progress.event(GUIDANCE, told.model_dump(mode="json"))

        async def work(driver: Driver) -> Portrait | None:
            return await cast("FaceCamera", driver).take_picture(tell, timeout_s=request.time_limit_s)

        portrait = await self._bench.use(component, work)
        if portrait is None:
            raise Refusal(
                "noPicture", f"not in time: {last}", completion=CompletionCode.TIME_OUT, payload={"gate": last.value}
            )
        return Picture(
            component=component,
            consent_reference=request.consent_reference,
            picture=b64encode(portrait.picture).decode(),
            width=portrait.width,
            height=portrait.height,
            face=list(portrait.face),
            taken_at=portrait.taken_at,
        )

    async def _start(self, request: DeviceRequest, _progress: Progress) -> PreviewOpened:
        component = self._camera(request)

        async def work(driver: Driver) -> Preview:
            return await cast("FaceCamera", driver).open_preview()

        url = await self._previews.open(component, await self._bench.use(component, work))
        return PreviewOpened(component=component, url=url, life_s=LIFE_S)

    async def _stop(self, request: DeviceRequest, _progress: Progress) -> PreviewStopped:
        component = self._bench.find(Capability.FACE_CAMERA, request.component)
        return PreviewStopped(was_open=await self._previews.close(component))
