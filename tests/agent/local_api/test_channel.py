"""The WebSocket of the device API over real sockets: who gets in, what a page hears, what a hostile one gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.local_api.auth import LocalToken
from agent.local_api.channel import PAGES, PATH, PROTOCOL, QUEUE_MESSAGES, TOKEN_PREFIX, DeviceChannel
from agent.local_api.feed import STATUS, Feed
from agent.local_api.lease import SessionLease, verbs
from kit.clock import SystemClock
from kit.web import HttpServer
from support.device_page import Page
from support.waiting import wait_for
from support.web import Serve, serve

__all__ = ["serve"]


class Desk:
    """A channel on a server, with what is behind it."""

    def __init__(self, token: LocalToken) -> None:
        self.feed = Feed()
        self.token = token
        self.app = web.Application()
        DeviceChannel(verbs(SessionLease(SystemClock())), self.feed, token).mount(self.app)
        self.server: HttpServer | None = None

    @asynccontextmanager
    async def page(self, *, token: str | None = None, **options: Any) -> AsyncIterator[Page]:  # noqa: ANN401 - passed on
        assert self.server is not None
        url = f"http://127.0.0.1:{self.server.port}"
        protocols = (PROTOCOL, TOKEN_PREFIX + (self.token.value if token is None else token))
        options = {"protocols": protocols, "origin": url, **options}
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}{PATH}", **options) as socket:
            yield Page(socket)


@pytest.fixture
async def desk(serve: Serve) -> Desk:
    made = Desk(LocalToken("this-boot"))
    made.server = await serve(made.app)
    return made


async def test_a_page_with_the_token_is_served(desk: Desk) -> None:
    async with desk.page() as page:
        assert page.socket.protocol == PROTOCOL
        begun = await page.ask("Session.Begin")
        assert begun["header"]["completionCode"] == "success"
        assert begun["payload"]["activity"] == "in_session"
        async with desk.page() as other:
            refused = await other.ask("Session.Begin")
            assert refused["payload"] == {"errorCode": "sessionActive"}
            paying = await other.ask("Session.Pay", {"lease": begun["payload"]["lease"], "paying": True})
            assert paying["payload"]["activity"] == "paying"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"token": "guess"}, 401),
        ({"token": ""}, 401),
        ({"protocols": ()}, 401),
        ({"protocols": (PROTOCOL,)}, 401),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"headers": {"Host": "rebound.example"}}, 421),
    ],
)
async def test_a_hostile_page_gets_nothing(desk: Desk, options: dict[str, Any], status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with desk.page(**options):
            pass
    assert refused.value.status == status


async def test_pages_hear_how_things_are_and_then_only_changes(desk: Desk) -> None:
    desk.feed.status("printer", {"device": "online", "paper": "full"})
    async with desk.page() as page:
        assert (await page.hear())["payload"] == {"component": "printer", "device": "online", "paper": "full"}
        desk.feed.status("printer", {"device": "online", "paper": "full"})
        desk.feed.status("printer", {"device": "online", "paper": "low"})
        desk.feed.status("printer", {"device": "offline"})
        changed = [await page.hear(), await page.hear()]
    assert [one["header"] for one in changed] == [{"name": STATUS, "type": "unsolicited"}] * 2
    assert [one["payload"] for one in changed] == [
        {"component": "printer", "paper": "low"},
        {"component": "printer", "device": "offline", "paper": None},
    ]


async def test_a_page_that_takes_nothing_is_cut_and_others_go_on(desk: Desk) -> None:
    async with desk.page() as good, desk.page() as stalled:
        connection = stalled.socket._response.connection
        assert connection is not None
        transport = connection.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        filler = "x" * 16_384
        for number in range(4 * QUEUE_MESSAGES):
            desk.feed.event("Test.Event", {"number": number, "filler": filler})
            assert (await good.hear())["payload"]["number"] == number
            await asyncio.sleep(0)
        await wait_for(lambda: len(desk.feed._pages) == 1, what="the stalled page to be cut")
        transport.abort()


async def test_so_many_pages_and_no_more(desk: Desk) -> None:
    async with asyncio.timeout(8.0):
        pages = [desk.page() for _ in range(PAGES)]
        for page in pages:
            await page.__aenter__()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with desk.page():
                pass
        assert refused.value.status == 429
        await pages[0].__aexit__(None, None, None)

        async def fits() -> bool:
            try:
                async with desk.page() as page:
                    return bool((await page.ask("Session.State"))["header"]["completionCode"] == "success")
            except aiohttp.WSServerHandshakeError:
                return False

        await wait_for(fits, what="room for another page")
        for page in pages[1:]:
            await page.__aexit__(None, None, None)


async def test_binary_is_no_language_of_ours(desk: Desk) -> None:
    async with desk.page() as page:
        await page.socket.send_bytes(b"\x00")
        said = await page.socket.receive()
        assert (said.type, said.data) == (aiohttp.WSMsgType.CLOSE, 1003)
