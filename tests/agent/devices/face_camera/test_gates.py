"""The gates, one by one, and the row of good frames."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.devices.face_camera.gates import Choice, Limits, unmet
from agent.devices.face_camera.types import Gate
from agent.links.camera import Frame
from support.tree import ROOT
from wire.envelope import Scalar
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

GOOD = Frame(640, 480, 120.0, 0.0, 0.0, 80.0, 0.5, ((0.3, 0.25, 0.4, 0.5),), b"picture")


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({}, Gate.READY),
        ({"light": 49.0}, Gate.TOO_DARK),
        ({"light": 206.0}, Gate.TOO_BRIGHT),
        ({"bright": 0.41}, Gate.TOO_BRIGHT),
        ({"faces": ()}, Gate.NO_FACE),
        ({"faces": GOOD.faces * 2}, Gate.SEVERAL_FACES),
        ({"faces": ((0.4, 0.4, 0.2, 0.25),)}, Gate.TOO_FAR),
        ({"faces": ((0.1, 0.05, 0.8, 0.9),)}, Gate.TOO_CLOSE),
        ({"faces": ((0.0, 0.25, 0.4, 0.5),)}, Gate.OFF_CENTRE),
        ({"faces": ((0.3, 0.0, 0.4, 0.4),)}, Gate.OFF_CENTRE),
        ({"sharpness": 24.0}, Gate.BLURRED),
        ({"motion": 4.1}, Gate.MOVING),
    ],
)
def test_each_gate(changes: dict[str, object], gate: Gate) -> None:
    assert unmet(replace(GOOD, **changes), Limits()) is gate  # type: ignore[arg-type]  # a frame's own fields


def test_light_is_told_before_a_missing_face_and_stillness_last() -> None:
    everything_wrong = replace(GOOD, light=10.0, faces=(), sharpness=0.0, motion=99.0)
    assert unmet(everything_wrong, Limits()) is Gate.TOO_DARK
    assert unmet(replace(everything_wrong, light=120.0), Limits()) is Gate.NO_FACE
    assert unmet(replace(GOOD, sharpness=0.0, motion=99.0), Limits()) is Gate.BLURRED


def test_the_sharpest_of_a_row_is_taken_and_a_bad_frame_starts_anew() -> None:
    choice = Choice(Limits(frames=3))
    for sharpness in (50.0, 99.0):
        choice.take(replace(GOOD, sharpness=sharpness))
    assert choice.best is None
    assert choice.take(replace(GOOD, faces=())) is Gate.NO_FACE
    for sharpness in (60.0, 90.0, 70.0):
        assert choice.best is None
        choice.take(replace(GOOD, sharpness=sharpness))
    assert choice.best is not None
    assert choice.best.sharpness == 90.0


def profile(**quirks: Scalar) -> DeviceProfile:
    link = LinkProfile(kind=LinkKind.CAMERA)
    return DeviceProfile(
        vendor="x",
        model="y",
        capability=Capability.FACE_CAMERA,
        link=link,
        dialect="gated",
        quirks=quirks,
    )


def test_limits_come_from_the_profile() -> None:
    limits = Limits.of(profile(light_min=30, frames=5, frame_s=1.0))
    assert (limits.light_min, limits.frames, limits.face_min) == (30.0, 5, Limits().face_min)


@pytest.mark.parametrize("quirks", [{"light_min": "bright"}, {"motion_max": -1.0}, {"frames": 0}])
def test_limits_that_are_none_are_refused(quirks: dict[str, Scalar]) -> None:
    with pytest.raises(ValueError, match="limits of the gates"):
        Limits.of(profile(**quirks))


def test_a_frame_shows_neither_picture_nor_face() -> None:
    assert "picture" not in repr(GOOD)
    assert "0.25" not in repr(GOOD)


def test_there_are_profiles_for_every_source() -> None:
    found = [file.name for file in (ROOT / "firmware_profiles/devices").glob("*camera.yaml")]
    assert len(found) >= 2
