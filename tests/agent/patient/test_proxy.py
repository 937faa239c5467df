"""What passes from a page to the patient platform: a real server of ours in front, a real TLS peer behind."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.local_api.auth import LocalToken
from agent.patient.link import ANSWER_LIMIT_BYTES, Answer, PlatformLink, Unreachable
from agent.patient.proxy import AT_ONCE, BODY_LIMIT_BYTES, LEASE_HEADER, PREFIX, PlatformProxy
from kit.web import GuardSettings, Problem, peer_certificate, problem_response
from support.pki import Files, Pki, server_context
from support.waiting import wait_for
from support.web import LOCAL, Serve, serve

__all__ = ["serve"]
TOKEN = "this-boot"
LONG = "x" * 129
PAY = {"channel": "wechat", "method": "payment_code", "code": "134567890123456789"}


@dataclass
class Platform:
    """The far side: keeps what it was asked, and answers what it is told to."""

    asked: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    certificates: list[bytes | None] = field(default_factory=list)
    answer: web.Response | None = None
    hold: asyncio.Event | None = None

    def app(self) -> web.Application:
        made = web.Application()
        made.router.add_route("*", "/{rest:.*}", self._handle)
        return made

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.certificates.append(peer_certificate(request))
        self.asked.append((request.method, request.raw_path, request.headers.copy(), await request.read()))
        if self.hold is not None:
            await self.hold.wait()
        return self.answer or web.json_response({"order": "o1", "money": "pending"}, status=202)


@dataclass(frozen=True)
class Keys:
    """A kiosk's identity on disk."""

    cert_file: Path
    key_file: Path
    ca_file: Path


@dataclass
class Peers:
    """A proxy with its platform."""

    platform: Platform
    url: str
    keys: Keys | None
    seen: list[tuple[str, str | None, int | None]]

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = TOKEN,
        origin: str | None = None,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> tuple[int, dict[str, str], bytes]:
        """As a page of ours would."""
        headers = {"Authorization": f"Bearer {token}", "Origin": origin or self.url, **options.pop("headers", {})}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, f"{self.url}{path}", headers=headers, allow_redirects=False, **options) as answer,
        ):
            return answer.status, dict(answer.headers), await answer.read()

    async def asking(self, operation: str, order: str | None) -> None:
        """See `Observer`."""
        self.seen.append((operation, order, None))

    async def answered(self, operation: str, order: str | None, answer: Answer) -> None:
        """See `Observer`."""
        self.seen.append((operation, order, answer.status))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Pki.new().write(tmp_path_factory.mktemp("pki"))


def keys_of(files: Path, stem: str = "client") -> Keys:
    return Keys(files / f"{stem}.pem", files / f"{stem}.key", files / "ca.pem")


@asynccontextmanager
async def standing(serve: Serve, keys: Keys | None, tls: ssl.SSLContext | None) -> AsyncIterator[Peers]:
    platform = Platform()
    far = await serve(platform.app(), GuardSettings(hosts=LOCAL, origin_required=False), ssl_context=tls)
    peers = Peers(platform, "", keys, [])
    link = PlatformLink(far.url, lambda: peers.keys)
    app = web.Application()
    PlatformProxy(link, peers, lambda: "lease-1").mount(app, LocalToken(TOKEN).authenticate)
    near = await serve(app)
    peers.url = near.url
    try:
        yield peers
    finally:
        await link.close()


@pytest.fixture
async def peers(serve: Serve, files: Path) -> AsyncIterator[Peers]:
    tls = await asyncio.to_thread(
        server_context, files / "ca.pem", Files(files / "server.pem", files / "server.key"), crl_file=files / "crl.pem"
    )
    async with standing(serve, keys_of(files), tls) as made:
        yield made


