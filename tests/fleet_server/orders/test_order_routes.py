"""Work orders over real HTTP, with the real stores behind them: two persons, a signed check-in, evidence, photos."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import text

from fleet_server.registry.model import CertificateState, IssuedCertificate
from fleet_server.staff.permissions import Role
from kit.clock import ManualClock
from support.staff_site import StaffSite, staff_site
from wire.checkin import CheckIn
from wire.faults import Fault

KID = "zzj-001"
ASSETS = "asset_no,serial,place,area,floor,x,y,profile\nZZJ-001,SN-1,门诊大厅,门诊,1F,1,1,k20\n"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
Body = dict[str, Any]  # Any: a JSON document


class Orders:
    """People at work on orders."""

    def __init__(self, site: StaffSite) -> None:
        self.site = site
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.sessions: dict[str, str] = {}

    async def call(self, who: str, method: str, path: str, body: object = None) -> tuple[int, Body]:
        if who not in self.sessions:
            self.sessions[who] = await self.site.session(who)
        answer = await self.site.call(method, f"/api/v1/orders{path}", body=body, session=self.sessions[who])
        return answer.status, answer.document or {}

    async def done(self, who: str, path: str, body: object = None) -> Body:
        status, document = await self.call(who, "POST", path, body)
        assert status in {200, 201}, document
        return document

    async def refused(self, who: str, path: str, body: object = None) -> str:
        status, document = await self.call(who, "POST", path, body)
        assert status >= 400, document
        return str(document["code"])

    async def tested(self, *, good: bool = True, test: str = "print_receipt") -> None:
        """A self-test's record, as the uplink stores it."""
        now = self.site.clock.utc()
        said = {"actor": "li", "fields": {"component": "printer", "test": test, "outcome": "passed" if good else "no"}}
        core = self.site.server.core
        number = core.directory.number_of(KID)
        at = now if "postgresql" in core.settings.store_url else int(now.timestamp() * 1_000_000)
        async with core.database.write() as connection:
            await connection.execute(
                text(
                    "INSERT INTO telemetry_event (kiosk_no, stream_no, seq, at, kiosk_at, received_at, basis, hist,"
                    " record_class, kind, component, name, body) VALUES (:kiosk, 1, :seq, :at, :at, :at, 0, false,"
                    " 'p0', 'audit', 'agent', 'maintenance_test', :body)"
                ),
                {"kiosk": number, "seq": int(now.timestamp()), "at": at, "body": json.dumps(said)},
            )

    def code(self, nonce: str, *, after_s: float = 0.0) -> str:
        """What the kiosk shows."""
        at = self.site.clock.utc() + timedelta(seconds=after_s)
        said = CheckIn(KID, int(at.timestamp()), nonce, "5eed")
        signature = self.key.sign(said.said().encode(), ec.ECDSA(hashes.SHA256()))
        return said.code(base64.b64encode(signature).decode())

    async def enrols(self) -> None:
        """Put the kiosk and its certificate into the registry."""
        core, now = self.site.server.core, self.site.clock.utc()
        await core.registry.import_assets(ASSETS, actor="admin", dry_run=False)
        await core.directory.refresh()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, KID)])
        span = now - timedelta(days=1), now + timedelta(days=30)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        made = builder.serial_number(0x5EED).not_valid_before(span[0]).not_valid_after(span[1])
        pem = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        state = next(one for one in CertificateState if one is not CertificateState.REVOKED)
        issued = IssuedCertificate("f", KID, "5eed", "k", pem, span[0], span[1], now, "admin", state)
        async with core.store.writing() as unit:
            await unit.add_certificates([issued])


@asynccontextmanager
async def orders_on(url: str, clock: ManualClock, folder: Path) -> AsyncIterator[Orders]:
    """Serve the API, with an engineer, two leads and the hospital's viewer."""
    async with staff_site(url, clock, folder) as site:
        for name, role in (("li", Role.ENGINEER), ("wang", Role.LEAD), ("zhao", Role.LEAD), ("yuan", Role.VIEWER)):
            await site.adds(name, role)
        found = Orders(site)
        await found.enrols()
        yield found


