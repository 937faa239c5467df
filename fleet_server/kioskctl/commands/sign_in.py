"""Signing in and out: a sign-in becomes an API token, so that password and code are asked for once."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from fleet_server.kioskctl.client import Document, FleetClient, connected, require_token
from fleet_server.kioskctl.config import Config, Stored, load, save
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, say
from fleet_server.kioskctl.running import Json, end

Url = Annotated[str | None, typer.Option("--url", help="服务器地址 (server), 例如 https://kiosks.example.org。")]
Days = Annotated[int, typer.Option(help="令牌有效天数 (days the token lives)。", min=1, max=365)]
Stdin = Annotated[bool, typer.Option("--stdin", help="从标准输入读三行: 用户名、密码、验证码 (for scripts)。")]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a person types; never in arguments, which others on the machine can read."""

    username: str
    password: str
    totp: str


def login(url: Url = None, days: Days = 30, stdin: Stdin = False, as_json: Json = False) -> None:
    """登录并保存令牌 (sign in)。"""
    try:
        config = load(os.environ, url=url)
        credentials = _from_stdin() if stdin else _asked()
        made = asyncio.run(_sign_in(config, credentials, days))
        kept = config.stored.model_copy(
            update={"url": config.url, "token": made["token"], "token_id": made["id"], "username": credentials.username}
        )
        save(config, kept)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    if as_json:
        dump({"username": credentials.username, "url": config.url, "expires_at": made["expires_at"]})
    else:
        say(f"{credentials.username} 已登录 {config.url} (signed in), 令牌保存在 {config.file}")


def logout(as_json: Json = False) -> None:
    """注销并作废令牌 (sign out)。"""
    try:
        config = load(os.environ)
        stored = config.stored
        own = replace(config, url=stored.url, token=stored.token)
        require_token(own)
        asyncio.run(_sign_out(own))
        save(config, Stored(url=stored.url, ca_file=stored.ca_file))
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    if as_json:
        dump({"url": config.url})
    else:
        say("已注销, 令牌已作废 (signed out)")


async def _sign_in(config: Config, credentials: Credentials, days: int) -> Document:
    async with connected(replace(config, token=None)) as client:
        body = {"username": credentials.username, "password": credentials.password, "totp": credentials.totp}
        await client.post("/api/v1/auth/login", body)
        try:
            name = f"kioskctl@{socket.gethostname()}"[:64]
            made: Document = await client.post("/api/v1/tokens", {"name": name, "days": days})
        finally:
            # The session only served to make the token; it would end by itself.
            with suppress(Failure):
                await client.post("/api/v1/auth/logout")
        await _drop_earlier(replace(config, token=made["token"]), keep=made["id"])
        return made


async def _drop_earlier(config: Config, *, keep: str) -> None:
    """Withdraw the token of the sign-in before, if it was ours."""
    before = config.stored.token_id
    if before is None or before == keep or config.stored.url.rstrip("/") != config.url:
        return
    async with connected(config) as client:
        with suppress(Failure):
            await _withdraw(client, before)


async def _sign_out(config: Config) -> None:
    async with connected(config) as client:
        try:
            await _withdraw(client, config.stored.token_id or "-")
        except Failure as failure:
            # Withdrawn or expired already: the file may go.
            if failure.exit_code not in {Exit.NOT_SIGNED_IN, Exit.REFUSED}:
                raise


async def _withdraw(client: FleetClient, token_id: str) -> None:
    await client.request("DELETE", f"/api/v1/tokens/{token_id}")


def _asked() -> Credentials:
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, "没有终端可以询问: 请用 --stdin (no terminal)", "no_terminal")
    return Credentials(
        typer.prompt("用户名 (user name)", err=True).strip(),
        typer.prompt("密码 (password)", hide_input=True, err=True),
        typer.prompt("6 位验证码 (code)", err=True).strip(),
    )


def _from_stdin() -> Credentials:
    lines = [line.rstrip("\r\n") for line in sys.stdin]
    if len(lines) != len(Credentials.__slots__):
        raise Failure(Exit.USAGE, "标准输入应为三行: 用户名、密码、验证码 (three lines expected)", "stdin_invalid")
    return Credentials(*lines)
