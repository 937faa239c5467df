"""The face camera of a lab."""

from __future__ import annotations

from simulators.devices.face_camera import CameraFault, FaceCameraCore, Scene, draw
from simulators.devices.transports import TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, ByteDevice, Fact, FactValue, Kind, Tone


class SetScene(Arguments):
    """Who stands there, and in which light."""

    scene: Scene = labelled(Scene.PATIENT, "画面", "Scene")


class SetFault(Arguments):
    """What the camera does wrong from now on."""

    fault: CameraFault = labelled(..., "故障", "Fault")


class FaceCamera(ByteDevice):
    """A network camera."""

    kind = Kind.FACE_CAMERA
    zh, en = "人脸摄像头", "Face camera"
    models = ("generic-mjpeg_camera",)
    facts = (
        Fact("scene", "画面", "Scene"),
        Fact("watched", "正在取流", "Watched", Tone.LIGHT),
        Fact("faults", "故障", "Faults", Tone.ALARM),
        Fact("pictures", "已发画面", "Pictures sent"),
    )

    def __init__(self, component: str, model: str, line: TcpServer) -> None:
        super().__init__(component, model, line)
        self._is_heard = lambda: line.is_connected
        self._port = lambda: f"http://{line.host}:{line.port}/video"
        self.core = line.core = self.make_core(model)

    def make_core(self, _: str, /) -> FaceCameraCore:
        """See `ByteDevice`."""
        self.core = FaceCameraCore()
        self.core.is_heard = self._is_heard
        return self.core

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        return {
            "scene": self.core.scene.value,
            "watched": self.core.is_watched,
            "faults": ", ".join(sorted(self.core.faults)) or None,
            "pictures": self.core.pictures,
        }

    def picture(self) -> bytes:
        """What is in front of it, as JPEG; nothing is taken from the host's stream. Drawing: belongs in a thread."""
        return draw(self.core.scene, self.core.pictures)

    async def set_scene(self, arguments: SetScene) -> None:
        """Somebody steps in front of it, or the light changes."""
        self.core.scene = arguments.scene

    async def script(self, arguments: SetFault) -> None:
        """Let it go wrong until it is repaired."""
        self.core.faults.add(arguments.fault)

    async def repair(self, _: NoArguments) -> None:
        """A patient in good light, and a camera that works."""
        self.core.faults.clear()
        self.core.scene = Scene.PATIENT

    actions = table(
        (
            action("scene", "换画面", "Change the scene", Group.PATIENT, SetScene, set_scene),
            action("script", "出故障", "Let it fail", Group.WEAR, SetFault, script),
            action("repair", "一切正常", "All is well", Group.STAFF, NoArguments, repair),
        ),
        WIRED,
    )
