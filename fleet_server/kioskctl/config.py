"""Where the server is and who we are: `KIOSKCTL_…` variables before `~/.config/kioskctl.toml` (mode 0600).

A stored token belongs to the address it was made at, and is never sent to another one.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from fleet_server.kioskctl.errors import Exit, Failure

API: Final = "/api/v1"
"""Where the API is below the server's address; people paste either."""
DEFAULT_URL: Final = "http://127.0.0.1:8080"
_OTHERS: Final = 0o077
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Stored(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str = DEFAULT_URL
    token: str | None = None
    token_id: str | None = None
    username: str | None = None
    ca_file: Path | None = None
    """The CA of a server whose certificate the system does not know."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a command works with."""

    url: str
    token: str | None
    stored: Stored
    file: Path

    @property
    def ca_file(self) -> Path | None:
        """The CA to trust beside the system's."""
        return self.stored.ca_file

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where no TLS is needed."""
        return urlsplit(self.url).hostname in _LOOPBACK

    @property
    def heads_file(self) -> Path:
        """Heads of audit trails seen earlier."""
        return self.file.with_name(f"{self.file.stem}-audit-heads.json")


def config_file(environ: Mapping[str, str]) -> Path:
    """The configuration file."""
    given = environ.get("KIOSKCTL_CONFIG")
    home = environ.get("XDG_CONFIG_HOME")
    return Path(given) if given else (Path(home) if home else Path.home() / ".config") / "kioskctl.toml"


def load(environ: Mapping[str, str], *, url: str | None = None) -> Config:
    """What is configured, or the defaults.

    Raises:
        Failure: the file is readable by others or not what it should be, or the address is no usable one.
    """
    file = config_file(environ)
    stored = _read(file)
    address = (url or environ.get("KIOSKCTL_URL") or stored.url).rstrip("/").removesuffix(API).rstrip("/")
    _check_address(address)
    is_its_own = address == stored.url.rstrip("/")
    token = environ.get("KIOSKCTL_TOKEN") or (stored.token if is_its_own else None)
    return Config(address, token, stored, file)


def save(config: Config, stored: Stored) -> None:
    """Keep what a sign-in gave; only the owner can read it."""
    lines = [
        f"{name} = {json.dumps(str(value), ensure_ascii=False)}"
        for name, value in stored.model_dump().items()
        if value is not None
    ]
    write_private(config.file, "\n".join(lines) + "\n")


def write_private(file: Path, content: str) -> None:
    """Write a file as a whole, mode 0600 from its first byte.

    Raises:
        Failure: it cannot be written.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(content)
        part.replace(file)
    except OSError as error:
        raise Failure(Exit.FAILURE, f"{file} 无法写入 (cannot be written): {error.strerror}", "not_writable") from error


def _read(file: Path) -> Stored:
    try:
        mode = file.stat().st_mode
        if mode & _OTHERS:
            raise Failure(
                Exit.FAILURE,
                f"{file} 可被其他用户读取 (readable by others): 请运行 chmod 600 {file}",
                "config_not_private",
            )
        return Stored.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Stored()
    except OSError as error:
        raise Failure(
            Exit.FAILURE, f"{file} 无法读取 (cannot be read): {error.strerror}", "config_unreadable"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError):
        raise Failure(
            Exit.FAILURE, f"{file} 内容有误 (not valid): 请改正, 或删除后重新登录 kioskctl login", "config_invalid"
        ) from None


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.username is not None or parts.query or parts.fragment:
        raise Failure(Exit.USAGE, "服务器地址应为 https://主机[:端口] (the address must be a URL)", "url_invalid")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Failure(
            Exit.USAGE,
            "口令不得明文传输: 本机以外的服务器请用 https:// (no password over plain HTTP)",
            "url_not_encrypted",
        )