def code(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    status, headers, body = answer
    assert headers["Content-Type"].startswith("application/problem+json"), body
    return status, str(json.loads(body)["code"])


async def test_a_request_arrives_with_our_certificate_and_only_named_headers(peers: Peers, files: Path) -> None:
    ours = {"Idempotency-Key": "0123-4567-abcd", "X-Platform-Contract": "1", "X-Request-Id": "request-0001"}
    given = {**ours, "Cookie": "a=b", "X-Other": "1"}
    status, headers, body = await peers.ask("POST", f"{PREFIX}/orders/o1/pay", json=PAY, headers=given)
    assert (status, body) == (202, b'{"order": "o1", "money": "pending"}')
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")
    [(method, path, sent, content)] = peers.platform.asked
    assert (method, path) == ("POST", "/platform/v1/orders/o1/pay")
    assert b"134567890123456789" in content
    wanted = {**ours, LEASE_HEADER: "lease-1", "Content-Type": "application/json"}
    assert {name: sent[name] for name in wanted} == wanted
    assert {"Cookie", "X-Other", "Authorization", "Origin", "User-Agent"}.isdisjoint(sent)
    [shown] = peers.platform.certificates
    pem = await asyncio.to_thread((files / "client.pem").read_text)
    assert shown == ssl.PEM_cert_to_DER_cert(pem)
    assert peers.seen == [("pay", "o1", None), ("pay", "o1", 202)]


async def test_problems_pass_as_they_are(peers: Peers) -> None:
    peers.platform.answer = problem_response(Problem(409, "bill_changed", "No"), None)
    answer = await peers.ask("POST", f"{PREFIX}/sessions/s1/orders", json={})
    assert code(answer) == (409, "bill_changed")
    peers.platform.answer = web.Response(status=204)
    assert (await peers.ask("DELETE", f"{PREFIX}/sessions/s1"))[0::2] == (204, b"")


async def test_a_long_poll_waits_for_news(peers: Peers) -> None:
    peers.platform.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        poll = group.create_task(peers.ask("GET", f"{PREFIX}/orders/o1?after=3&wait_s=25"), name="poll")
        await wait_for(lambda: bool(peers.platform.asked))
        assert not poll.done()
        peers.platform.hold.set()
    assert poll.result()[0] == 202
    assert peers.platform.asked[0][1] == "/platform/v1/orders/o1?after=3&wait_s=25"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"{PREFIX}/orders/o1?after=3&wait_s=26", 422),
        ("GET", f"{PREFIX}/orders/o1?after=-1", 422),
        ("GET", f"{PREFIX}/orders/o1?after=1&after=2", 422),
        ("GET", f"{PREFIX}/orders/o1?other=1", 422),
        ("GET", f"{PREFIX}/status?wait_s=1", 422),
        ("GET", f"{PREFIX}/orders/%2e%2e/receipt", 404),
        ("GET", f"{PREFIX}/orders/o1%2Freceipt", 404),
        ("GET", f"{PREFIX}/orders/{LONG}", 404),
        ("GET", f"{PREFIX}/orders", 404),
        ("GET", "/platform/v2/status", 404),
        ("GET", "/platform/", 404),
        ("DELETE", f"{PREFIX}/orders/o1", 405),
        ("PUT", f"{PREFIX}/orders/o1/pay", 405),
        ("HEAD", f"{PREFIX}/status", 405),
    ],
)
async def test_what_does_not_pass(peers: Peers, method: str, path: str, expected: int) -> None:
    assert (await peers.ask(method, path))[0] == expected
    assert peers.platform.asked == []


