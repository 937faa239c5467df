"""A lab as a process: the kiosks, the control API and the file that says where they are."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from kit.web import Guard, GuardSettings, HttpServer, static_site
from simulators.lab.control import api
from simulators.lab.firmware import write_images
from simulators.lab.lab import Lab, facts, write_facts
from wire import __version__

FACTS_FILE = "lab.json"
IMAGES = "firmware"
PAGE = Path(__file__).parent / "page"
_HOSTS = frozenset({"127.0.0.1", "localhost"})


class LabServer:
    """The control API and bench page of one lab; `services` is what `kit.supervise.serve` runs."""

    name = "lab-facts"

    def __init__(self, lab: Lab, folder: Path, port: int = 0, *, told: Callable[[str], None] | None = None) -> None:
        self.lab = lab
        self.token = secrets.token_urlsafe(24)
        application = web.Application()
        self.api = api(lab, self.token, __version__)
        self.api.mount(application)
        static_site(application, PAGE)
        guard = Guard(GuardSettings(hosts=_HOSTS, origin_required=False))
        self.http = HttpServer("lab-control", application, guard=guard, port=port)
        self._file = folder / FACTS_FILE
        self._images = folder / IMAGES
        self._told = told

    @property
    def services(self) -> tuple[Lab, HttpServer, LabServer]:
        """Everything that runs."""
        return self.lab, self.http, self

    async def run(self) -> None:
        """Write the file, and the images that devices take, once all is up; take it away at the end."""
        await self.lab.started()
        await self.http.started()
        content = {**facts(self.lab, self.http.url, self.token), "firmware_dir": str(self._images)}
        await asyncio.to_thread(write_images, self._images)
        await asyncio.to_thread(write_facts, self._file, content)
        if self._told is not None:
            self._told(str(content["bench_url"]))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
