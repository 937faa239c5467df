"""APDUs a second to the card in a reader: bare, bare beside our watching link, and through our link.

A process of its own, because libpcsclite reads once where the daemon is. Prints one line of JSON per lap.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic

from smartcard import scard  # type: ignore[import-untyped]  # pyscard ships no types

from agent.links.pcsc import CardPresence, PcscLink
from kit.logs import configure

LAPS = 7
_GET_CHALLENGE = bytes.fromhex("0084000008")
_TIMEOUT_S = 5.0


def _bare(reader: str, count: int) -> float:
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    name = next(one for one in scard.SCardListReaders(context, [])[1] if reader in one)
    both = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
    code, card, protocol = scard.SCardConnect(context, name, scard.SCARD_SHARE_SHARED, both)
    assert code == scard.SCARD_S_SUCCESS, scard.SCardGetErrorMessage(code)
    header = scard.SCARD_PCI_T0 if protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
    command = list(_GET_CHALLENGE)
    started_s = monotonic()
    for _ in range(count):
        code, _ = scard.SCardTransmit(card, header, command)
        assert code == scard.SCARD_S_SUCCESS, scard.SCardGetErrorMessage(code)
    took_s = monotonic() - started_s
    scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
    scard.SCardReleaseContext(context)
    return count / took_s


async def _ours(link: PcscLink, count: int) -> float:
    async with link.card(timeout_s=_TIMEOUT_S) as card:
        started_s = monotonic()
        for _ in range(count):
            await card.transmit(_GET_CHALLENGE, timeout_s=_TIMEOUT_S)
        return count / (monotonic() - started_s)


async def _opened(reader: str) -> PcscLink:
    link = PcscLink(reader)
    await link.open()
    seen = link.view
    while seen.card is not CardPresence.PRESENT:
        seen = await link.changed(seen, timeout_s=_TIMEOUT_S)
    return link


async def _run(reader: str, count: int) -> None:
    await (await _opened(reader)).close()
    for _ in range(LAPS):
        bare = await asyncio.to_thread(_bare, reader, count)
        link = await _opened(reader)
        watched = await asyncio.to_thread(_bare, reader, count)
        ours = await _ours(link, count)
        await link.close()
        print(json.dumps({"bare": bare, "watched": watched, "ours": ours}), flush=True)


if __name__ == "__main__":
    configure("bench", level="error")
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
