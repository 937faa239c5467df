from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.settings import SecretFile, SettingsError, load

EXAMPLE = """
name = "file"
limit_bytes = 5

[http]
port = 8080
hosts = ["a", "b"]

[http.tls]
enabled = true
"""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Strict):
    enabled: bool = False
    key: SecretFile | None = None


class Http(Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 80
    hosts: tuple[str, ...] = ()
    tls: Tls = Tls()


class Settings(Strict):
    name: str = "default"
    label: str | None = None
    limit_bytes: int = 1
    http: Http = Http()
    extras: list[Tls] = []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def read(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    return load(Settings, file=file, env_prefix="APP", environ=environ or {})


def complaint(file: Path | None = None, environ: Mapping[str, str] | None = None) -> str | None:
    """What is wrong, or None when all is well; anything but a `SettingsError` fails the test."""
    try:
        read(file, environ)
    except SettingsError as error:
        return str(error)
    return None


def refusal(file: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    told = complaint(file, environ)
    assert told is not None
    return told


def test_without_a_file_the_models_defaults_hold(tmp_path: Path) -> None:
    assert read() == read(tmp_path / "absent.toml") == Settings()


def test_the_file_replaces_defaults(file: Path) -> None:
    settings = read(file)
    assert (settings.name, settings.http.port, settings.http.hosts) == ("file", 8080, ("a", "b"))
    assert settings.http.tls.enabled
    assert settings.http.host == "127.0.0.1"


@pytest.mark.parametrize("prefix", ["APP", "APP_"])
def test_variables_replace_the_file(file: Path, prefix: str) -> None:
    environ = {"APP_NAME": "env", "APP_HTTP__PORT": "9", "APP_HTTP__TLS__ENABLED": "false", "OTHER_NAME": "x"}
    settings = load(Settings, file=file, env_prefix=prefix, environ=environ)
    assert (settings.name, settings.http.port, settings.http.tls.enabled) == ("env", 9, False)
    assert settings.http.hosts == ("a", "b")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("APP_NAME", "true", "true"),
        ("APP_NAME", "007", "007"),
        ("APP_NAME", "", ""),
        ("APP_NAME", "自助机", "自助机"),
        ("APP_LABEL", "5", "5"),
        ("APP_HTTP__HOST", "::1", "::1"),
    ],
)
def test_what_is_text_stays_text(name: str, text: str, expected: str) -> None:
    settings = read(environ={name: text})
    found = {"APP_NAME": settings.name, "APP_LABEL": settings.label, "APP_HTTP__HOST": settings.http.host}
    assert found[name] == expected


def test_lists_and_sections_come_as_toml() -> None:
    settings = read(environ={"APP_HTTP__HOSTS": '["x", "y"]', "APP_HTTP__TLS": "{enabled = true}"})
    assert settings.http.hosts == ("x", "y")
    assert settings.http.tls.enabled


def test_an_unknown_key_is_named_with_file_and_section(file: Path) -> None:
    file.write_text(EXAMPLE + "\n[http.tls.more]\n", encoding="utf-8")
    assert refusal(file) == f"{file}: http.tls.more: unknown key"


def test_every_problem_is_told_at_once(file: Path) -> None:
    file.write_text('name = 5\nnmae = "x"\n[http]\nport = 70000\n', encoding="utf-8")
    text = refusal(file, {"APP_LIMIT_BYTES": "many", "APP_HTTP__PROT": "1"})
    assert set(text.split("; ")) == {
        f"{file}: name: Input should be a valid string",
        f"{file}: nmae: unknown key",
        f"{file}: http.port: Input should be less than or equal to 65535",
        "APP_LIMIT_BYTES: Input should be a valid integer, unable to parse string as an integer",
        "APP_HTTP__PROT: unknown key",
    }


def test_a_wrong_value_is_not_repeated(file: Path) -> None:
    file.write_text('limit_bytes = "hunter2"', encoding="utf-8")
    assert "hunter2" not in refusal(file)
    assert "hunter2" not in refusal(environ={"APP_LIMIT_BYTES": "hunter2"})


def test_a_variable_cannot_turn_a_value_into_a_section(file: Path) -> None:
    assert refusal(file, {"APP_NAME__FIRST": "x"}) == "APP_NAME__FIRST: name is not a section"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = ", "is not TOML: Invalid value (at end of document)"),
        (b'name = "a"\nname = "b"\n', "is not TOML: Cannot overwrite a value (at line 2, column 11)"),
        (b'\xef\xbb\xbfname = "a"', "is not TOML"),
        (b'name = "\xff"', "is no UTF-8 text"),
        (b"#" * 2_000_000, "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_by_name(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    assert refusal(file).startswith(f"{file} {told}")


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} cannot be read: Is a directory"


def test_every_prefix_of_a_file_loads_or_is_refused(file: Path) -> None:
    content = file.read_bytes()
    outcomes = set()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        told = complaint(file)
        assert told is None or told.startswith(str(file))
        outcomes.add(told is None)
    assert outcomes == {True, False}


@given(st.dictionaries(st.text("ABCNMEHTP_", max_size=12), st.text(max_size=20), max_size=4))
def test_any_environment_loads_or_is_refused(found: dict[str, str]) -> None:
    environ = {f"APP_{name}": text for name, text in found.items()}
    assert "APP_" in (complaint(environ=environ) or "APP_")


class Loose(BaseModel):
    name: str = ""


class Nested(Strict):
    parts: dict[str, list[Loose]] = {}


@pytest.mark.parametrize("model", [Loose, Nested])
def test_a_model_that_would_swallow_unknown_keys_is_a_mistake(model: type[BaseModel]) -> None:
    with pytest.raises(TypeError, match=r"Loose must be declared with extra='forbid'"):
        load(model, env_prefix="APP", environ={})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "api.secret"
    path.touch(mode=0o600)
    path.write_text("  correct horse \n", encoding="utf-8")
    return path


def test_a_secret_is_named_in_settings_and_read_on_demand(file: Path, secret: Path) -> None:
    settings = read(environ={"APP_HTTP__TLS__KEY": str(secret)})
    assert settings.http.tls.key == SecretFile(secret)
    assert settings.http.tls.key.read() == "correct horse"
    assert "horse" not in repr(settings)
    assert "horse" not in settings.model_dump_json()
    assert Tls.model_validate_json(settings.http.tls.model_dump_json()) == settings.http.tls


def test_a_secret_may_be_given_ready_made(secret: Path) -> None:
    assert Tls(key=SecretFile(secret)).key == SecretFile(secret)
    with pytest.raises(ValidationError):
        Tls.model_validate({"key": 5})


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o601, 0o777])
def test_a_secret_that_others_may_touch_is_refused(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(SettingsError, match=rf"{secret} may be read by others: run chmod 600 on it"):
        SecretFile(secret).read()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b" \n", "is empty"), (b"\xff\xfe", "is no UTF-8 text"), (b"x" * 70_000, "is too large for a secret")],
)
def test_a_secret_that_is_none_is_refused(secret: Path, content: bytes, told: str) -> None:
    secret.write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        SecretFile(secret).read()


def test_a_missing_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent cannot be read: No such file or directory"):
        SecretFile(tmp_path / "absent").read()
