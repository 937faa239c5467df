"""The payment simulators as a process: both wallets, the phones and the testers' API on one port of loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from kit.clock import Clock
from kit.supervise import Service
from kit.web import Guard, GuardSettings, HttpServer
from simulators.payments.alipay import Alipay
from simulators.payments.bill_calls import Bills
from simulators.payments.control import Control
from simulators.payments.desk import Desk, MovableClock
from simulators.payments.keys import Keys, write_private
from simulators.payments.ledger import Ledger
from simulators.payments.model import Book
from simulators.payments.notify import Notifier
from simulators.payments.phone import Phone
from simulators.payments.store import JOURNAL, Store
from simulators.payments.wechat_v2 import WechatV2
from simulators.payments.wechat_v3 import WechatV3

FACTS_FILE: Final = "payments.json"
_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_BODIES: Final = frozenset({"application/json", "text/xml", "application/xml", "application/x-www-form-urlencoded"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how the wallets run."""

    folder: Path | None = None
    """For the book and `payments.json`; None keeps both in memory."""
    port: int = 0
    seed: int = 1
    told: Callable[[str], None] | None = None
    """Is given the address of the testers' page."""


class PaymentServer:
    """The wallets on one port; `services` is what `kit.supervise.serve` runs."""

    name = "payments-facts"

    def __init__(self, keys: Keys, clock: Clock, place: Place, book: Book | None = None) -> None:
        self.clock = MovableClock(clock)
        self.ledger = Ledger(self.clock, book, seed=place.seed)
        journal = None if place.folder is None else place.folder / JOURNAL
        self.desk = Desk(self.ledger, keys, self.clock, Store(self.ledger, journal))
        app = web.Application()
        self.wechat = WechatV3(self.desk)
        self.wechat.add_to(app)
        WechatV2(self.desk).add_to(app)
        self.alipay = Alipay(self.desk)
        self.alipay.add_to(app)
        Bills(self.desk, self.wechat, self.alipay).add_to(app)
        self.notifier = Notifier(self.desk, self.wechat)
        self.desk.changed = self.notifier.wake
        Phone(self.desk).add_to(app)
        Control(self.desk, self.notifier).add_to(app)
        guard = Guard(GuardSettings(hosts=_HOSTS, origin_required=False, body_types=_BODIES))
        self.http = HttpServer("payments", app, guard=guard, port=place.port)
        self._folder = place.folder
        self._told = place.told
        self._up = asyncio.Event()

    @property
    def services(self) -> tuple[Service, ...]:
        """Everything that runs."""
        return self.http, self.notifier, self

    @property
    def facts(self) -> dict[str, object]:
        """What `payments.json` says."""
        return {**self.desk.keys.facts(self.http.url), "control_url": f"{self.http.url}/sim"}

    async def started(self) -> None:
        """Wait until everything is up. Raises: ListenError."""
        await self.http.started()
        await self._up.wait()

    async def run(self) -> None:
        """Write the file once all is up; take it away at the end."""
        await self.http.started()
        self.desk.base_url = self.http.url
        file = None if self._folder is None else self._folder / FACTS_FILE
        if file is not None:
            content = json.dumps(self.facts, ensure_ascii=False, indent=1).encode()
            await asyncio.to_thread(write_private, file, content)
        self._up.set()
        if self._told is not None:
            self._told(f"{self.http.url}/sim/")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if file is not None:
                await asyncio.to_thread(file.unlink, missing_ok=True)
