"""The agent's settings say which key is wrong and never what its value was."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.settings import load_settings
from kit.settings import SettingsError


def test_defaults_need_no_file() -> None:
    settings = load_settings(None, {})
    assert settings.local_api.host == "127.0.0.1"
    assert settings.fleet.enrol_url is None


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('data_dir = "/a"\n[fleet]\nenrol_url = "https://fleet.test:8443"\n[outbox]\ncap_bytes = 2097152\n')
    settings = load_settings(file, {"KIOSK_DATA_DIR": "/b", "KIOSK_OUTBOX__GROUP_S": "0.5", "HOME": "/root"})
    assert settings.data_dir == Path("/b")
    assert settings.fleet.enrol_url == "https://fleet.test:8443"
    assert (settings.outbox.cap_bytes, settings.outbox.group_s) == (2_097_152, 0.5)


@pytest.mark.parametrize(
    ("text", "environ", "why"),
    [
        ("[outbox]\ncap_byte = 1\n", {}, "outbox.cap_byte: unknown key"),
        ("[outbox]\ncap_bytes = 1\n", {}, "outbox.cap_bytes"),
        ('[fleet]\nenrol_url = "http://fleet.test"\n', {}, "fleet.enrol_url"),
        ('[fleet]\nenrol_url = "https://fleet.test/path"\n', {}, "fleet.enrol_url"),
        ("", {"KIOSK_LOCAL_API__PORT": "70000"}, "KIOSK_LOCAL_API__PORT"),
        ("", {"KIOSK_COLOUR": "red"}, "KIOSK_COLOUR"),
        ("[broken", {}, "not TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, environ: dict[str, str], why: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ)
    assert why in str(caught.value)
    assert "red" not in str(caught.value).replace("cannot be read", "")


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://patient.hospital.example:9443", True),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True),
        ("http://localhost", True),
        ("http://patient.hospital.example", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost@example.com", False),
        ("https://patient.hospital.example/path", False),
        ("ftp://127.0.0.1", False),
    ],
)
def test_patients_do_not_cross_a_network_in_the_clear(url: str, *, is_good: bool) -> None:
    environ = {"KIOSK_PLATFORM__URL": url}
    if is_good:
        assert load_settings(None, environ).platform.url == url
    else:
        with pytest.raises(SettingsError):
            load_settings(None, environ)
