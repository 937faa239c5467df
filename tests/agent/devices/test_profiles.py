"""Profiles as the agent reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.__main__ import main
from agent.devices.profiles import check, find_kiosk, load_kiosk
from agent.errors import ProfileError
from support.tree import ROOT

GOOD = "vendor: A\nmodel: B\ncapability: id_card_reader\nlink: {kind: serial}\ndialect: sdt\n"
KIOSK = "model: K\ntitle_zh: 一\ntitle_en: One\ndevices: [{component: reader, device: a-b}]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no mapping"),
        ("- 1", "no mapping"),
        ("a: [", "line 1: no YAML"),
        ("a: !!python/object:os.system {}", "no YAML"),
        (GOOD.replace("sdt", "morse"), "dialect: no id_card_reader speaks it"),
        (GOOD + "colour: red\n", "colour: Extra inputs"),
        (GOOD.replace("serial", "string"), "link.kind:"),
        ("x: " + "y" * 70_000, "larger than"),
    ],
)
def test_what_is_no_profile(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "a-b.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=why) as raised:
        check(file)
    assert str(raised.value).startswith((str(file), "A B"))


@pytest.mark.parametrize(
    ("link", "usb", "why"),
    [
        ("{kind: hid}", "2b8b:272", "'2b8b:272' is no vvvv:pppp"),
        ("{kind: hid, options: {report_bytes: 0}}", "2b8b:2721", "options.report_bytes: not understood"),
        ("{kind: usb, options: {pipe_out: 0x81}}", "0400:c35a", "options.pipe_out: not understood"),
        ("{kind: usb, options: {endpoint: 1}}", "0400:c35a", "options.endpoint: not understood"),
    ],
)
def test_links_that_cannot_be_made(tmp_path: Path, link: str, usb: str, why: str) -> None:
    file = tmp_path / "a-b.yaml"
    text = GOOD.replace("{kind: serial}", link) + f'match: {{usb: "{usb}"}}\n'
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=why):
        check(file)


@pytest.mark.parametrize(
    ("port", "why"),
    [("1-1.4", ""), ("/dev/hidraw2", ""), ("", ""), ("usb1", "no place of a USB socket"), ("1-1:1.0", "no place")],
)
def test_ports_of_usb_devices(tmp_path: Path, port: str, why: str) -> None:
    for folder in ("devices", "kiosks"):
        (tmp_path / folder).mkdir()
    text = GOOD.replace("{kind: serial}", "{kind: hid}").replace("sdt", "sdt_hid") + 'match: {usb: "2b8b:2721"}\n'
    (tmp_path / "devices/a-b.yaml").write_text(text, encoding="utf-8")
    kiosk = tmp_path / "kiosks/k.yaml"
    place = f', port: "{port}"' if port else ""
    kiosk.write_text(KIOSK.replace("device: a-b", f"device: a-b{place}"), encoding="utf-8")
    if why:
        with pytest.raises(ProfileError, match=why):
            check(kiosk)
    else:
        assert check(kiosk) == "1 个设备 (devices)"


def test_a_kiosk_and_its_ports(tmp_path: Path) -> None:
    for folder, name, text in (("devices", "a-b", GOOD), ("kiosks", "k", KIOSK)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    kiosk = tmp_path / "kiosks" / "k.yaml"
    (place,) = load_kiosk(kiosk, {"reader": "/dev/x"})
    assert place.port == "/dev/x"
    with pytest.raises(ProfileError, match="no printer, but a port"):
        load_kiosk(kiosk, {"printer": "/dev/y"})
    (tmp_path / "devices" / "a-b.yaml").unlink()
    with pytest.raises(ProfileError, match=r"a-b\.yaml: No such file"):
        load_kiosk(kiosk)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, wrong = ROOT / "firmware_profiles/devices/generic-sdt-serial.yaml", tmp_path / "none.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["profile", "check", str(good), str(wrong)])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert "正确 (ok)" in shown.out
    assert "id_card_reader Generic SDT-Serial" in shown.out
    assert "错误 (wrong)" in shown.err
    assert "No such file" in shown.err


@pytest.mark.parametrize("file", sorted((ROOT / "firmware_profiles/devices").glob("generic-sdt*.yaml")), ids=str)
def test_ours_can_be_used(file: Path) -> None:
    assert check(file).startswith("id_card_reader")


def test_a_kiosk_model_is_found_by_its_name(tmp_path: Path) -> None:
    assert load_kiosk(find_kiosk(Path("demo_full")), {})
    assert find_kiosk(Path("k1"), tmp_path) == tmp_path / "kiosks/k1.yaml"
    assert find_kiosk(tmp_path / "other.yaml") == tmp_path / "other.yaml"
