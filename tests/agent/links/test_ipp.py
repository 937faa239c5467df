"""The HTTP side of IPP against peers that behave badly."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.devices.report_printer.frames import decode_reply
from agent.links.base import LinkLost, LinkTimeout
from agent.links.ipp import REPLY_BYTES_MAX, HttpRefused, IppAddress, IppLink, Unreached
from simulators.devices.report_printer import ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from support.golden import golden_frames
from support.pki import Pki
from support.ports import free_port
from wire.envelope import Scalar
from wire.profile import LinkKind, LinkProfile

_IPP = b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n"


@asynccontextmanager
async def _peer(answer: bytes | None) -> AsyncIterator[tuple[IppLink, list[bytes]]]:
    """A peer that takes one request and gives this answer; nothing at all for None."""
    heard: list[bytes] = []
    release = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"end"))
        if answer is None:
            await release.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    link = IppLink(IppAddress("127.0.0.1", server.sockets[0].getsockname()[1]))
    await link.open()
    try:
        yield link, heard
    finally:
        release.set()
        await link.close()
        server.close()
        await server.wait_closed()


async def test_a_request_with_its_document_and_the_reply() -> None:
    async with _peer(_IPP + b"Content-Length: 5\r\n\r\nreply") as (link, heard):
        assert await link.exchange(b"request", b"document end", timeout_s=2.0) == b"reply"
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert body == b"requestdocument end"
    assert b"Content-Length: 19" in head
    assert b"Content-Type: application/ipp" in head


async def test_a_peer_that_never_answers() -> None:
    async with _peer(None) as (link, _):
        with pytest.raises(LinkTimeout):
            await link.exchange(b"end", timeout_s=0.2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no http at all\r\n\r\n",
        _IPP + b"Content-Length: 50\r\n\r\nhalf",
        _IPP + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _IPP + b"Content-Length: %d\r\n\r\n" % (2 * REPLY_BYTES_MAX) + b"x" * (2 * REPLY_BYTES_MAX),
    ],
    ids=["closed", "no-http", "cut", "bad-chunk", "endless"],
)
async def test_replies_that_are_none(answer: bytes) -> None:
    async with _peer(answer) as (link, _):
        with pytest.raises(LinkLost) as caught:
            await link.exchange(b"end", timeout_s=2.0)
    assert not isinstance(caught.value, Unreached)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503),
    ],
)
async def test_answers_that_are_no_ipp(answer: bytes, status: int) -> None:
    async with _peer(answer) as (link, _):
        with pytest.raises(HttpRefused) as caught:
            await link.exchange(b"end", timeout_s=2.0)
    assert caught.value.status == status


async def test_nobody_there_and_a_closed_link() -> None:
    link = IppLink(IppAddress("127.0.0.1", free_port()))
    with pytest.raises(Unreached):
        await link.exchange(b"end", timeout_s=1.0)
    await link.open()
    assert link.is_open
    with pytest.raises(Unreached):
        await link.exchange(b"end", timeout_s=1.0)
    await link.close()
    await link.close()
    assert not link.is_open


@pytest.mark.parametrize(
    ("address", "options", "uri"),
    [
        ("10.1.2.3", {}, "ipp://10.1.2.3:631/ipp/print"),
        ("10.1.2.3:8631", {"port": 700, "path": "/ipp"}, "ipp://10.1.2.3:8631/ipp"),
        ("printer", {"port": 700}, "ipp://printer:700/ipp/print"),
        ("ipp://[::1]:631/printers/a4", {"path": "/ipp"}, "ipp://[::1]:631/printers/a4"),
    ],
)
def test_addresses(address: str, options: dict[str, Scalar], uri: str) -> None:
    assert IppAddress.of(address, LinkProfile(kind=LinkKind.IPP, options=options)).uri == uri


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "no address"),
        ("http://printer/", "no address"),
        ("ipps://printer", "ca=FILE or"),
        ("ipps://printer/?ca=/nowhere/ca.pem", "no certificates to trust"),
        ("ipps://printer/?ca=a&fingerprint=00", "ca=FILE or"),
        ("ipps://printer/?fingerprint=zz", "hex"),
        ("ipps://printer/?fingerprint=0011", "fingerprint"),
    ],
)
def test_addresses_that_are_none(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IppAddress.of(address, LinkProfile(kind=LinkKind.IPP))


@pytest.mark.parametrize("trust", ["ca", "fingerprint"])
async def test_ipps_only_with_a_certificate_that_is_trusted(tmp_path: Path, trust: str) -> None:
    pki = Pki.new()
    pki.write(tmp_path)
    own = pki.identities()["self_signed"].write(tmp_path, "self_signed")
    der = ssl.PEM_cert_to_DER_cert(own.certificate.read_text(encoding="ascii"))
    query = f"ca={tmp_path / 'ca.pem'}" if trust == "ca" else f"fingerprint={hashlib.sha256(der).hexdigest()}"
    right = "server" if trust == "ca" else "self_signed"
    for name in ("server", "wrong_host", "self_signed"):
        files = pki.identities()[name].write(tmp_path, name) if name != "self_signed" else own
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(files.certificate, files.key)
        server = ReportPrinterServer(ReportPrinterCore(), time.monotonic)
        await server.open(ssl_context=serving)
        address = IppAddress.of(f"ipps://localhost:{server.port}/ipp/print?{query}", LinkProfile(kind=LinkKind.IPP))
        assert address.url == f"https://localhost:{server.port}/ipp/print"
        link = IppLink(address)
        await link.open()
        try:
            if name == right:
                (asked, *_) = golden_frames("ipp_requests")
                assert decode_reply(await link.exchange(asked, timeout_s=5.0)).is_successful
            else:
                with pytest.raises(LinkLost):
                    await link.exchange(b"end", timeout_s=5.0)
        finally:
            await link.close()
            await server.close()
