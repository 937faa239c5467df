"""Declaring routes: what is read from a handler, what is refused at once, and the document it becomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from kit.web import SIGNED_IN, Api, Call, FileBody, Hooks, Page, RouteError, Routes


class _Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class _Card(BaseModel):
    kind: Literal["card"] = "card"
    number_tail: str


class _Code(BaseModel):
    kind: Literal["code"] = "code"
    digits: int


_Proof = Annotated[_Card | _Code, Field(discriminator="kind")]


class _Tree(BaseModel):
    name: str
    parts: list[_Tree] = []


class _Filter(BaseModel):
    area: str | None = Field(default=None, description="Where it stands")
    colour: list[_Colour] = []
    limit: int = Field(default=50, ge=1, le=500)
    start: str = Field(default="", alias="from")


class _Both(BaseModel):
    """Differs between reading and writing, because a default makes a field optional on the way in only."""

    note: str = ""


async def _nobody(_request: web.Request) -> None:
    return None


def _routes() -> Routes:
    routes = Routes("things")

    @routes.get("/api/v1/things", permission="things.read", summary="List")
    async def list_things(call: Call, query: _Filter) -> Page[_Proof]:
        """Explain the list."""
        raise NotImplementedError

    @routes.get("/api/v1/things/{number}/{colour}", permission=SIGNED_IN, summary="One")
    async def show(call: Call, number: Annotated[int, Field(ge=1)], colour: _Colour) -> _Tree | None:
        raise NotImplementedError

    @routes.post("/api/v1/things", permission="things.write", summary="Add", status=201, responses={409: "Exists"})
    async def add(call: Call, body: _Proof) -> _Both:
        raise NotImplementedError

    @routes.put("/api/v1/things/{name}", permission="things.write", summary="Replace", deprecated=True)
    async def replace(call: Call, name: str, body: _Both | None) -> None:
        raise NotImplementedError

    @routes.delete("/api/v1/things/{name}", permission="things.write", summary="Remove")
    async def remove(call: Call, name: str) -> None:
        raise NotImplementedError

    @routes.get("/api/v1/export", permission="things.read", summary="Export")
    async def export(call: Call) -> FileBody:
        raise NotImplementedError

    @routes.get("/api/v1/live", permission="things.read", summary="Live")
    async def live(call: Call) -> web.WebSocketResponse:
        raise NotImplementedError

    @routes.get("/api/v1/health", permission=None, summary="Health")
    async def health(call: Call) -> dict[str, int]:
        raise NotImplementedError

    @routes.patch("/api/v1/many", permission="things.write", summary="Change many")
    async def change_many(call: Call, body: list[_Both]) -> list[_Proof]:
        raise NotImplementedError

    return routes


@pytest.fixture
def document() -> dict[str, Any]:
    return Api("Things", "1.0", [_routes()], Hooks(authenticate=_nobody)).openapi()


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {"title": "Things", "version": "1.0"}


def test_an_api_without_routes_is_valid_too() -> None:
    OpenAPIV31SpecValidator(Api("Nothing", "1", []).openapi()).validate()


def test_generics_unions_and_recursion_are_components(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    page = next(schema for name, schema in schemas.items() if name.startswith("Page_"))
    union = page["properties"]["items"]["items"]
    assert union["discriminator"]["propertyName"] == "kind"
    assert {part["$ref"] for part in union["oneOf"]} == {
        "#/components/schemas/_Card-Output",
        "#/components/schemas/_Code-Output",
    }
    assert schemas["_Tree"]["properties"]["parts"]["items"]["$ref"] == "#/components/schemas/_Tree"
    assert "required" not in schemas["_Both-Input"], "a default may be left out"
    assert schemas["_Both-Output"]["required"] == ["note"], "but is always sent"
    assert page["required"] == ["items", "total", "next"]
    assert "_Filter" not in schemas, "a query model is spread into parameters"


def test_query_and_path_are_parameters(document: dict[str, Any]) -> None:
    listing = {item["name"]: item for item in document["paths"]["/api/v1/things"]["get"]["parameters"]}
    assert set(listing) == {"area", "colour", "limit", "from"}
    assert all(item["in"] == "query" and item["required"] is False for item in listing.values())
    assert listing["limit"]["schema"]["maximum"] == 500
    assert listing["area"]["description"] == "Where it stands"
    one = document["paths"]["/api/v1/things/{number}/{colour}"]["get"]["parameters"]
    assert [(item["name"], item["in"], item["required"]) for item in one] == [
        ("number", "path", True),
        ("colour", "path", True),
    ]
    assert one[0]["schema"] == {"type": "integer", "minimum": 1}


def test_permissions_and_problems_are_in_the_document(document: dict[str, Any]) -> None:
    add = document["paths"]["/api/v1/things"]["post"]
    assert add["operationId"] == "things.add"
    assert add["x-permission"] == "things.write"
    assert set(add["responses"]) == {"201", "401", "403", "409", "422", "default"}
    assert "application/problem+json" in add["responses"]["409"]["content"]
    health = document["paths"]["/api/v1/health"]["get"]
    assert health["x-permission"] is None
    assert health["security"] == []
    assert set(health["responses"]) == {"200", "default"}
    replace = document["paths"]["/api/v1/things/{name}"]["put"]
    assert replace["deprecated"] is True
    assert replace["requestBody"]["required"] is False
    assert "204" in replace["responses"]
    assert document["paths"]["/api/v1/things"]["get"]["description"] == "Explain the list."


_Broken = Callable[[Routes], Awaitable[None] | None]


def _no_call(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(request: web.Request) -> None: ...


def _no_arguments(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler() -> None: ...


def _not_async(routes: Routes) -> None:
    def handler(call: Call) -> None: ...

    routes.get("/a", permission=None, summary="")(handler)  # type: ignore[type-var] # what mypy refuses too


def _unannotated(routes: Routes) -> None:
    @routes.get("/a/{name}", permission=None, summary="")
    async def handler(call: Call, name) -> None: ...  # type: ignore[no-untyped-def] # the point  # noqa: ANN001


def _no_return_type(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(call: Call): ...  # type: ignore[no-untyped-def] # the point  # noqa: ANN202


def _missing_path_parameter(routes: Routes) -> None:
    @routes.get("/a/{name}", permission=None, summary="")
    async def handler(call: Call) -> None: ...


def _unknown_parameter(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(call: Call, name: str) -> None: ...


def _same_name_twice(routes: Routes) -> None:
    @routes.get("/a/{name}/{name}", permission=None, summary="")
    async def handler(call: Call, name: str) -> None: ...


def _path_parameter_of_wrong_type(routes: Routes) -> None:
    @routes.get("/a/{name}", permission=None, summary="")
    async def handler(call: Call, name: list[str]) -> None: ...


def _query_that_is_no_model(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(call: Call, query: dict[str, str]) -> None: ...


def _get_with_body(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(call: Call, body: _Both) -> None: ...


def _empty_permission(routes: Routes) -> None:
    @routes.get("/a", permission="", summary="")
    async def handler(call: Call) -> None: ...


def _regular_expression(routes: Routes) -> None:
    @routes.get("/a/{name:.*}", permission=None, summary="")
    async def handler(call: Call, name: str) -> None: ...


def _relative_path(routes: Routes) -> None:
    @routes.get("a", permission=None, summary="")
    async def handler(call: Call) -> None: ...


def _type_that_is_not_there(routes: Routes) -> None:
    @routes.get("/a", permission=None, summary="")
    async def handler(call: Call, query: NoSuchType) -> None: ...  # type: ignore[name-defined] # the point  # noqa: F821


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (_no_call, "first parameter"),
        (_no_arguments, "first parameter"),
        (_not_async, "async function"),
        (_unannotated, "no annotation"),
        (_no_return_type, "return type"),
        (_missing_path_parameter, "the path has"),
        (_unknown_parameter, "the path has"),
        (_same_name_twice, "the path has"),
        (_path_parameter_of_wrong_type, "must be str, int, bool"),
        (_query_that_is_no_model, "pydantic model"),
        (_get_with_body, "no body"),
        (_empty_permission, "permission"),
        (_regular_expression, "a path is"),
        (_relative_path, "a path is"),
        (_type_that_is_not_there, "outside TYPE_CHECKING"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(declare: _Broken, reason: str) -> None:
    with pytest.raises(RouteError, match=reason) as caught:
        declare(Routes("broken"))
    assert "/a" in str(caught.value) or "a (" in str(caught.value), "names the route"


def test_a_permission_without_anybody_to_check_it_is_refused() -> None:
    with pytest.raises(RouteError, match="authenticate"):
        Api("x", "1", [_routes()])


def test_the_same_route_twice_is_refused() -> None:
    with pytest.raises(RouteError, match="twice"):
        Api("x", "1", [_routes(), _routes()], Hooks(authenticate=_nobody))
