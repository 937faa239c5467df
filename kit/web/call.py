"""What a handler is given (`Call`), and the result types that are more than a model (`FileBody`, `Page`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol

from pydantic import BaseModel
from typing_extensions import TypeVar

from kit.web.problem import REQUEST_ID, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

SIGNED_IN: Final = "signed-in"
"""The permission every authenticated principal has."""


class Principal(Protocol):
    """Somebody, or some machine, that proved who it is."""

    @property
    def id(self) -> str:
        """The stable name used in audit rows and logs."""

    @property
    def permissions(self) -> frozenset[str]:
        """Everything this principal may do."""


P = TypeVar("P", bound=Principal, default=Principal)
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next` is the cursor of the page after it, absent on the last page."""

    items: list[T]
    total: int
    next: str | None = None


@dataclass(frozen=True, slots=True)
class FileBody:
    """A response that is not JSON: bytes in memory or a file on disk."""

    content: bytes | Path
    content_type: str = "application/octet-stream"
    filename: str | None = None
    """When given, the browser saves instead of showing."""


class Call(Generic[P]):
    """One request on its way through a handler, with what the handler wants to add to the response."""

    __slots__ = ("_principal", "cookies", "headers", "request")

    def __init__(self, request: web.Request, principal: P | None) -> None:
        """Wrap a request that passed the permission check of its route."""
        self.request = request
        self._principal = principal
        self.headers: dict[str, str] = {}
        self.cookies: list[Cookie] = []

    @property
    def principal(self) -> P:
        """The caller; only for routes with a permission."""
        if self._principal is None:
            raise AssertionError("a public route has no principal")
        return self._principal

    @property
    def principal_or_none(self) -> P | None:
        """The caller, None on a public route."""
        return self._principal

    @property
    def request_id(self) -> str:
        """The id of this request in logs, audit rows and problem documents."""
        request_id: str = self.request.get(REQUEST_ID, "")
        return request_id

    @property
    def remote(self) -> str:
        """The address of the other end of the connection (a proxy's, behind a proxy)."""
        return self.request.remote or ""

    def set_cookie(self, cookie: Cookie) -> None:
        """Send a cookie with the response."""
        self.cookies.append(cookie)

    def set_etag(self, version: int | str) -> None:
        """State the version of the resource; a GET with the same If-None-Match is answered 304."""
        self.headers["ETag"] = f'"{version}"'

    def require_match(self, version: int | str) -> None:
        """Go on only when the client's If-Match names the version the resource has now.

        Raises:
            Problem: 428 when the header is absent, 412 when another version is there.

        """
        header = self.request.headers.get("If-Match")
        if header is None:
            raise Problem(428, "precondition_required", "If-Match with the version you read is required")
        if not etag_matches(header, f'"{version}"'):
            raise Problem(412, "version_changed", "The resource was changed by somebody else")


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie with the safe attributes as default; `max_age_s=0` deletes it."""

    name: str
    value: str
    max_age_s: int | None = None
    path: str = "/"
    secure: bool = True
    http_only: bool = True
    same_site: str = "Strict"


def etag_matches(header: str, etag: str) -> bool:
    """Tell whether an If-Match or If-None-Match header names this (strong) entity tag."""
    return header.strip() == "*" or etag in (part.strip() for part in header.split(","))


def peer_certificate(request: web.Request) -> bytes | None:
    """Return the client's verified certificate in DER, None without one."""
    transport = request.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    if tls is None:
        return None
    certificate: bytes | None = tls.getpeercert(binary_form=True)
    return certificate
