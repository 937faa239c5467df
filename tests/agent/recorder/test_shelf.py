"""Recordings on disk: whole or not at all, few, and a full disk loses them quietly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.recorder.recorder import About, Frozen, Limits, Recorder
from agent.recorder.shelf import Shelf, ShelfLimits
from agent.recorder.tape import Frame
from kit.clock import ManualClock
from support.small_disk import SmallDisk
from wire.recording import RecordingError, Way, decode_recording


def frozen(clock: ManualClock, *, fill: int = 10, component: str = "receipt_printer") -> Frozen:
    kept: list[Frozen] = []
    recorder = Recorder(clock, Limits(), kept.append)
    tap = recorder.tap(About(component, "receipt_printer"))
    for number in range(fill):
        tap.tape.add(float(number), Frame(Way.SENT, (bytes(200),)))
    tap.passed(Way.SENT, b"x")
    recorder.freeze(component, "paper_out")
    return kept[0]


def test_a_recording_is_kept_with_its_name(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "recordings")
    shelf.put(frozen(ManualClock()))
    shelf.settle(5.0)
    (found,) = shelf.all()
    assert (found.component, found.fault) == ("receipt_printer", "paper_out")
    file = shelf.file(found.name)
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    assert decode_recording(file.read_bytes()).head.component == "receipt_printer"
    assert shelf.remove(found.name)
    assert not shelf.remove(found.name)
    assert shelf.all() == []


@pytest.mark.parametrize("name", ["../token", "..", "", "a.kfr", "20260101T000000000Z-x-y.kfr/../../token"])
def test_only_recordings_can_be_had(tmp_path: Path, name: str) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "a.kfr").write_text("no recording")
    assert Shelf(tmp_path / "recordings").file(name) is None


def test_the_oldest_make_room(tmp_path: Path) -> None:
    clock, shelf = ManualClock(), Shelf(tmp_path, ShelfLimits(files=3, total_bytes=1_000_000))
    for _ in range(5):
        clock.advance(60.0)
        shelf.put(frozen(clock))
        shelf.settle(5.0)
    moments = [found.frozen_at for found in shelf.all()]
    assert moments == [clock.utc() - timedelta(seconds=60 * number) for number in range(3)]
    (tmp_path / "20200101T000000000Z-x-unplugged.kfr.part").write_text("half")
    small = Shelf(tmp_path, ShelfLimits(files=3, total_bytes=2_000))
    clock.advance(60.0)
    small.put(frozen(clock))
    small.settle(5.0)
    assert len(small.all()) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_takes_nothing_is_said_once() -> None:
    with SmallDisk(size_bytes=1 << 20) as disk, capture_logs() as logs:
        shelf = Shelf(disk.path / "recordings")
        disk.fill()
        for _ in range(3):
            shelf.put(frozen(ManualClock()))
            shelf.settle(5.0)
        assert shelf.all() == []
        assert [entry["event"] for entry in logs] == ["recording.lost"]
        disk.free()
        shelf.put(frozen(ManualClock()))
        shelf.settle(5.0)
        assert len(shelf.all()) == 1


def test_what_cannot_be_written_does_not_end_the_writer(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(replace(frozen(ManualClock()), fault="No Code"))
    shelf.put(frozen(ManualClock()))
    shelf.settle(5.0)
    assert len(list(tmp_path.iterdir())) == len(shelf.all()) == 1


@pytest.mark.parametrize("spoil", ["cut", "changed", "newer", "empty", "binary"])
def test_a_spoilt_file_is_refused(tmp_path: Path, spoil: str) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(frozen(ManualClock()))
    shelf.settle(5.0)
    file = shelf.file(shelf.all()[0].name)
    assert file is not None
    data = file.read_bytes()
    bad = {
        "cut": data[: data.rindex(b"\n", 0, -1) + 1],
        "changed": data.replace(b"paper_out", b"paper_low"),
        "newer": data.replace(b'"kfr":1', b'"kfr":2'),
        "empty": b"",
        "binary": b"\x00\xff\n",
    }[spoil]
    with pytest.raises(RecordingError):
        decode_recording(bad)
