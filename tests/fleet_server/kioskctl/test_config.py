"""Where the server is and who we are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.kioskctl.config import Stored, config_file, load, save
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import clean, moment


def test_what_was_saved_is_loaded_and_private(tmp_path: Path) -> None:
    environ = {"KIOSKCTL_CONFIG": str(tmp_path / "new" / "kioskctl.toml")}
    stored = Stored(url="https://kiosks.example", token='k"\\=', token_id="1", username="工", ca_file=Path("/ca.pem"))
    save(load(environ), stored)
    found = load(environ)
    assert (found.stored, found.url, found.token) == (stored, "https://kiosks.example", 'k"\\=')
    assert found.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in found.file.parent.iterdir()] == ["kioskctl.toml"]


def test_a_stored_token_goes_to_its_own_server_only(tmp_path: Path) -> None:
    environ = {"KIOSKCTL_CONFIG": str(tmp_path / "kioskctl.toml")}
    save(load(environ), Stored(url="https://kiosks.example", token="kft_1"))
    assert load({**environ, "KIOSKCTL_URL": "https://kiosks.example/"}).token == "kft_1"
    assert load({**environ, "KIOSKCTL_URL": "https://kiosks.example/api/v1/"}).url == "https://kiosks.example"
    assert load({**environ, "KIOSKCTL_URL": "https://kiosks.example/api/v1"}).token == "kft_1"
    assert load({**environ, "KIOSKCTL_URL": "https://other.example"}).token is None
    assert load({**environ, "KIOSKCTL_URL": "https://other.example", "KIOSKCTL_TOKEN": "kft_2"}).token == "kft_2"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "kioskctl.toml"
    file.write_text('token = "kft_1"\n')
    file.chmod(mode)
    with pytest.raises(Failure) as refused:
        load({"KIOSKCTL_CONFIG": str(file)})
    assert refused.value.code == "config_not_private"
    assert "kft_1" not in refused.value.message


@pytest.mark.parametrize("content", [b"token = ", b"colour = 'red'\n", b"url = 1\n", b"\xff\xfe"])
def test_a_file_with_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "kioskctl.toml"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(Failure) as refused:
        load({"KIOSKCTL_CONFIG": str(file)})
    assert (refused.value.exit_code, refused.value.code) == (Exit.FAILURE, "config_invalid")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("kiosks.example", "url_invalid"),
        ("ftp://kiosks.example", "url_invalid"),
        ("https://user:secret@kiosks.example", "url_invalid"),
        ("https://", "url_invalid"),
        ("https://host:99999", "url_invalid"),
        ("http://kiosks.example", "url_not_encrypted"),
        ("http://127.0.0.1.evil.example", "url_not_encrypted"),
    ],
)
def test_an_address_that_is_none_or_not_encrypted(tmp_path: Path, url: str, code: str) -> None:
    with pytest.raises(Failure) as refused:
        load({"KIOSKCTL_CONFIG": str(tmp_path / "none.toml"), "KIOSKCTL_URL": url})
    assert (refused.value.exit_code, refused.value.code) == (Exit.USAGE, code)


def test_the_file_is_where_configuration_belongs() -> None:
    assert config_file({}) == Path.home() / ".config" / "kioskctl.toml"
    assert config_file({"XDG_CONFIG_HOME": "/etc/x"}) == Path("/etc/x/kioskctl.toml")


def test_what_is_printed_moves_no_cursor() -> None:
    assert clean("a\x1b[2Jb\x07\u202ec\n") == "a·[2Jb·" + "·c·"
    assert moment("garbage\x1b") == "garbage·"
    assert [clean(value) for value in (None, True, 1.25, 3)] == ["-", "是", "1.2", "3"]
