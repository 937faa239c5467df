"""What a request goes through: who, validation, the handler, the answer, and what is written down about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from aiohttp import web
from pydantic import BaseModel, Field, field_validator
from structlog.testing import capture_logs

from kit.web import SIGNED_IN, Api, Audited, Call, Cookie, FileBody, Hooks, HttpServer, Page, Problem, Routes
from support.web import RawConnection, Reply, Serve, request_bytes, send

_CANARY = "110101199003078515"


@dataclass(frozen=True, slots=True)
class _Staff:
    id: str
    permissions: frozenset[str]


class _Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"


class _Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    amount_fen: int = Field(ge=1)


class _Card(BaseModel):
    kind: Literal["card"] = "card"
    token: str = Field(min_length=4, max_length=12)

    @field_validator("token")
    @classmethod
    def _no_spaces(cls, value: str) -> str:
        if " " in value:
            raise ValueError("must not have spaces")
        return value


_Payment = Annotated[_Cash | _Card, Field(discriminator="kind")]


class _Filter(BaseModel):
    tag: list[str] = []
    limit: int = Field(default=10, le=100)
    since: datetime | None = Field(default=None, alias="from")


class _Echo(BaseModel):
    text: str


class _PaperOut(Exception):
    pass


class _Recorder:
    """What the hooks were told."""

    def __init__(self) -> None:
        self.audited: list[Audited[_Staff]] = []
        self.observed: list[tuple[str, int, float]] = []
        self.audit_fails = False

    async def audit(self, entry: Audited[_Staff]) -> None:
        if self.audit_fails:
            raise OSError("the audit table is gone")
        self.audited.append(entry)

    def observe(self, operation: str, status: int, seconds: float) -> None:
        self.observed.append((operation, status, seconds))


_STAFF = {
    "reader": _Staff("reader", frozenset({"read"})),
    "nobody-much": _Staff("nobody-much", frozenset()),
    "writer": _Staff("writer", frozenset({"read", "write"})),
}


async def _authenticate(request: web.Request) -> _Staff | None:
    name = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if name == "expired":
        raise Problem(401, "session_expired", "The session has expired")
    return _STAFF.get(name)


def _translate(error: Exception) -> Problem | None:
    return Problem(409, "paper_out", "No paper") if isinstance(error, _PaperOut) else None


def _reading(routes: Routes, file: Path) -> None:
    @routes.get("/things", permission="read", summary="List")
    async def listing(call: Call[_Staff], query: _Filter) -> Page[_Echo]:
        items = [_Echo(text=tag) for tag in query.tag]
        return Page(items=items, total=query.limit, next=query.since.isoformat() if query.since else None)

    @routes.get("/things/{number}/{side}/{name}", permission=SIGNED_IN, summary="One")
    async def one(call: Call[_Staff], number: int, side: _Side, name: str) -> _Echo:
        return _Echo(text=f"{number} {side} {name} {call.principal.id}")

    @routes.get("/versioned", permission=None, summary="With a version")
    async def versioned(call: Call[_Staff]) -> _Echo:
        call.set_etag(7)
        return _Echo(text="seven")

    @routes.get("/file", permission=None, summary="A file")
    async def download(call: Call[_Staff]) -> FileBody:
        return FileBody(file, "text/csv", filename="报表 1.csv")

    @routes.get("/text", permission=None, summary="Bytes")
    async def text(call: Call[_Staff]) -> FileBody:
        return FileBody(b"up 1\n", "text/plain; version=0.0.4")

    @routes.get("/public", permission=None, summary="Public")
    async def public(call: Call[_Staff]) -> dict[str, bool]:
        return {"is_known": call.principal_or_none is not None}

    @routes.get("/wrong", permission=None, summary="Breaks its promise")
    async def wrong(call: Call[_Staff]) -> FileBody:
        return "no file"  # type: ignore[return-value] # the point


def _writing(routes: Routes) -> None:
    @routes.post("/payments", permission="write", summary="Pay", status=201)
    async def pay(call: Call[_Staff], body: _Payment) -> _Payment:
        return body

    @routes.post("/note", permission=None, summary="Optional body", body_bytes=64)
    async def note(call: Call[_Staff], body: _Echo | None) -> _Echo:
        return body or _Echo(text="nothing")

    @routes.put("/versioned", permission="write", summary="Replace")
    async def replace(call: Call[_Staff], body: _Echo) -> None:
        call.require_match(7)

    @routes.post("/login", permission=None, summary="Cookie")
    async def login(call: Call[_Staff]) -> None:
        call.set_cookie(Cookie("__Host-session", "secret", max_age_s=60))

    @routes.post("/break/{how}", permission=None, summary="Fails")
    async def break_it(call: Call[_Staff], how: str) -> None:
        errors: dict[str, Callable[[], Exception]] = {
            "problem": lambda: Problem(418, "teapot", "Teapot", "Short and stout", {"cups": 2}),
            "paper": _PaperOut,
            "bug": lambda: KeyError(_CANARY),
            "http": web.HTTPGone,
            "timeout": TimeoutError,
        }
        error = errors[how]()
        raise error


@pytest.fixture
def recorder() -> _Recorder:
    return _Recorder()


@pytest.fixture
async def server(serve: Serve, recorder: _Recorder, tmp_path: Path) -> HttpServer:
    file = tmp_path / "report.csv"
    file.write_bytes(b"a,b\n1,2\n" * 1000)
    routes = Routes("t")
    _reading(routes, file)
    _writing(routes)
    hooks = Hooks(authenticate=_authenticate, audit=recorder.audit, translate=_translate, observe=recorder.observe)
    app = web.Application()
    Api("t", "1", [routes], hooks).mount(app)
    return await serve(app)


_AS_WRITER = {"Authorization": "Bearer writer"}


async def _get(server: HttpServer, path: str, **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await send(server, request_bytes("GET", path, {**_AS_WRITER, **names}))


async def _post(
    server: HttpServer, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
) -> Reply:
    given = {"Origin": server.url.replace(f":{server.port}", ""), "Content-Type": "application/json"}
    return await send(server, request_bytes(method, path, {**given, **_AS_WRITER, **(headers or {})}, body))


async def test_a_model_comes_back_as_json(server: HttpServer) -> None:
    reply = await _get(server, "/things?tag=a&tag=%E7%BA%B8&limit=5&from=2026-11-23T02:00:00Z")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.document == {
        "items": [{"text": "a"}, {"text": "纸"}],
        "total": 5,
        "next": datetime(2026, 11, 23, 2, tzinfo=UTC).isoformat(),
    }


async def test_path_parameters_are_typed(server: HttpServer) -> None:
    reply = await _get(server, "/things/5/left/%2F%E4%BA%8C")
    assert reply.document == {"text": "5 left /二 writer"}


@pytest.mark.parametrize(
    ("path", "location", "code"),
    [
        ("/things/five/left/x", "path.number", "int_parsing"),
        ("/things/5/up/x", "path.side", "enum"),
        ("/things?limit=101", "query.limit", "less_than_equal"),
        ("/things?limit=x&limit=2", "query.limit", "int_parsing"),
        ("/things?from=yesterday", "query.from", "datetime_from_date_parsing"),
    ],
)
async def test_wrong_parameters_are_named(server: HttpServer, path: str, location: str, code: str) -> None:
    reply = await _get(server, path)
    assert reply.status == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert [(error["location"], error["code"]) for error in reply.document["errors"]] == [(location, code)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"kind":"cash","amount_fen":1}', 201),
        ('{"kind":"card","token":"四个字符"}'.encode(), 201),
        (b'{"kind":"cash","amount_fen":0}', 422),
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"kind":"cash","amount_fen":1}{}', 422),
        (b'{"kind":"cash","amount_fen":1e400}', 422),
        (b"\xff\xfe", 422),
        (b"[" * 5000, 422),
        (b'{"kind":"card","token":"' + b"\\ud800" * 4 + b'"}', 422),
    ],
)
async def test_bodies(server: HttpServer, body: bytes, status: int) -> None:
    assert (await _post(server, "/payments", body)).status == status


@pytest.mark.parametrize(
    "body",
    [
        f'{{"kind":"{_CANARY}"}}',
        f'{{"kind":"card","token":"{_CANARY}"}}',
        f'{{"kind":"card","token":"a {_CANARY[:8]}"}}',
        f'{{"kind":"cash","amount_fen":"x{_CANARY}"}}',
        f'{{"kind":"cash","{_CANARY}":1}}',
        f'{{"kind":"cash","amount_fen":{{"{_CANARY}":1}}}}',
        f'{{"{_CANARY}":',
        f'["{_CANARY}"]',
        _CANARY,
    ],
)
async def test_no_answer_and_no_log_repeats_the_input(server: HttpServer, body: str) -> None:
    with capture_logs() as logs:
        reply = await _post(server, "/payments", body.encode())
    assert reply.status == 422
    assert _CANARY.encode()[:8] not in reply.body
    assert _CANARY not in str(logs)


async def test_an_optional_body_may_be_missing(server: HttpServer) -> None:
    assert (await _post(server, "/note", b"")).document == {"text": "nothing"}
    assert (await _post(server, "/note", b'{"text":"x"}')).document == {"text": "x"}
    assert (await _post(server, "/note", b"null")).document == {"text": "nothing"}


async def test_a_route_may_have_a_smaller_limit(server: HttpServer) -> None:
    most = b'{"text":"' + b"x" * 53 + b'"}'
    assert len(most) == 64
    assert (await _post(server, "/note", most)).status == 200
    reply = await _post(server, "/note", most.replace(b"}", b" }"))
    assert (reply.status, reply.document["limit_bytes"]) == (413, 64)


async def test_nobody_is_401_and_somebody_without_permission_is_403(server: HttpServer) -> None:
    nobody = await _get(server, "/things", Authorization="Bearer stranger")
    assert (nobody.status, nobody.document["code"]) == (401, "unauthenticated")
    assert "www-authenticate" in nobody.headers
    reader = await _post(server, "/payments", b"{}", {"Authorization": "Bearer reader"})
    assert (reader.status, reader.document["code"]) == (403, "forbidden")
    expired = await _get(server, "/things", Authorization="Bearer expired")
    assert (expired.status, expired.document["code"]) == (401, "session_expired")


async def test_signed_in_is_enough_where_it_says_so(server: HttpServer) -> None:
    assert (await _get(server, "/things/1/left/x", Authorization="Bearer reader")).status == 200
    assert (await _get(server, "/things/1/left/x", Authorization="Bearer stranger")).status == 401


async def test_a_public_route_asks_nobody(server: HttpServer) -> None:
    assert (await _get(server, "/public", Authorization="Bearer expired")).document == {"is_known": False}


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("problem", 418, "teapot"),
        ("paper", 409, "paper_out"),
        ("http", 410, "gone"),
        ("bug", 500, "internal_error"),
        ("timeout", 500, "internal_error"),
    ],
)
async def test_failures_are_problems(server: HttpServer, how: str, status: int, code: str) -> None:
    with capture_logs() as logs:
        reply = await _post(server, f"/break/{how}", b"")
    document = reply.document
    assert (reply.status, document["status"], document["code"]) == (status, status, code)
    assert document["type"] == f"urn:problem-type:{code}"
    assert document["request_id"] == reply.headers["x-request-id"]
    assert _CANARY.encode() not in reply.body
    incidents = [entry for entry in logs if entry["event"] == "http.incident"]
    assert [entry["incident"] for entry in incidents] == ([document["incident"]] if status == 500 else [])
    assert all(entry["exc_info"] is not None and entry["operation"] == "t.break_it" for entry in incidents)


async def test_a_problem_carries_its_members(server: HttpServer) -> None:
    document = (await _post(server, "/break/problem", b"")).document
    assert (document["title"], document["detail"], document["cups"]) == ("Teapot", "Short and stout", 2)


async def test_a_handler_that_breaks_its_promise_is_an_incident(server: HttpServer) -> None:
    assert (await _get(server, "/wrong")).document["code"] == "internal_error"


async def test_unknown_paths_and_methods_are_problems(server: HttpServer) -> None:
    missing = await _get(server, "/nothing/here")
    assert (missing.status, missing.document["code"]) == (404, "not_found")
    assert missing.headers["content-type"] == "application/problem+json"
    refused = await _post(server, "/public", b"")
    assert (refused.status, refused.document["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET,HEAD"


async def test_a_version_saves_the_body(server: HttpServer) -> None:
    first = await _get(server, "/versioned")
    assert first.headers["etag"] == '"7"'
    assert (await _get(server, "/versioned", If_None_Match='"6", "7"')).status == 304
    assert (await _get(server, "/versioned", If_None_Match='"6"')).status == 200


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [(None, 428, "precondition_required"), ('"6"', 412, "version_changed"), ('"7"', 204, None), ("*", 204, None)],
)
async def test_a_change_needs_the_version_it_was_based_on(
    server: HttpServer, if_match: str | None, status: int, code: str | None
) -> None:
    headers = {} if if_match is None else {"If-Match": if_match}
    reply = await _post(server, "/versioned", b'{"text":"x"}', headers, method="PUT")
    assert reply.status == status
    assert code is None or reply.document["code"] == code


async def test_files_are_sent_whole_in_parts_and_not_twice(server: HttpServer) -> None:
    whole = await _get(server, "/file")
    assert (whole.status, whole.headers["content-type"], len(whole.body)) == (200, "text/csv", 8000)
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''%E6%8A%A5%E8%A1%A8%201.csv"
    part = await _get(server, "/file", Range="bytes=4-7")
    assert (part.status, part.body) == (206, b"1,2\n")
    text = await _get(server, "/text")
    assert (text.body, text.headers["content-type"]) == (b"up 1\n", "text/plain; version=0.0.4")


async def test_cookies_are_safe_by_default(server: HttpServer) -> None:
    cookie = (await _post(server, "/login", b"")).headers["set-cookie"]
    assert cookie.startswith("__Host-session=secret;")
    for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=60"):
        assert part in cookie


async def test_every_attempt_to_change_something_is_audited(server: HttpServer, recorder: _Recorder) -> None:
    await _post(server, "/payments", b'{"kind":"cash","amount_fen":1}')
    await _post(server, "/payments", b"{")
    await _post(server, "/payments", b"{}", {"Authorization": "Bearer reader"})
    await _post(server, "/payments", b"{}", {"Authorization": "Bearer stranger"})
    await _get(server, "/things")
    await _get(server, "/things", Authorization="Bearer stranger")
    assert [(entry.operation, entry.status, entry.code) for entry in recorder.audited] == [
        ("t.pay", 201, None),
        ("t.pay", 422, "invalid_request"),
        ("t.pay", 403, "forbidden"),
        ("t.pay", 401, "unauthenticated"),
    ]
    assert [entry.principal and entry.principal.id for entry in recorder.audited] == [
        "writer",
        "writer",
        "reader",
        None,
    ]
    assert {(entry.method, entry.path, entry.remote) for entry in recorder.audited} == {
        ("POST", "/payments", "127.0.0.1")
    }
    assert all(entry.request_id for entry in recorder.audited)


async def test_a_look_that_its_caller_may_not_have_is_audited(server: HttpServer, recorder: _Recorder) -> None:
    assert (await _get(server, "/things", Authorization="Bearer nobody-much")).status == 403
    (entry,) = recorder.audited
    assert (entry.operation, entry.method, entry.status, entry.code) == ("t.listing", "GET", 403, "forbidden")
    assert entry.principal is not None
    assert entry.principal.id == "nobody-much"


async def test_a_change_that_could_not_be_audited_does_not_look_like_a_success(
    server: HttpServer, recorder: _Recorder
) -> None:
    recorder.audit_fails = True
    reply = await _post(server, "/payments", b'{"kind":"cash","amount_fen":1}')
    assert (reply.status, reply.document["code"]) == (500, "internal_error")


async def test_every_request_is_observed(server: HttpServer, recorder: _Recorder) -> None:
    await _get(server, "/things")
    await _get(server, "/things", Authorization="x")
    assert [(operation, status) for operation, status, _ in recorder.observed] == [
        ("t.listing", 200),
        ("t.listing", 401),
    ]
    assert all(0 <= seconds < 5 for _, _, seconds in recorder.observed)


async def test_a_request_id_is_taken_over_only_when_harmless(server: HttpServer) -> None:
    assert (await _get(server, "/public", X_Request_Id="trace-0001")).headers["x-request-id"] == "trace-0001"
    own = (await _get(server, "/public", X_Request_Id="a b")).headers["x-request-id"]
    assert own != "a b"
    assert own != (await _get(server, "/public")).headers["x-request-id"]


async def test_head_is_get_without_the_body(server: HttpServer) -> None:
    reply = await send(server, request_bytes("HEAD", "/text"))
    assert (reply.status, reply.headers["content-length"]) == (200, "5")


async def test_a_body_that_ends_in_the_middle_is_no_incident(server: HttpServer) -> None:
    with capture_logs() as logs:
        async with RawConnection(server.port) as connection:
            head = {
                "Origin": "http://127.0.0.1",
                "Content-Type": "application/json",
                "Content-Length": "100",
                **_AS_WRITER,
            }
            await connection.send(request_bytes("POST", "/payments", head, b'{"kind"'))
            connection.writer.write_eof()
            await connection.rest()
        for _ in range(3):
            await asyncio.sleep(0)
        assert (await _get(server, "/public")).status == 200
    assert [entry for entry in logs if entry["log_level"] in {"error", "critical"}] == []
