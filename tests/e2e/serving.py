"""The mock server while it serves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.mock_server import MockServer

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dashboards" / "fleet" / "dist"
AXE: Final = ROOT / "node_modules" / "axe-core" / "axe.min.js"


@asynccontextmanager
async def serving(server: MockServer) -> AsyncIterator[tuple[MockServer, str]]:
    """Run the server on a free port; gives it and its address."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.http.run(), name="mock server")
        try:
            await server.http.started()
            yield server, server.http.url
        finally:
            task.cancel()
