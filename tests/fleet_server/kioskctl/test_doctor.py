"""`kioskctl doctor`: every failure is found and has a next step."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.pki import Pki, server_context
from support.ports import free_port
from support.shell import Run, Shell
from wire import __version__


@dataclass(slots=True)
class FakeServer:
    """Answers what `doctor` asks as the test wants it."""

    version: str = __version__
    status: str = "ok"
    date: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    page: str | None = None

    async def handle(self, request: web.Request) -> web.Response:
        if self.page is not None:
            return web.Response(text=self.page, content_type="text/html", status=404)
        documents: dict[str, Any] = {
            "/api/v1/health": {"status": self.status, "version": self.version, "roles": ["api"]},
            "/api/v1/auth/me": {"username": "chief", "permissions": ["kiosks.read"]},
            "/api/v1/kiosks": {"items": [], "total": self.counts.get(request.query.get("presence", ""), 0)},
        }
        headers = {} if self.date is None else {"Date": self.date}
        return web.json_response(documents[request.path], headers=headers)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
        await runner.cleanup()


def _checks(ended: Run) -> dict[str, bool]:
    found = {item["check"].partition(" ")[0]: item["ok"] for item in ended.document}
    assert all(item["ok"] or item["next_step"] for item in ended.document)
    return found


async def test_all_is_well(chief: Shell) -> None:
    ended = await chief.run("doctor", "--json")
    assert ended.exit_code == 0, ended.out
    assert list(_checks(ended)) == ["配置", "加密", "服务器", "版本", "时钟", "令牌", "自助机"]
    assert "正常" in (await chief.run("doctor")).out


async def test_nobody_is_signed_in(shell: Shell) -> None:
    ended = await shell.run("doctor", "--json")
    assert (ended.exit_code, _checks(ended)["令牌"]) == (5, False)
    forged = await shell.run("doctor", "--json", KIOSKCTL_TOKEN="kft_forged")
    assert (forged.exit_code, _checks(forged)["令牌"]) == (5, False)


async def test_nobody_answers(shell: Shell) -> None:
    ended = await shell.run("doctor", "--json", KIOSKCTL_URL=f"http://127.0.0.1:{free_port()}")
    assert (ended.exit_code, _checks(ended)["服务器"]) == (4, False)


async def test_the_configuration_is_wrong(shell: Shell) -> None:
    ended = await shell.run("doctor", "--json", KIOSKCTL_URL="http://kiosks.example")
    assert (ended.exit_code, _checks(ended)["配置"]) == (2, False)


def _old(server: FakeServer) -> None:
    server.version = "0.0.9"


def _sick(server: FakeServer) -> None:
    server.status = "degraded"


def _late(server: FakeServer) -> None:
    server.date = datetime(2020, 1, 1, tzinfo=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _timeless(server: FakeServer) -> None:
    server.date = "yesterday"


def _blind(server: FakeServer) -> None:
    server.counts = {"unknown": 90, "online": 1}


def _cut_off(server: FakeServer) -> None:
    server.counts = {"offline": 60, "online": 30, "unstable": 5}


def _other(server: FakeServer) -> None:
    server.page = "<html>It works!</html>"


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (_old, "版本"),
        (_sick, "服务器"),
        (_late, "时钟"),
        (_timeless, "时钟"),
        (_blind, "自助机"),
        (_cut_off, "自助机"),
        (_other, "服务器"),
    ],
)
async def test_what_is_wrong_is_named(shell: Shell, spoil: Callable[[FakeServer], None], check: str) -> None:
    server = FakeServer(counts={"online": 97, "offline": 3})
    async with server.serving() as url:
        well = await shell.run("doctor", "--json", KIOSKCTL_URL=url, KIOSKCTL_TOKEN="kft_x")
        assert (well.exit_code, set(_checks(well).values())) == (0, {True})
        spoil(server)
        ended = await shell.run("doctor", "--json", KIOSKCTL_URL=url, KIOSKCTL_TOKEN="kft_x")
    assert ended.exit_code == 1
    assert [name for name, is_ok in _checks(ended).items() if not is_ok] == [check]


async def test_a_certificate_nobody_vouches_for(shell: Shell, tmp_path: Path) -> None:
    pki = Pki.new()
    folder = pki.write(tmp_path / "pki")
    ca_file = folder / "ca.pem"
    server = FakeServer(counts={"online": 1})
    tls = server_context(ca_file, pki.server.write(folder, "srv"))
    tls.verify_mode = ssl.CERT_NONE
    async with server.serving(tls) as address:
        url = address.replace("127.0.0.1", "localhost")
        refused = await shell.run("doctor", "--json", KIOSKCTL_URL=url, KIOSKCTL_TOKEN="kft_x")
        assert refused.exit_code == 4
        assert "ca_file" in refused.document[-1]["next_step"]
        shell.config.parent.mkdir(parents=True)
        shell.config.touch(mode=0o600)
        shell.config.write_text(f'ca_file = "{ca_file}"\n')
        trusted = await shell.run("doctor", "--json", KIOSKCTL_URL=url, KIOSKCTL_TOKEN="kft_x")
        assert trusted.exit_code == 0, trusted.out
