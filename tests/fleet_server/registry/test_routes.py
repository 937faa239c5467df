"""The registry's HTTP for staff: filters, pages, permissions, and every refusal as a problem with a stable code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from fleet_server.app import translate
from fleet_server.registry.model import PresenceState
from fleet_server.registry.ports import CapabilityStatus, PresenceStatus
from fleet_server.registry.routes import staff_routes
from fleet_server.staff.permissions import Permission
from kit.web import Api, Hooks, HttpServer
from support.registry import HEAD, Desk
from support.web import Reply, Serve, request_bytes, send, serve
from wire.functions import decode_fields

__all__ = ["serve"]


@dataclass(frozen=True, slots=True)
class Somebody:
    """Stands in for a signed-in person."""

    id: str
    permissions: frozenset[str]


EVERYTHING = Somebody("lead", frozenset(permission.value for permission in Permission))


@dataclass(slots=True)
class Office:
    """The API and who calls it."""

    desk: Desk
    caller: Somebody = EVERYTHING
    server: HttpServer | None = None

    async def authenticate(self, _: web.Request) -> Somebody:
        return self.caller

    async def get(self, path: str) -> Reply:
        assert self.server is not None
        return await send(self.server, request_bytes("GET", path))

    async def post(self, path: str, document: Any = None) -> Reply:  # noqa: ANN401 - JSON
        assert self.server is not None
        headers = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.server.port}"}
        headers["Host"] = f"127.0.0.1:{self.server.port}"
        body = b"" if document is None else json.dumps(document).encode()
        return await send(self.server, request_bytes("POST", path, headers, body))


@pytest.fixture
async def office(sqlite_desk: Desk, serve: Serve) -> Office:
    office = Office(sqlite_desk)
    routes = staff_routes(sqlite_desk.registry, sqlite_desk.enrolment)
    app = web.Application()
    Api("fleet", "1", routes, Hooks(authenticate=office.authenticate, translate=translate)).mount(app)
    office.server = await serve(app)
    return office


def kids(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.document
    return [item["kid"] for item in reply.document["items"]]


class Seen:
    """Presence of some kiosks."""

    def __init__(self, states: Mapping[str, PresenceState]) -> None:
        self._states = states

    async def presence_now(self) -> Mapping[str, PresenceStatus]:
        return {kid: PresenceStatus(state) for kid, state in self._states.items()}


class Able:
    """What two kiosks said; one of them is not heard any more."""

    async def capabilities_now(self) -> Mapping[str, CapabilityStatus]:
        fields = {"print_ticket": "lost printer:paper_out", "pay": "degraded -receipt printer:paper_out"}
        said = CapabilityStatus(decode_fields(fields))
        return {"zzj-002": said, "zzj-003": said}


async def stocked(office: Office) -> None:
    await office.desk.assets(
        "zzj-001,SN-1,大厅,门诊,1F,,,k20",
        "zzj-002,SN-2,药房,门诊,2F,,,k20",
        "zzj-003,SN-3,大厅,住院,1F,,,k20",
    )
    office.desk.statuses.presence = Seen({"zzj-002": PresenceState.ONLINE})
    office.desk.statuses.capabilities = Able()


async def test_a_kiosk_is_shown_with_its_functions_while_it_is_heard(office: Office) -> None:
    await stocked(office)
    heard, silent = [(await office.get(f"/api/v1/kiosks/zzj-00{number}")).document["functions"] for number in (2, 3)]
    assert [(one["function"], one["state"]) for one in heard] == [("print_ticket", "lost"), ("pay", "degraded")]
    assert {one["state"] for one in silent} == {"unknown"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["zzj-001", "zzj-002", "zzj-003"]),
        ("?area=%E9%97%A8%E8%AF%8A", ["zzj-001", "zzj-002"]),
        ("?floor=1F", ["zzj-001", "zzj-003"]),
        ("?presence=online", ["zzj-002"]),
        ("?presence=never", ["zzj-001", "zzj-003"]),
        ("?q=sn-3", ["zzj-003"]),
        ("?q=%E5%A4%A7%E5%8E%85", ["zzj-001", "zzj-003"]),
        ("?q=%25&floor=1F", []),
        ("?function_lost=any", ["zzj-002"]),
        ("?function_lost=print_ticket", ["zzj-002"]),
        ("?function_lost=pay", []),
    ],
)
async def test_the_list_is_filtered(office: Office, query: str, expected: list[str]) -> None:
    await stocked(office)
    assert kids(await office.get(f"/api/v1/kiosks{query}")) == expected


async def test_the_list_comes_in_pages(office: Office) -> None:
    await stocked(office)
    first = await office.get("/api/v1/kiosks?limit=2")
    assert kids(first) == ["zzj-001", "zzj-002"]
    assert first.document["total"] == 3
    second = await office.get(f"/api/v1/kiosks?limit=2&cursor={first.document['next']}")
    assert kids(second) == ["zzj-003"]
    assert second.document["next"] is None


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "presence=maybe",
        "nonsense=1",
        "cursor=%ff",
        "cursor=x",
        "q=" + "x" * 65,
        "function_lost=PAY",
    ],
)
async def test_bad_filters_are_refused(office: Office, query: str) -> None:
    assert (await office.get(f"/api/v1/kiosks?{query}")).status == 422


@pytest.mark.parametrize("kid", ["zzj-404", "..", "%23", "a%2Fb", "x" * 3_000])
async def test_an_unknown_kiosk_is_not_found(office: Office, kid: str) -> None:
    assert (await office.get(f"/api/v1/kiosks/{kid}")).status == 404


async def test_import_enrol_revoke_and_look(office: Office) -> None:
    desk = office.desk
    text = HEAD + "zzj-001,SN-1,大厅,门诊,1F,,,k20"
    checked = await office.post("/api/v1/assets/import", {"csv": text, "dry_run": True})
    assert (checked.document["created"], len(desk.directory.kiosks)) == (1, 0)
    assert (await office.post("/api/v1/assets/import", {"csv": text})).document["created"] == 1
    machine = await desk.asks()
    [waiting] = (await office.get("/api/v1/enrolments")).document["items"]
    path = f"/api/v1/enrolments/{waiting['id']}"
    wrong = await office.post(f"{path}/confirm", {"code": machine.wrong_code, "kid": "zzj-001"})
    assert (wrong.status, wrong.document["code"]) == (422, "code_wrong")
    done = await office.post(f"{path}/confirm", {"code": machine.code, "kid": "zzj-001"})
    assert (done.status, done.document["state"]) == (200, "confirmed")
    assert (await office.post(f"{path}/refuse", {"reason": "x"})).document["code"] == "enrolment_decided"
    revoked = await office.post("/api/v1/kiosks/zzj-001/revoke", {"reason": "stolen"})
    assert (revoked.document["state"], revoked.document["state_reason"]) == ("revoked", "stolen")
    assert revoked.document["certificates"][0]["state"] == "revoked"
    assert (await office.post("/api/v1/kiosks/zzj-001/revoke", {"reason": "x"})).document["code"] == "state_conflict"
    assert (await office.post("/api/v1/kiosks/zzj-001/retire", {"reason": "old"})).document["state"] == "retired"
    assert (await office.get("/api/v1/areas")).document == []


async def test_quarantine_by_hand_and_release(office: Office) -> None:
    await stocked(office)
    refused = await office.post("/api/v1/kiosks/zzj-001/quarantine", {"reason": "strange"})
    assert (refused.status, refused.document["code"]) == (409, "state_conflict")
    await office.desk.enrols("zzj-001")
    held = await office.post("/api/v1/kiosks/zzj-001/quarantine", {"reason": "strange"})
    assert (held.document["state"], held.document["quarantine"]) == ("quarantined", "manual")
    assert (await office.post("/api/v1/kiosks/zzj-001/release")).document["state"] == "enrolled"


async def test_a_bad_list_is_answered_line_by_line(office: Office) -> None:
    reply = await office.post("/api/v1/assets/import", {"csv": HEAD + "#,,p,a,,,,k20"})
    assert (reply.status, reply.document["errors"][0]["line"]) == (200, 2)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/v1/kiosks/zzj-001/revoke", {}),
        ("/api/v1/kiosks/zzj-001/revoke", {"reason": ""}),
        ("/api/v1/kiosks/zzj-001/revoke", {"reason": "x" * 201}),
        ("/api/v1/kiosks/zzj-001/revoke", {"reason": "x", "state": "enrolled"}),
        ("/api/v1/enrolments/x/confirm", {"code": "12345", "kid": "zzj-001"}),
        ("/api/v1/enrolments/x/confirm", {"code": "１２３４５６", "kid": "zzj-001"}),
        ("/api/v1/enrolments/x/confirm", {"code": "123456", "kid": "#"}),
        ("/api/v1/enrolments/x/confirm", {"code": "123456", "kid": "+"}),
        ("/api/v1/enrolments/x/confirm", {"code": "123456", "kid": "a/b"}),
        ("/api/v1/assets/import", {"csv": 7}),
        ("/api/v1/assets/import", []),
    ],
)
async def test_bad_bodies_are_refused_and_change_nothing(office: Office, path: str, document: object) -> None:
    await stocked(office)
    await office.desk.enrols("zzj-001")
    assert (await office.post(path, document)).status == 422
    assert office.desk.registry.accepts("zzj-001")


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/api/v1/kiosks", Permission.KIOSKS_READ),
        ("GET", "/api/v1/kiosks/zzj-001", Permission.KIOSKS_READ),
        ("GET", "/api/v1/areas", Permission.KIOSKS_READ),
        ("GET", "/api/v1/enrolments", Permission.KIOSKS_ENROL),
        ("POST", "/api/v1/assets/import", Permission.ASSETS_IMPORT),
        ("POST", "/api/v1/enrolments/x/confirm", Permission.KIOSKS_ENROL),
        ("POST", "/api/v1/enrolments/x/refuse", Permission.KIOSKS_ENROL),
        ("POST", "/api/v1/kiosks/zzj-001/revoke", Permission.KIOSKS_REVOKE),
        ("POST", "/api/v1/kiosks/zzj-001/quarantine", Permission.KIOSKS_REVOKE),
        ("POST", "/api/v1/kiosks/zzj-001/release", Permission.KIOSKS_ENROL),
        ("POST", "/api/v1/kiosks/zzj-001/retire", Permission.KIOSKS_REVOKE),
    ],
)
async def test_every_operation_needs_exactly_its_permission(
    office: Office, method: str, path: str, permission: Permission
) -> None:
    async def ask() -> int:
        return (await (office.get(path) if method == "GET" else office.post(path, {}))).status

    office.caller = replace(EVERYTHING, permissions=EVERYTHING.permissions - {permission.value})
    assert await ask() == 403
    office.caller = replace(EVERYTHING, permissions=frozenset({permission.value}))
    assert await ask() != 403
