"""The camera's own process: frames in, measures and pictures out; nothing of them can reach a disk.

Started by `agent.links.camera` for as long as somebody looks. It reads one line of JSON (where the frames come from),
then writes frames until its standard input ends: lengths of head and picture (4 bytes each, big endian), the head as
JSON, the picture as JPEG. OpenCV is loaded here and nowhere else.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from agent.links.mjpeg import MjpegDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS: Final = struct.Struct(">II")
EXIT_NO_PICTURE: Final = 3
_MEMORY_MAX: Final = 2 * 1024**3
_POINTS_MAX: Final = 4_096 * 4_096
_LOOK_WIDTH: Final = 320
_FACE_WIDTH: Final = 200
_SMALLEST_FACE: Final = 32
_DARK, _BRIGHT = 30, 225
_JPEG_QUALITY: Final = 88
_OPEN_MS: Final = 5_000
_READ_S: Final = 5.0
_CHUNK: Final = 64 * 1024
Image = Any  # an array of OpenCV's


class NoPicture(Exception):
    """The source gives none."""


def main() -> None:
    """Entry point."""
    _confine()
    settings: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _serve(settings)
    except (NoPicture, OSError, http.client.HTTPException):
        os._exit(EXIT_NO_PICTURE)  # at once: OpenCV's threads may still wait for the camera


def _confine() -> None:
    """No file grows by a byte, no core is dumped, memory has an end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for what, limit in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _MEMORY_MAX)):
        resource.setrlimit(what, (limit, limit))


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def _serve(settings: Mapping[str, Any]) -> None:
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(_POINTS_MAX)
    import cv2  # noqa: PLC0415 - after the limits are set

    cv2.setNumThreads(1)
    look = Look(cv2)
    every_s = 1.0 / float(settings["frames_per_s"])
    next_s = 0.0
    for image in _frames(cv2, settings):
        if monotonic() < next_s:
            continue
        next_s = monotonic() + every_s
        head = json.dumps(look.at(image)).encode()
        _, picture = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        sys.stdout.buffer.write(LENGTHS.pack(len(head), len(picture)) + head + picture.tobytes())
        sys.stdout.buffer.flush()


class Look:
    """Measures one frame after the other."""

    def __init__(self, cv2: Any) -> None:  # noqa: ANN401 - a module
        self._cv2 = cv2
        folder = Path(cv2.data.haarcascades)
        self._faces = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))
        self._before: Image = None

    def at(self, image: Image) -> dict[str, Any]:
        """What the gates judge; places are shares of the frame, light goes from 0 to 255."""
        cv2 = self._cv2
        height, width = image.shape[:2]
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (_LOOK_WIDTH, max(1, height * _LOOK_WIDTH // width)), interpolation=cv2.INTER_AREA)
        boxes = self._faces.detectMultiScale(small, 1.1, 5, minSize=(_SMALLEST_FACE, _SMALLEST_FACE))
        rows, columns = small.shape[:2]
        faces = [[float(x) / columns, float(y) / rows, float(w) / columns, float(h) / rows] for x, y, w, h in boxes]
        return {
            "width": int(width),
            "height": int(height),
            "light": float(small.mean()),
            "dark": float((small < _DARK).mean()),
            "bright": float((small > _BRIGHT).mean()),
            "sharpness": self._sharpness(grey, faces),
            "motion": self._motion(small),
            "faces": faces,
        }

    def _sharpness(self, grey: Image, faces: list[list[float]]) -> float:
        """Variance of the Laplacian of the largest face, or of the frame, at one width."""
        cv2 = self._cv2
        if faces:
            height, width = grey.shape[:2]
            x, y, w, h = max(faces, key=lambda face: face[2])
            grey = grey[int(y * height) : int((y + h) * height) + 1, int(x * width) : int((x + w) * width) + 1]
        rows, columns = grey.shape[:2]
        scaled = cv2.resize(grey, (_FACE_WIDTH, max(1, rows * _FACE_WIDTH // columns)), interpolation=cv2.INTER_AREA)
        return float(cv2.Laplacian(scaled, cv2.CV_64F).var())

    def _motion(self, small: Image) -> float:
        """Mean change of light since the last frame."""
        cv2 = self._cv2
        smooth = cv2.GaussianBlur(small, (5, 5), 0)
        before, self._before = self._before, smooth
        if before is None or before.shape != smooth.shape:
            return 255.0
        return float(cv2.absdiff(before, smooth).mean())


# --- where frames come from ----------------------------------------------------------------------------------


def _frames(cv2: Any, settings: Mapping[str, Any]) -> Iterator[Image]:  # noqa: ANN401 - a module
    sources: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[Image]]] = {
        "v4l2": _v4l2,
        "rtsp": _rtsp,
        "http": _mjpeg,
        "file": _files,
    }
    return sources[settings["kind"]](cv2, settings)


def _v4l2(cv2: Any, settings: Mapping[str, Any]) -> Iterator[Image]:  # noqa: ANN401 - a module
    capture = cv2.VideoCapture(settings["source"], cv2.CAP_V4L2)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings["width"])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings["height"])
    return _captured(capture)


def _rtsp(cv2: Any, settings: Mapping[str, Any]) -> Iterator[Image]:  # noqa: ANN401 - a module
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _OPEN_MS]
    return _captured(cv2.VideoCapture(settings["source"], cv2.CAP_FFMPEG, limits))


def _captured(capture: Any) -> Iterator[Image]:  # noqa: ANN401 - OpenCV's
    if not capture.isOpened():
        raise NoPicture
    while True:
        is_there, image = capture.read()
        if not is_there:
            raise NoPicture
        yield image


def _mjpeg(cv2: Any, settings: Mapping[str, Any]) -> Iterator[Image]:  # noqa: ANN401 - a module
    import numpy as np  # noqa: PLC0415 - with OpenCV

    address = urlsplit(settings["source"])
    link = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=_READ_S)
    headers = {}
    if address.username is not None:
        pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    with contextlib.closing(link):
        link.request("GET", (address.path or "/") + (f"?{address.query}" if address.query else ""), headers=headers)
        answer = link.getresponse()
        if answer.status != http.client.OK:
            raise NoPicture
        decoder, before = MjpegDecoder(), b""
        while data := answer.read1(_CHUNK):
            pictures = decoder.feed(data)
            if (
                not pictures or pictures[-1] == before
            ):  # a sensor never sees the same twice: it hangs, on a face long gone
                continue
            before = pictures[-1]
            with contextlib.suppress(cv2.error):  # larger than `_POINTS_MAX`
                image = cv2.imdecode(np.frombuffer(before, np.uint8), cv2.IMREAD_COLOR)
                if image is not None:
                    yield image
    raise NoPicture


def _files(cv2: Any, settings: Mapping[str, Any]) -> Iterator[Image]:  # noqa: ANN401 - a module
    """One picture, or those of a folder in turn, for ever."""
    place = Path(settings["source"])
    every_s, pause = 1.0 / float(settings["frames_per_s"]), threading.Event()
    while True:
        files = sorted(place.glob("*.jpg")) if place.is_dir() else [place]
        images = [image for image in (cv2.imread(str(file)) for file in files) if image is not None]
        if not images:
            raise NoPicture
        for image in images:
            _ = pause.wait(every_s)
            yield cast("Image", image)


if __name__ == "__main__":
    main()
