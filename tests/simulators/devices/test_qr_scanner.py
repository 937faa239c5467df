"""The simulated scanner against the same golden bytes as the driver's codecs."""

from __future__ import annotations

from simulators.devices.qr_scanner import QrScannerCore, ScannerFault, Speech
from support.golden import golden_frames

NEWLAND = golden_frames("qr_scanner_newland")
SSI = golden_frames("qr_scanner_ssi")
FRAMED = golden_frames("qr_scanner_framed")


def _joined(speech: Speech) -> tuple[QrScannerCore, list[bytes]]:
    sent: list[bytes] = []
    core = QrScannerCore(speech)
    core.connected(sent.append)
    return core, sent


def test_newland_answers_and_lights_up() -> None:
    core, sent = _joined(Speech.NEWLAND)
    assert not core.show("1")
    core.received(NEWLAND[0][:5])
    core.received(NEWLAND[0][5:])
    assert sent == [NEWLAND[3]]
    assert core.show("123")
    assert sent[1:] == [b"123\r"]
    assert not core.is_lit
    core.script(ScannerFault.REFUSES)
    core.received(NEWLAND[0])
    assert sent[2:] == [NEWLAND[4]]
    core.received(NEWLAND[1] + NEWLAND[2])
    assert core.settings == ["#SETUPE0", "@SCNMOD0", "@GRBENA1"]


def test_framed_codes_are_the_golden_ones() -> None:
    core, sent = _joined(Speech.FRAMED)
    for code in ("A1", "门诊"):
        assert not core.show(code)
        core.received(b"\x16T\r")
        assert core.show(code)
    assert sent == [FRAMED[0], FRAMED[2]]
    core.script(ScannerFault.NO_SUFFIX)
    core.received(b"\x16T\r")
    core.show("A1")
    assert sent[2:] == [FRAMED[0][:-2]]


def test_ssi_sends_again_until_it_is_acknowledged() -> None:
    core, sent = _joined(Speech.SSI)
    core.received(SSI[0])
    assert sent == [SSI[4]]
    core.show("A1")
    core.received(SSI[3])
    core.received(SSI[2])
    assert sent[1] == SSI[5]
    assert sent[2][3] == 1
    core.received(SSI[3])
    assert len(sent) == 3


def test_honeywell_is_lit_while_it_is_told_to() -> None:
    core, sent = _joined(Speech.HONEYWELL)
    core.received(b"\x16\x54\x0d")
    core.received(b"\x16\x55\x0d")
    assert core.commands == ["on", "off"]
    assert not core.show("1")
    assert sent == []


def test_codes_go_wrong_as_scripted() -> None:
    core, sent = _joined(Speech.PLAIN)
    core.script(ScannerFault.TWICE, after=1)
    core.script(ScannerFault.NO_SUFFIX, after=1)
    for code in ("1", "2", "3", "4"):
        core.show(code)
    assert b"".join(sent) == b"1\r2\r2\r34\r"
