"""Verifying the hash chain over the class P0 records of a kiosk: an edit, a gap or a forged row is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleet_server.telemetry.store import TelemetryStore
from wire.uplink import CHAIN_START, chain_next

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class ChainReport:
    """How far the chain of one epoch holds; `first_bad_n` is None while nothing is wrong."""

    verified_n: int
    first_bad_n: int | None = None
    reason: str | None = None


async def verify_chain(store: TelemetryStore, kiosk_no: int, epoch: str) -> ChainReport:
    """Walk the chain of an epoch from its start; it ends where the next record has not arrived yet."""
    n, chain = 0, CHAIN_START
    while rows := await store.chain_rows(kiosk_no, epoch, n, _PAGE):
        for row in rows:
            if row.chain_n != n + 1:
                return ChainReport(n)
            chain = chain_next(chain, row.digest or "")
            if chain != row.chain:
                return ChainReport(n, n + 1, "the record does not follow from the one before it")
            n += 1
    return ChainReport(n)
