"""One browser for all pages, a fresh mock server and a fresh visitor for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched, chromium, visit
from e2e.mock_server import MockServer
from e2e.serving import DIST, serving
from e2e.signing_in import sign_in
from playwright.async_api import Browser, Page

Site = tuple[MockServer, str]
MakeServer = Callable[..., Awaitable[Site]]
MakeVisitor = Callable[..., Awaitable[Watched]]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Stand in for the check of the same name: the browser starts and ends processes as it likes."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give the browser; it ends with the session."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def make_server() -> AsyncIterator[MakeServer]:
    """Start mock servers; they end with the test."""
    if not (DIST / "index.html").is_file():
        pytest.fail("the pages are not built: npm run build")
    async with AsyncExitStack() as stack:

        async def make(*, count: int = 100) -> Site:
            return await stack.enter_async_context(serving(MockServer(DIST, count=count)))

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def make_visitor(browser: Browser) -> AsyncIterator[MakeVisitor]:
    """Open pages; in the end none of them may have complained to its console, unless the test took it off the list."""
    visitors: list[Watched] = []
    async with AsyncExitStack() as stack:

        async def make(visit_as: Visit | None = None) -> Watched:
            visitor = await stack.enter_async_context(visit(browser, visit_as))
            visitors.append(visitor)
            return visitor

        yield make
        await asyncio.sleep(0)
        assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


@pytest_asyncio.fixture(loop_scope="session")
async def site(make_server: MakeServer) -> Site:
    """Give a server with a hundred kiosks."""
    return await make_server()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(make_visitor: MakeVisitor) -> Watched:
    """Give an empty page."""
    return await make_visitor()


@pytest_asyncio.fixture(loop_scope="session")
async def page(site: Site, visitor: Watched) -> Page:
    """Give the fleet page of somebody who is signed in, with its rows."""
    await sign_in(visitor.page, site[1])
    await visitor.page.wait_for_selector("[data-kid] .kid")
    return visitor.page
