"""A network camera: MJPEG over HTTP, with drawn faces of nobody in front of it.

The face is drawn with light and shade as a face detector expects them. Everything a capture can meet is a scene;
what happens to bytes on their way is the line's doing (`transports`).
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT = 640, 480
FRAMES_PER_S = 10.0
_BOUNDARY = b"simulatedcamera"
_FACE = 400
_REQUEST_MAX = 8_192
_POSITIONS = 6
_STEP = 30
_GRAIN = 56
_HEAD = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=" + _BOUNDARY + b"\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Scene(StrEnum):
    """What is in front of the camera."""

    PATIENT = "patient"
    NOBODY = "nobody"
    TWO = "two"
    FAR = "far"
    CLOSE = "close"
    ASIDE = "aside"
    DARK = "dark"
    GLARE = "glare"
    BLURRED = "blurred"
    MOVING = "moving"


_FRAME_HEADER, _HUGE = b"\xff\xc0", (16_000).to_bytes(2, "big") * 2  # ISO/IEC 10918-1, B.2.2: after length, precision


class CameraFault(StrEnum):
    """What the camera itself does wrong."""

    FROZEN = "frozen"
    """The connection stays and no more pictures come."""
    SAME_PICTURE = "same_picture"
    """The same picture comes again and again."""
    GARBAGE = "garbage"
    """Pictures that are none."""
    HUGE = "huge"
    """Pictures that claim 16,000 by 16,000 points."""
    WRONG_LENGTH = "wrong_length"
    """Parts tell a length that is not theirs."""
    REFUSED = "refused"
    """The stream's address is not found."""
    ENDED = "ended"
    """Each stream ends after a few pictures."""


_Spot = tuple[int, int, int]
_ONE: _Spot = (320, 240, 230)
_SPOTS: dict[Scene, tuple[_Spot, ...]] = {
    Scene.NOBODY: (),
    Scene.TWO: ((180, 240, 200), (460, 240, 200)),
    Scene.FAR: ((320, 240, 90),),
    Scene.CLOSE: ((320, 245, 420),),
    Scene.ASIDE: ((120, 240, 200),),
}


def _spot(target: Image.Image, box: tuple[int, int, int, int], light: int, softness: int) -> None:
    layer = Image.new("L", target.size, 0)
    ImageDraw.Draw(layer).ellipse(box, fill=255)
    target.paste(light, mask=layer.filter(ImageFilter.GaussianBlur(softness)))


