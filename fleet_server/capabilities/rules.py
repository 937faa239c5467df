"""Which of two entries holds, and what a kiosk's entries mean together.

An entry is everything about its subject, so the newest holds. Newest is by number, not by clock: within an epoch the
higher one; a record of another epoch comes from a kiosk that had to begin anew, and a kiosk sends one epoch at a time.
A kiosk says all of it again every hour: what it stopped saying, while it went on with the rest, it has no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from fleet_server.capabilities.model import FUNCTIONS, Entry
from fleet_server.registry.ports import CapabilityStatus
from wire.consumables import CONSUMABLE_LEVEL, ConsumableStatus
from wire.functions import FUNCTIONS_CHANGED, KIOSK, FunctionStatus, decode_fields
from wire.uplink import EventRecord

GONE_AFTER: Final = timedelta(hours=3)


def read(record: EventRecord) -> tuple[str, dict[str, object]] | None:
    """The subject of a record and what it says; None when it is about something else or makes no sense."""
    if (record.component, record.name) == (KIOSK, FUNCTIONS_CHANGED):
        found = decode_fields(record.fields)
        return (FUNCTIONS, {FUNCTIONS: [status.model_dump(mode="json") for status in found]}) if found else None
    if record.name != CONSUMABLE_LEVEL:
        return None
    try:
        status = ConsumableStatus.model_validate({**record.fields, "component": record.component})
    except ValidationError:
        return None
    return status.consumable, status.model_dump(mode="json")


def newest(known: Entry | None, said: Entry) -> Entry | None:
    """The entry to keep instead of the known one; None when the known one holds."""
    if known is not None and known.epoch == said.epoch and said.seq <= known.seq:
        return None
    return replace(said, body=_with_since(known, said)) if said.is_functions else said


def _with_since(known: Entry | None, said: Entry) -> dict[str, object]:
    """Each function with the moment since which it stands as it does."""
    before = {} if known is None else {item["function"]: item for item in known.body.get(FUNCTIONS, ())}
    found = []
    for item in said.body[FUNCTIONS]:
        last = before.get(item["function"], {})
        is_same = last.get("state") == item["state"] and last.get("since") is not None
        found.append({**item, "since": last["since"] if is_same else said.at.isoformat()})
    return {FUNCTIONS: found}


def status_of(entries: Iterable[Entry]) -> CapabilityStatus:
    """What the entries of one kiosk mean together."""
    listed = list(entries)
    latest = max((entry.at for entry in listed), default=None)
    functions: list[FunctionStatus] = []
    consumables: list[ConsumableStatus] = []
    for entry in listed:
        if latest is None or latest - entry.at > GONE_AFTER:
            continue
        try:
            if entry.is_functions:
                functions = [FunctionStatus.model_validate(item) for item in entry.body[FUNCTIONS]]
            else:
                consumables.append(ConsumableStatus.model_validate(entry.body))
        except ValidationError:
            continue  # written by another release: one kiosk's row hides nobody else's
    return CapabilityStatus(functions, sorted(consumables, key=lambda one: (one.component, one.consumable)))
