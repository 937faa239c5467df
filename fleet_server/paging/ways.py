"""Ways to a person: our own signed webhook, and everything apprise speaks. Addresses are secrets: never logged.

The webhook (documented for receivers in docs/paging.md): `POST`, JSON, `Idempotency-Key` the same for every try of one
message, `X-Signature: sha256=HMAC-SHA256(secret, body)`. Any 2xx is taken for handed over.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Final, Protocol

import aiohttp
import apprise

from fleet_server.paging.model import Page
from fleet_server.settings import PagingTarget
from kit.clock import Clock
from wire.faults import Severity

TIMEOUT_S: Final = 15.0
_OK: Final = 300
_KINDS: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.MINOR: apprise.NotifyType.INFO,
    Severity.MAJOR: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}
_WORDS: Final = {
    Severity.INFO: "提示",
    Severity.MINOR: "一般",
    Severity.MAJOR: "严重",
    Severity.CRITICAL: "紧急",
}
_CLOCKS: Final = {"response": ("响应", "respond"), "repair": ("修复", "repair")}


class PagingFailed(Exception):
    """The channel did not take the message; the text says why and holds no address."""


class Channel(Protocol):
    """One way to a person."""

    async def send(self, page: Page) -> None:
        """Hand one message over.

        Raises:
            PagingFailed: it was not taken, or there was no answer.
        """


class Webhook:
    """Our own JSON, signed."""

    def __init__(self, http: Callable[[], aiohttp.ClientSession], target: PagingTarget) -> None:
        """Read nothing yet: the address may be renewed while we run."""
        self._http = http
        self._target = target

    async def send(self, page: Page) -> None:
        """See `Channel`."""
        url, secret = await asyncio.to_thread(_secrets, self._target)
        body = json.dumps(document(page), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": page.id}
        if secret is not None:
            headers["X-Signature"] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._http().post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status >= _OK:
                    raise PagingFailed(f"HTTP {answer.status}")
        except TimeoutError:
            raise PagingFailed("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PagingFailed(type(error).__name__) from None


class Apprise:
    """WeCom, DingTalk, mail, SMS gateways: by an address of apprise."""

    def __init__(self, target: PagingTarget) -> None:
        """Read nothing yet."""
        self._target = target

    async def send(self, page: Page) -> None:
        """See `Channel`."""
        url, _ = await asyncio.to_thread(_secrets, self._target)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                taken = await asyncio.to_thread(_notify, url, page)
        except TimeoutError:
            raise PagingFailed("no answer in time") from None
        if not taken:
            raise PagingFailed("the channel did not take it")


def channel(target: PagingTarget, http: Callable[[], aiohttp.ClientSession]) -> Channel:
    """The way this target names."""
    return Webhook(http, target) if target.kind == "webhook" else Apprise(target)


def document(page: Page) -> dict[str, object]:
    """What the webhook says."""
    return {
        "v": 1,
        "id": page.id,
        "test": page.is_test,
        "incident": page.name,
        "severity": page.severity.value,
        "title": {"zh-CN": page.title_zh, "en": page.title_en},
        "where": page.where,
        "since": page.since.isoformat(),
        "members": page.members,
        "remedy": {"zh-CN": page.remedy_zh},
        "link": page.link,
        "acknowledge": page.acknowledge,
        "forecast": None if page.forecast is None else asdict(page.forecast),
    }


def trial_page(identifier: str, clock: Clock) -> Page:
    """A page that says that it is none."""
    return Page(
        identifier,
        name="",
        title_zh="呼叫测试, 无需处理",
        title_en="Test page, nothing to do",
        where="",
        severity=Severity.INFO,
        since=clock.utc(),
        members=0,
        remedy_zh="",
        link=None,
        is_test=True,
    )


def text(page: Page) -> tuple[str, str]:
    """Title and body for people, Chinese first."""
    mark = "【测试】" if page.is_test else f"【{_WORDS[page.severity]}】"
    late = page.forecast
    if late is not None:
        mark += f"{late.name} {_CLOCKS[late.clock][0]}时限已用 {late.percent}%: "
    lines = [
        f"{page.name} {page.where}".strip(),
        f"开始 {page.since:%Y-%m-%d %H:%M:%S} UTC" + (f", 共 {page.members} 项" if page.members > 1 else ""),
        *([f"处理: {page.remedy_zh}"] if page.remedy_zh else []),
        page.title_en if late is None else f"{page.title_en}: {late.percent} % of the time to {_CLOCKS[late.clock][1]}",
        *([f"确认接手 (acknowledge): {page.acknowledge}"] if page.acknowledge else []),
        *([page.link] if page.link else []),
    ]
    return f"{mark}{page.title_zh}", "\n".join(lines)


def _notify(url: str, page: Page) -> bool:
    sender = apprise.Apprise()
    if not sender.add(url):
        return False
    title, body = text(page)
    return bool(sender.notify(body=body, title=title, notify_type=_KINDS[page.severity]))


def _secrets(target: PagingTarget) -> tuple[str, str | None]:
    try:
        url = target.url_file.read_text(encoding="utf-8").strip()
        secret = None if target.secret_file is None else target.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise PagingFailed("the file with the address cannot be read") from None
    return _reachable(url), secret


def _reachable(url: str) -> str:
    if "://" not in url:
        raise PagingFailed("the address is no URL")
    return url