async def test_who_may_not_ask(peers: Peers) -> None:
    pay = f"{PREFIX}/orders/o1/pay"
    assert code(await peers.ask("GET", f"{PREFIX}/status", token="other")) == (401, "unauthenticated")
    assert code(await peers.ask("POST", pay, origin="http://evil.test", json=PAY)) == (403, "origin_refused")
    plain = await peers.ask("POST", pay, data=b"{}", headers={"Content-Type": "text/plain"})
    assert code(plain) == (415, "content_type_refused")
    wrong_host = await peers.ask("GET", f"{PREFIX}/status", headers={"Host": "evil.test"})
    assert code(wrong_host) == (421, "host_unknown")
    big = await peers.ask("POST", pay, json={"code": "x" * BODY_LIMIT_BYTES})
    assert code(big) == (413, "body_too_large")
    key = await peers.ask("POST", pay, json=PAY, headers={"Idempotency-Key": "a b"})
    assert code(key) == (400, "idempotency_key_invalid")
    assert peers.platform.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=302, headers={"Location": "http://elsewhere.test/"}),
        web.Response(text="<html>", content_type="text/html"),
        web.Response(body=b" " * (ANSWER_LIMIT_BYTES + 1), content_type="application/json"),
    ],
    ids=["redirect", "page", "endless"],
)
async def test_answers_that_make_no_sense(serve: Serve, files: Path, answer: web.Response) -> None:
    async with standing(serve, None, None) as peers:
        peers.platform.answer = answer
        assert code(await peers.ask("GET", f"{PREFIX}/status")) == (503, "platform_unreachable")


async def test_without_a_certificate_nothing_is_sent(peers: Peers) -> None:
    keys, peers.keys = peers.keys, None
    assert code(await peers.ask("GET", f"{PREFIX}/status")) == (503, "not_enrolled")
    assert peers.platform.asked == []
    peers.keys = keys
    assert (await peers.ask("GET", f"{PREFIX}/status"))[0] == 202


@pytest.mark.parametrize("stem", ["foreign", "revoked", "expired", "wrong_usage", "missing"])
async def test_a_certificate_that_is_not_taken(peers: Peers, files: Path, stem: str) -> None:
    peers.keys = keys_of(files, stem)
    assert code(await peers.ask("GET", f"{PREFIX}/status")) == (503, "platform_unreachable")
    assert peers.platform.asked == []


@pytest.mark.parametrize("stem", ["wrong_host", "foreign"])
async def test_a_platform_that_is_none(serve: Serve, files: Path, stem: str) -> None:
    """Nothing of a patient goes to a server that cannot prove that it is ours."""
    tls = await asyncio.to_thread(server_context, files / "ca.pem", Files(files / f"{stem}.pem", files / f"{stem}.key"))
    async with standing(serve, keys_of(files), tls) as peers:
        answer = await peers.ask("POST", f"{PREFIX}/sessions", json={"medium": {}})
        assert code(answer) == (503, "platform_unreachable")
        assert peers.platform.asked == []


async def test_a_renewed_certificate_is_used_at_once(peers: Peers, files: Path) -> None:
    await peers.ask("GET", f"{PREFIX}/status")
    peers.keys = replace(keys_of(files), cert_file=files / "other_client.pem", key_file=files / "other_client.key")
    await peers.ask("GET", f"{PREFIX}/status")
    assert len(set(peers.platform.certificates)) == 2


async def test_too_many_at_once_are_turned_away(peers: Peers) -> None:
    peers.platform.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(peers.ask("GET", f"{PREFIX}/status"), name="ask") for _ in range(AT_ONCE)]
        await wait_for(lambda: len(peers.platform.asked) == AT_ONCE)
        assert code(await peers.ask("GET", f"{PREFIX}/status")) == (429, "too_many_requests")
        peers.platform.hold.set()
    assert {task.result()[0] for task in asked} == {202}


async def test_an_answer_that_does_not_come_is_waited_for_only_so_long(serve: Serve) -> None:
    platform = Platform(hold=asyncio.Event())
    far = await serve(platform.app(), GuardSettings(hosts=LOCAL, origin_required=False))
    link = PlatformLink(far.url, lambda: None)
    with pytest.raises(Unreachable):
        await link.ask("GET", f"{PREFIX}/status", limit_s=0.05)
    assert platform.hold is not None
    platform.hold.set()
    await link.close()


async def test_a_kiosk_without_a_platform_says_so(serve: Serve) -> None:
    app = web.Application()
    PlatformProxy(None).mount(app, LocalToken(TOKEN).authenticate)
    near = await serve(app)
    peers = Peers(Platform(), near.url, None, [])
    assert code(await peers.ask("GET", f"{PREFIX}/status")) == (503, "platform_unreachable")
