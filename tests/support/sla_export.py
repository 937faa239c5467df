"""A sealed export made from imagined rows, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet_server.sla.bundle import bundle
from fleet_server.sla.evidence import Kind, fold
from fleet_server.sla.report import Basis, compute
from fleet_server.sla.seal import START, Seal, SealedRow, SealKey, chained
from fleet_server.sla.spans import month_span
from support.sla_rows import HOUR, Row


def seal_key(number: int = 1) -> SealKey:
    return SealKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def sealed(month: str, parts: Sequence[Sequence[Row]], key: SealKey) -> tuple[list[SealedRow], list[Seal]]:
    """One day after the other, each part sealed an hour after its day's end."""
    begin = month_span(month, "Asia/Shanghai")[0]
    rows: list[SealedRow] = []
    seals: list[Seal] = []
    for place, part in enumerate(parts):
        day = (date.fromisoformat(f"{month}-01") + timedelta(days=place)).isoformat()
        first = len(rows) + 1
        for kind, body in part:
            rows.append(chained(rows[-1].chain if rows else START, len(rows) + 1, day, kind, body))
        head = rows[-1].chain if rows else START
        previous = seals[-1].digest if seals else START
        seal = Seal(day, first, len(rows), head, previous, begin + (place + 1) * 24 * HOUR + HOUR, key.public)
        seals.append(replace(seal, signature=key.sign(seal)))
    return rows, seals


def export(month: str, rows: Sequence[Row], days: int, key: SealKey) -> bytes:
    """An export with the rows spread evenly over these days."""
    size = -(-len(rows) // days)
    parts = [rows[place * size : (place + 1) * size] for place in range(days)]
    chained_rows, seals = sealed(month, parts, key)
    facts = fold((Kind(kind), body) for kind, body in rows)
    basis = Basis(facts, seals[-1].sealed_us, len(rows), seals[-1].head)
    return bundle(compute(month, basis), None, chained_rows, seals)