@pytest.fixture
async def orders(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[Orders]:
    async with orders_on(sqlite_fleet_url, manual_clock, tmp_path) as found:
        yield found


@pytest.fixture
async def stored(fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[Orders]:
    """The same once on each store."""
    async with orders_on(fleet_url, manual_clock, tmp_path) as found:
        yield found


async def test_an_order_is_closed_by_the_kiosks_own_word_only(orders: Orders) -> None:
    made = await orders.done("li", "", {"kid": KID, "component": "printer", "text": "凭条发黑"})
    number, clock = made["number"], orders.site.clock
    assert number == f"WO-{clock.utc().year}-000001"
    clock.advance(60)
    assert (await orders.done("li", f"/{number}/respond"))["response"]["elapsed_s"] == 60
    assert [*await orders.done("li", "/check-in", {"code": orders.code("NONCE001")})] == [number]
    assert await orders.refused("li", "/check-in", {"code": orders.code("NONCE001")}) == "checkin_replayed"
    assert await orders.refused("li", "/check-in", {"code": orders.code("NONCE002", after_s=-700)}) == "checkin_stale"
    clock.advance(60)
    claimed = await orders.done("li", f"/{number}/repair")
    assert (claimed["state"], claimed["missing"][0][-36:]) == (
        "repaired",
        "self-test of this component has arrived"[-36:],
    )
    assert await orders.refused("li", f"/{number}/close") == "repair_unproved"
    await orders.tested(test="status")
    assert await orders.refused("li", f"/{number}/close") == "repair_unproved"
    clock.advance(30)
    await orders.tested()
    clock.advance(600)
    assert await orders.refused("li", f"/{number}/close") == "on_probation"
    _, proved = await orders.call("li", "GET", f"/{number}")
    assert (proved["state"], proved["repair"]["elapsed_s"]) == ("verified", 150)
    clock.advance(7_200)
    orders.sessions.clear()  # nobody stays signed in so long
    assert (await orders.done("li", f"/{number}/close"))["state"] == "closed"


async def test_a_waiver_and_a_pause_take_two_persons(stored: Orders) -> None:
    number = (await stored.done("wang", "", {"kid": KID, "component": "printer", "text": "异响"}))["number"]
    await stored.done("wang", f"/{number}/respond")
    asked = {"reason": "area_locked", "evidence_kind": "document", "evidence": "保卫科通知 2026-11"}
    pause = (await stored.done("wang", f"/{number}/pause", asked))["pauses"][0]
    assert not pause["counts"]
    assert await stored.refused("wang", f"/{number}/pauses/{pause['id']}/approve") == "same_person"
    stored.site.clock.advance(100)
    paused = await stored.done("zhao", f"/{number}/pauses/{pause['id']}/approve")
    assert (paused["state"], paused["repair"]["elapsed_s"]) == ("paused", 0)
    stored.site.clock.advance(100)
    assert (await stored.done("wang", f"/{number}/resume"))["state"] == "responded"
    stored.site.clock.advance(50)
    await stored.done("wang", f"/{number}/waiver", {"reason": "整机送修"})
    assert await stored.refused("wang", f"/{number}/waiver/approve") == "same_person"
    waived = await stored.done("zhao", f"/{number}/waiver/approve")
    assert (waived["state"], waived["repair"]["elapsed_s"], waived["repaired"]["by"]) == ("verified", 50, "zhao")


async def test_a_pause_must_name_evidence_that_is_there(orders: Orders) -> None:
    number = (await orders.done("li", "", {"kid": KID, "text": "网络不通"}))["number"]
    path, reason = f"/{number}/pause", {"reason": "hospital_network"}
    assert (
        await orders.refused("li", path, {**reason, "evidence_kind": "incident", "evidence": "x"}) == "unknown_incident"
    )
    alarm = {**reason, "evidence_kind": "alarm", "evidence": f"{KID}/kiosk/kiosk_offline"}
    assert await orders.refused("li", path, alarm) == "evidence_unknown"
    await orders.site.server.core.alerts.raise_alarm(KID, "kiosk", Fault.KIOSK_OFFLINE, {})
    assert (await orders.done("li", path, alarm))["state"] == "paused"
    document = {**reason, "evidence_kind": "document", "evidence": "x"}
    assert await orders.refused("li", path, document) == "pause_unproved"


async def test_parts_notes_and_photos_belong_to_the_order(stored: Orders) -> None:
    number = (await stored.done("li", "", {"kid": KID, "component": "printer", "text": "卡纸"}))["number"]
    part = {"kid": KID, "component": "printer", "part": "切刀", "serial_out": "C-1", "serial_in": "C-2"}
    found = await stored.done("li", f"/{number}/parts", part)
    assert (found["parts"][0]["serial_in"], found["timeline"][-1]["kind"]) == ("C-2", "part_used")
    await stored.done("li", f"/{number}/notes", {"text": "清洁了传感器"})
    found = await stored.done("li", f"/{number}/photos", {"content": base64.b64encode(PNG).decode()})
    photo = found["photos"][0]
    answer = await stored.site.call(
        "GET", f"/api/v1/orders/{number}/photos/{photo['id']}", session=stored.sessions["li"]
    )
    assert (answer.body, answer.headers["Content-Type"]) == (PNG, "image/png")
    bad = {"content": base64.b64encode(b"#!/bin/sh").decode()}
    assert await stored.refused("li", f"/{number}/photos", bad) == "photo_type"


async def test_the_hospitals_viewer_reads_only(orders: Orders) -> None:
    number = (await orders.done("li", "", {"kid": KID, "text": "x"}))["number"]
    assert (await orders.call("yuan", "GET", ""))[1]["total"] == 1
    assert (await orders.call("yuan", "GET", f"/{number}"))[0] == 200
    assert (await orders.call("yuan", "GET", "/round"))[0] == 200
    assert await orders.refused("yuan", f"/{number}/respond") == "forbidden"
    assert await orders.refused("li", f"/{number}/cancel", {"reason": "x"}) == "forbidden"
    actions = [action for who, action, _ in await orders.site.actions() if who == "li"]
    assert any("orders" in action or "order" in action for action in actions), actions