@lru_cache(maxsize=1)
def _face() -> tuple[Image.Image, Image.Image]:
    """The face and its outline."""
    size = (_FACE, _FACE * 5 // 4)
    outline = Image.new("L", size, 0)
    ImageDraw.Draw(outline).ellipse((40, 20, 360, 480), fill=255)
    skin = Image.new("L", size, 196)
    _spot(skin, (20, -80, 380, 110), 50, 8)  # hair
    for box in ((0, 100, 70, 400), (330, 100, 400, 400)):
        _spot(skin, box, 130, 20)  # shaded sides
    _spot(skin, (120, 90, 280, 180), 215, 18)  # forehead
    for box in ((75, 270, 165, 350), (235, 270, 325, 350)):
        _spot(skin, box, 222, 15)  # cheeks
    for middle in (125, 275):
        _spot(skin, (middle - 58, 178, middle + 58, 248), 118, 10)  # eye socket
        _spot(skin, (middle - 52, 168, middle + 52, 190), 50, 4)  # brow
        _spot(skin, (middle - 32, 206, middle + 32, 236), 215, 3)
        _spot(skin, (middle - 16, 204, middle + 16, 238), 30, 2)  # iris
    _spot(skin, (183, 180, 217, 320), 225, 8)  # nose
    for box in ((160, 310, 195, 332), (205, 310, 240, 332)):
        _spot(skin, box, 110, 6)
    _spot(skin, (140, 372, 260, 412), 95, 6)  # lips
    _spot(skin, (150, 386, 250, 394), 50, 2)
    return skin, outline.filter(ImageFilter.GaussianBlur(2))


@lru_cache(maxsize=2)
def _grain(seed: int) -> Image.Image:
    """What a sensor adds; without it nothing in a drawing looks sharp."""
    noise = Image.frombytes("L", (WIDTH, HEIGHT), random.Random(seed).randbytes(WIDTH * HEIGHT))
    return noise.point([light * _GRAIN // 256 for light in range(256)])


@lru_cache(maxsize=64)
def draw(scene: Scene, position: int = 0) -> bytes:
    """One picture of a scene as JPEG; positions differ while somebody moves."""
    picture = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).point(lambda light: 90 + light // 4)
    skin, outline = _face()
    shift = (position % _POSITIONS - _POSITIONS // 2) * _STEP if scene is Scene.MOVING else 0
    for x, y, width in _SPOTS.get(scene, (_ONE,)):
        body = Image.new("L", picture.size, 0)
        place = (x + shift - width, y + width // 2, x + shift + width, y + width * 2)
        ImageDraw.Draw(body).ellipse(place, fill=255)
        picture.paste(70, mask=body.filter(ImageFilter.GaussianBlur(2)))
        size = (width, width * 5 // 4)
        face, mask = (part.resize(size, Image.Resampling.LANCZOS) for part in (skin, outline))
        picture.paste(face, (x + shift - width // 2, y - size[1] // 2), mask)
    picture = ImageChops.add(picture, _grain(position % 2), 1.0, -_GRAIN // 2)
    if scene is Scene.BLURRED:
        picture = picture.filter(ImageFilter.GaussianBlur(9))
    if scene in {Scene.DARK, Scene.GLARE}:
        factor, floor = (0.15, 0) if scene is Scene.DARK else (0.6, 150)
        picture = picture.point([min(255, int(light * factor) + floor) for light in range(256)])
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


class FaceCameraCore:
    """See `transports.Core`; serves one host at `/video`."""

    def __init__(self) -> None:
        self.scene = Scene.PATIENT
        self.faults: set[CameraFault] = set()
        self.pictures = 0
        self.streams = 0
        self._send: Callable[[bytes], None] | None = None
        self._request = b""
        self._timer: asyncio.TimerHandle | None = None
        self._sent_here = 0
        self.is_heard: Callable[[], bool] = lambda: True
        """Whether the host is still there; a line knows it, a core does not."""

    @property
    def is_watched(self) -> bool:
        """Whether a host takes pictures."""
        return self._timer is not None

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `Core`."""
        self.close()
        self._send, self._request = send, b""

    def received(self, data: bytes) -> None:
        """See `Core`."""
        self._request = (self._request + data)[-_REQUEST_MAX:]
        if b"\r\n\r\n" not in self._request or self._send is None:
            return
        line = self._request.split(b"\r\n", 1)[0].split(b" ")
        self._request = b""
        if CameraFault.REFUSED in self.faults or line[:2] != [b"GET", b"/video"]:
            self._send(_NOT_FOUND)
            return
        self.streams += 1
        self._sent_here = 0
        self._send(_HEAD)
        self._tick()

    def close(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        if not self.is_heard():
            self.close()
            return
        self._timer = asyncio.get_running_loop().call_later(1.0 / FRAMES_PER_S, self._tick)
        if CameraFault.FROZEN in self.faults or self._send is None:
            return
        picture = draw(self.scene, 0 if CameraFault.SAME_PICTURE in self.faults else self.pictures)
        if CameraFault.HUGE in self.faults:
            size = picture.index(_FRAME_HEADER) + len(_FRAME_HEADER) + 3
            picture = picture[:size] + _HUGE + picture[size + 4 :]
        if CameraFault.GARBAGE in self.faults:
            picture = bytes(byte ^ 0x5A for byte in picture)
        length = len(picture) + (1_000 if CameraFault.WRONG_LENGTH in self.faults else 0)
        head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, length)
        self._send(head + picture + b"\r\n")
        self.pictures += 1
        self._sent_here += 1
        if CameraFault.ENDED in self.faults and self._sent_here >= 2:  # noqa: PLR2004 - a few
            self._send(b"--%s--\r\n" % _BOUNDARY)
            self.close()
