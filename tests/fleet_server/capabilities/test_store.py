"""What kiosks say they can do, kept on both stores: the newest by number holds, whatever order it comes in."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fleet_server.capabilities.ingest import CapabilitySink
from fleet_server.capabilities.model import ENTRIES_MAX, Entry
from fleet_server.capabilities.rules import GONE_AFTER, status_of
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.registry.ports import CapabilityStatus
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.store import Database
from support.ingest import AT, EPOCH, Document, batch, event, sender
from wire.functions import FunctionState

KID = "zzj-001"
WHOLE = {"pay": "available", "print_ticket": "available"}
NO_PAPER = {"pay": "degraded -receipt printer:paper_out", "print_ticket": "lost printer:paper_out"}


def functions(seq: int, fields: Document, *, after_s: float = 0.0, **more: object) -> Document:
    at = AT + timedelta(seconds=after_s)
    return event(seq, at=at, component="kiosk", name="functions.changed", fields=fields, **more)


def level(seq: int, percent: float, *, consumable: str = "paper", **more: object) -> Document:
    fields = {"consumable": consumable, "unit": "mm", "level": "ok", "source": "counted", "percent": percent}
    return event(seq, component="printer", name="consumable.level", fields={**fields, **more})


class Ingest:
    """An uplink store with the sink, and what a reader sees."""

    def __init__(self, database: Database) -> None:
        self.kept = CapabilityStore(database)
        self.store = UplinkStore(database, (CapabilitySink(self.kept),))

    async def take(self, *records: Document, epoch: str = EPOCH, kid: str = KID) -> None:
        received = max(datetime.fromisoformat(record["at"]) for record in records)
        found = BatchReader().read(batch(records, epoch=epoch), sender(kid, int(kid[-3:]), received))
        await self.store.open([found.header])
        await self.store.commit([self.store.prepare(found)])

    async def entries(self, kid: str = KID) -> list[Entry]:
        return [entry for entry in await self.kept.changed_since(-1) if entry.kid == kid]

    async def now(self) -> CapabilityStatus:
        return status_of(await self.entries())

    async def states(self) -> dict[str, FunctionState]:
        return {status.function: status.state for status in (await self.now()).functions}


@pytest.fixture
def ingest(fleet_db: Database) -> Ingest:
    return Ingest(fleet_db)


async def test_functions_are_kept_with_reasons_and_since(ingest: Ingest) -> None:
    await ingest.take(functions(1, WHOLE), functions(2, NO_PAPER, after_s=60.0))
    await ingest.take(functions(3, NO_PAPER | {"query": "available"}, after_s=90.0))
    pay, ticket, query = (await ingest.now()).functions
    assert (pay.function, pay.state, pay.lacks) == ("pay", FunctionState.DEGRADED, "receipt")
    assert [(one.component, one.code) for one in ticket.because] == [("printer", "paper_out")]
    assert ticket.since == AT + timedelta(seconds=60), "since it was lost, not since it was said again"
    assert query.since == AT + timedelta(seconds=90)
    assert len(await ingest.entries()) == 1


async def test_what_comes_late_changes_nothing(ingest: Ingest) -> None:
    await ingest.take(functions(9, WHOLE))
    await ingest.take(functions(4, NO_PAPER, hist=True))
    assert set((await ingest.states()).values()) == {FunctionState.AVAILABLE}


async def test_an_epoch_that_replaced_a_lost_one_begins_anew(ingest: Ingest) -> None:
    await ingest.take(functions(900, WHOLE))
    await ingest.take(functions(1, NO_PAPER), epoch="01JD0000000000000000000002")
    assert (await ingest.states())["print_ticket"] is FunctionState.LOST


async def test_readers_see_each_change_once(ingest: Ingest) -> None:
    await ingest.take(functions(1, WHOLE), level(2, 50.0))
    seen = max(entry.change_seq for entry in await ingest.kept.changed_since(-1))
    assert await ingest.kept.changed_since(seen) == []
    await ingest.take(level(3, 49.0))
    (changed,) = await ingest.kept.changed_since(seen)
    assert (changed.subject, changed.body["percent"]) == ("paper", 49.0)


async def test_consumables_are_kept_by_device(ingest: Ingest) -> None:
    await ingest.take(level(1, 50.0, days_left=7.5, part="80x80", capacity=80_000.0))
    await ingest.take(level(2, 20.0, consumable="ribbon"))
    paper, ribbon = (await ingest.now()).consumables
    assert (paper.component, paper.percent, paper.days_left, paper.part) == ("printer", 50.0, 7.5, "80x80")
    assert (ribbon.consumable, ribbon.days_left) == ("ribbon", None)


@pytest.mark.parametrize(
    "record",
    [
        functions(1, {"pay": "dancing"}),
        functions(1, {}),
        event(1, component="printer", name="functions.changed", fields=WHOLE),
        level(1, 150.0),
        level(1, 5.0, unit="miles"),
        level(1, 5.0, consumable="Paper!"),
        event(1, component="kiosk", name="something.else", fields=WHOLE),
    ],
)
async def test_what_makes_no_sense_is_evidence_only(ingest: Ingest, record: Document) -> None:
    await ingest.take(record)
    assert await ingest.entries() == []


async def test_a_kiosk_that_invents_consumables_fills_no_table(ingest: Ingest) -> None:
    await ingest.take(*(level(number + 1, 5.0, consumable=f"thing_{number}") for number in range(ENTRIES_MAX + 20)))
    assert len(await ingest.entries()) == ENTRIES_MAX
    await ingest.take(functions(1, WHOLE), kid="zzj-002")
    assert len(await ingest.entries("zzj-002")) == 1


async def test_a_part_with_bytes_that_no_text_has_is_left_and_stops_nothing(ingest: Ingest) -> None:
    await ingest.take(level(1, 50.0, part="a\u0000b"), level(2, 20.0, consumable="ribbon"))
    assert {one.consumable for one in (await ingest.now()).consumables} == {"ribbon"}


def test_a_row_of_another_release_hides_only_itself() -> None:
    good = {"component": "p", "consumable": "paper", "unit": "mm", "level": "ok"}
    rows = [good, {**good, "unit": "cubits"}]
    entries = [Entry(KID, "p", f"thing_{number}", EPOCH, number, AT, body) for number, body in enumerate(rows, 1)]
    assert len(status_of(entries).consumables) == 1


async def test_what_a_kiosk_stopped_saying_is_shown_no_more(ingest: Ingest) -> None:
    late_s = GONE_AFTER.total_seconds() + 60.0
    await ingest.take(functions(1, WHOLE), level(2, 50.0))
    assert len((await ingest.now()).consumables) == 1
    await ingest.take(functions(3, WHOLE, after_s=late_s))
    assert (await ingest.now()).consumables == []
