"""What an engineer reads: `kiosk-agent recording`."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.__main__ import main
from agent.recorder.parts import Echo, Mask
from agent.recorder.recorder import About, Limits, Recorder
from agent.recorder.shelf import FOLDER, Shelf
from agent.recorder.tape import Frame
from kit.clock import ManualClock
from wire.recording import Way, Word


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KIOSK_DATA_DIR", str(tmp_path))
    shelf, clock = Shelf(tmp_path / FOLDER), ManualClock()
    recorder = Recorder(clock, Limits(), shelf.put)
    tap = recorder.tap(About("receipt_printer", "receipt_printer", "Test\x1b[2J Model", "escpos", "tcp"))
    tap.note(Word.OPENED)
    parts = (b"\x1b@", Mask("text", 12, b"x", "0123456789ab"), Echo("process_id", b"MARK"), bytes(range(40)))
    tap.tape.add(0.0, Frame(Way.SENT, parts))
    clock.advance(1.5)
    tap.tape.add(1.5, Frame(Way.CAME, (b"\x12",)))
    recorder.edge("receipt_printer", "ready", ("paper_out",))
    recorder.freeze("receipt_printer", "paper_out", "stopped")
    shelf.settle(5.0)
    return shelf.all()[0].name


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["recording", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_a_recording_can_be_read(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, listed, _ = _told(capsys, "list")
    assert code == 0
    assert name in listed
    assert "缺纸" in listed or "纸" in listed
    code, shown, _ = _told(capsys, "show", name)
    assert code == 0
    for text in (
        "receipt_printer · Test?[2J Model",
        "(paper_out) · stopped",
        "主机→设备  58 B",
        "〔文字 text 12 B #0123456789ab〕",
        "4d 41 52 4b  ←主机选定 process_id",
        "000e",
        "|................|",
        "设备→主机  1 B",
        "连接已打开",
        "-1.50000 s",
    ):
        assert text in shown, text
    assert "\x1b" not in shown
    assert _told(capsys, "show", str(tmp_path / FOLDER / name))[1] == shown


def test_what_is_no_recording_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.kfr").write_bytes(b"\x1b[2J")
    for wanted in ("missing.kfr", str(tmp_path / "other.kfr"), str(tmp_path)):
        code, out, err = _told(capsys, "show", wanted)
        assert (code, out) == (1, "")
        assert "无法读取记录" in err


def test_an_empty_shelf_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIOSK_DATA_DIR", str(tmp_path))
    assert _told(capsys, "list")[1] == "没有黑匣子记录 (no recordings)\n"
