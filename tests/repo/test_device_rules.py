"""The rules for udev: what the agent opens by itself is its group's, and a keyboard scanner is nobody's keyboard."""

from __future__ import annotations

import re

import yaml

from support.tree import ROOT
from wire.profile import DeviceProfile, LinkKind

RULES = ROOT / "ansible/roles/agent/files/70-kiosk-devices.rules"
SUBSYSTEMS = {LinkKind.USB: "usb", LinkKind.HID: "hidraw", LinkKind.KEYBOARD: "input"}
_IDS = re.compile(r'SUBSYSTEM=="(\w+)".*?idVendor\}=="(\w{4})", ATTRS?\{idProduct\}=="(\w{4})"')


def _rules() -> dict[tuple[str, str], str]:
    found = {}
    for line in RULES.read_text(encoding="utf-8").splitlines():
        match = _IDS.match(line)
        if match is not None:
            found[match[1], f"{match[2]}:{match[3]}"] = line
    return found


def _wanted() -> set[tuple[str, str]]:
    profiles = [
        DeviceProfile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        for file in sorted((ROOT / "firmware_profiles/devices").glob("*.yaml"))
    ]
    return {
        (SUBSYSTEMS[profile.link.kind], profile.match["usb"].lower())
        for profile in profiles
        if profile.link.kind in SUBSYSTEMS and "usb" in profile.match
    }


def test_every_profile_has_its_rule_and_no_rule_is_left_over() -> None:
    assert set(_rules()) == _wanted()


def test_nobody_else_may_open_them_and_no_screen_gets_a_code() -> None:
    for (subsystem, _), line in _rules().items():
        assert 'GROUP="kiosk-agent", MODE="0660"' in line
        assert subsystem != "input" or 'ENV{LIBINPUT_IGNORE_DEVICE}="1"' in line


def test_every_line_is_a_rule() -> None:
    """Debian 12's udevadm cannot judge a file of rules: keys, operators and quotes are judged here."""
    for line in RULES.read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r'(\w+(\{\w+\})?(==|=)"[^"]*"(, |$))+', line), line
