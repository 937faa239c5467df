"""IPP over HTTP to one printer: one exchange, one connection, one deadline; a request is never repeated here.

Not a `ByteLink`: a message goes there and a message comes back. `aiohttp`'s client is loaded with this module only;
on top of the server side that the agent has anyway it costs nothing that could be measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext, SSLError, create_default_context
from urllib.parse import parse_qs, urlsplit

import aiohttp

from agent.links.base import LinkError, LinkLost, LinkTimeout
from wire.profile import LinkProfile

REPLY_BYTES_MAX = 256 * 1_024
CONNECT_S = 5.0
_CHUNK_BYTES = 64 * 1_024
_IPP = "application/ipp"
_PORT = 631
_PATH = "/ipp/print"


class HttpRefused(LinkError):
    """The other side speaks HTTP but does not take IPP here; `status` is what it said."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} answered HTTP {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class IppAddress:
    """Where a printer is; `trust` makes it ipps: certificates, or the fingerprint of the only one that is taken."""

    host: str
    port: int = _PORT
    path: str = _PATH
    trust: SSLContext | aiohttp.Fingerprint | None = None

    @classmethod
    def of(cls, address: str, link: LinkProfile) -> IppAddress:
        """From `host`, `host:port`, or a whole `ipp://host:port/path`; the profile says what is left out.

        `ipps://host/path?ca=FILE` trusts the certificate authorities in FILE and checks the name; with
        `?fingerprint=SHA256` exactly one certificate is taken, as printers sign their own.

        Raises:
            ValueError: it is no address, or is `ipps://` and does not say what to trust.
        """
        port, path = link.options.get("port"), link.options.get("path")
        parts = urlsplit(address if "://" in address else f"ipp://{address}")
        if parts.scheme not in {"ipp", "ipps"} or not parts.hostname:
            raise ValueError(f"no address of a printer: {address}")
        trust = _trust(parts.query, address) if parts.scheme == "ipps" else None
        return cls(
            parts.hostname,
            parts.port or (port if isinstance(port, int) else _PORT),
            parts.path or (path if isinstance(path, str) else _PATH),
            trust,
        )

    @property
    def uri(self) -> str:
        """The printer-uri."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "ipps" if self.trust is not None else "ipp"
        return f"{scheme}://{host}:{self.port}{self.path}"

    @property
    def url(self) -> str:
        """The same for HTTP."""
        return "http" + self.uri.removeprefix("ipp")


def _trust(query: str, address: str) -> SSLContext | aiohttp.Fingerprint:
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    try:
        match given:
            case {"fingerprint": text, **rest} if not rest:
                return aiohttp.Fingerprint(bytes.fromhex(text.replace(":", "")))
            case {"ca": file, **rest} if not rest:
                return create_default_context(cafile=file)
            case _:
                raise ValueError(f"ipps needs ?ca=FILE or ?fingerprint=SHA256: {address}")
    except (OSError, SSLError) as error:
        raise ValueError(f"no certificates to trust: {address}: {error}") from None


class IppLink:
    """The way to one printer."""

    def __init__(self, address: IppAddress) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Where it leads, for logs."""
        return self._address.uri

    @property
    def uri(self) -> str:
        """The printer-uri that requests have to carry."""
        return self._address.uri

    @property
    def is_open(self) -> bool:
        """Whether exchanges are possible; a printer that is gone shows in an exchange only."""
        return self._session is not None

    async def open(self) -> None:
        """Make ready; nothing is connected yet."""
        if self._session is None:
            secure = self._address.trust
            connector = aiohttp.TCPConnector(force_close=True, limit=4, ssl=True if secure is None else secure)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            )

    async def exchange(self, request: bytes, document: bytes = b"", *, timeout_s: float) -> bytes:
        """Send a request, with its document behind it, and return the reply.

        Raises:
            LinkTimeout: no whole reply in time; the printer may have taken the request.
            LinkLost: not reachable, or the connection broke; `Unreached` when nothing of the request was sent.
            HttpRefused: it answered, but not to IPP.
        """
        if self._session is None:
            raise Unreached(f"{self.name} is closed")
        limits = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, CONNECT_S))
        headers = {"Content-Type": _IPP, "Content-Length": str(len(request) + len(document))}
        try:
            async with self._session.post(
                self._address.url,
                data=_parts(request, document),
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as reply:
                if reply.status != HTTPStatus.OK or reply.content_type != _IPP:
                    raise HttpRefused(self.name, reply.status)
                return await _limited(reply, self.name)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreached(f"{self.name} is not reachable") from error
        except TimeoutError as error:
            raise LinkTimeout(f"{self.name} did not answer in {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LinkLost(f"{self.name} broke the connection") from error

    async def close(self) -> None:
        """Let go; closing twice is harmless."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class Unreached(LinkLost):
    """There was no connection, so that nothing of the request can have been sent."""


async def _parts(request: bytes, document: bytes) -> AsyncIterator[bytes]:
    yield request
    for start in range(0, len(document), _CHUNK_BYTES):
        yield document[start : start + _CHUNK_BYTES]
        await asyncio.sleep(0)


async def _limited(reply: aiohttp.ClientResponse, name: str) -> bytes:
    found = bytearray()
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        found += chunk
        if len(found) > REPLY_BYTES_MAX:
            raise LinkLost(f"{name} answers without an end")
    return bytes(found)
