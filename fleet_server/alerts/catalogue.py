"""The alarm catalogue: what follows from each fault code. Texts and severity are in `wire.faults`.

A code without a row of its own follows `DEFAULT`; the test holds that list to be short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

from wire.faults import FACTS, Fault, Severity

_F = Fault


class Effect(StrEnum):
    """What a patient at this kiosk loses."""

    NONE = "none"
    DEGRADED = "degraded"
    FUNCTION_LOST = "function_lost"
    KIOSK_LOST = "kiosk_lost"
    MONEY_AT_RISK = "money_at_risk"


class Family(StrEnum):
    """Codes of one family at many kiosks at once may have one cause."""

    CONNECTION = "connection"
    POWER = "power"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue."""

    effect: Effect
    debounce_s: float = 0.0
    """So long it has to stay up before anybody is told."""
    reopen_s: float = 900.0
    """Up again within this time it is the same case."""
    family: Family | None = None
    hides: frozenset[Fault] = frozenset()
    """What follows from it on the same kiosk."""
    hides_everywhere: frozenset[Fault] = frozenset()
    """What follows from it on every kiosk."""
    needs_order: bool = True
    runbook: str = "docs/runbooks/devices.md"
    self_test: str | None = None
    """The kind of component whose own test on the kiosk proves the repair; None: its alarm going away does."""
    spare_part: str | None = None


_DEVICE: Final = frozenset(
    {
        _F.UNPLUGGED,
        _F.NOT_RESPONDING,
        _F.PROTOCOL_ERROR,
        _F.COMPONENT_SILENT,
        _F.DEVICE_ERROR,
        _F.READER_SERVICE_DOWN,
        _F.NO_PICTURE,
        _F.SAM_FAILED,
    }
)
_READERS: Final = frozenset({_F.UNPLUGGED, _F.NOT_RESPONDING, _F.CARD_UNREADABLE})
_DARK: Final = frozenset({_F.BATTERY_LOW, _F.KIOSK_OFFLINE})
_ALL_OF_IT: Final = _DEVICE | {_F.KIOSK_UNSTABLE}
_NONE, _DEGRADED, _LOST, _GONE = Effect.NONE, Effect.DEGRADED, Effect.FUNCTION_LOST, Effect.KIOSK_LOST
_MONEY: Final = Effect.MONEY_AT_RISK
_NOBODY_HEARD: Final = frozenset({_F.KIOSK_OFFLINE, _F.KIOSK_UNSTABLE})
_PLATFORM: Final = "docs/runbooks/platform.md"
_PAYMENTS: Final = "docs/runbooks/payments.md"
_NETWORK: Final = "docs/runbooks/offline.md"
_PAPER: Final = "docs/runbooks/paper.md"
_HELP: Final = "docs/runbooks/help-call.md"
_MACHINE: Final = "docs/runbooks/machine.md"

DEFAULT: Final = Entry(_DEGRADED, 10.0)

# fmt: off
CATALOGUE: Mapping[Fault, Entry] = MappingProxyType({
    # devices
    _F.UNPLUGGED:            Entry(_LOST, 10.0, self_test="device"),
    _F.NOT_RESPONDING:       Entry(_LOST, 20.0, self_test="device", spare_part="device"),
    _F.PROTOCOL_ERROR:       Entry(_LOST, 20.0, self_test="device"),
    _F.DEVICE_BUSY:          Entry(_NONE, 300.0, needs_order=False),
    _F.PAPER_OUT:            Entry(_LOST, runbook=_PAPER, self_test="printer", spare_part="paper"),
    _F.PAPER_LOW:            Entry(_NONE, 60.0, 86_400.0, needs_order=False, runbook=_PAPER, spare_part="paper"),
    _F.PAPER_JAM:            Entry(_LOST, 5.0, runbook=_PAPER, self_test="printer"),
    _F.COVER_OPEN:           Entry(_LOST, 60.0, runbook=_PAPER, self_test="printer"),
    _F.CUTTER_ERROR:         Entry(_LOST, 5.0, runbook=_PAPER, self_test="printer", spare_part="cutter"),
    _F.COMPONENT_SILENT:     Entry(_LOST, 30.0, self_test="device"),
    _F.WRONG_DEVICE:         Entry(_LOST, 10.0, self_test="device"),
    _F.DEVICE_ERROR:         Entry(_LOST, 10.0, self_test="device", spare_part="device"),
    _F.TONER_LOW:            Entry(_NONE, 60.0, 86_400.0, needs_order=False, runbook=_PAPER, spare_part="toner"),
    _F.TONER_EMPTY:          Entry(_LOST, 10.0, runbook=_PAPER, self_test="printer", spare_part="toner"),
    _F.OUTPUT_FULL:          Entry(_LOST, 60.0, runbook=_PAPER, self_test="printer"),
    _F.RETRACT_BIN_FULL:     Entry(_DEGRADED, 60.0, runbook=_PAPER, self_test="printer"),
    _F.MEDIA_NOT_TAKEN:      Entry(_NONE, 300.0, needs_order=False),
    _F.HEAD_HOT:             Entry(_DEGRADED, 120.0, self_test="printer"),
    _F.PRINT_UNKNOWN:        Entry(_DEGRADED, needs_order=False, runbook=_PAPER),
    _F.CARD_UNREADABLE:      Entry(_NONE, 600.0, needs_order=False),
    _F.SAM_FAILED:           Entry(_LOST, 20.0, self_test="device", spare_part="device"),
    _F.READER_SERVICE_DOWN:  Entry(_LOST, 20.0, hides=_READERS, self_test="device"),
    _F.NO_PICTURE:           Entry(_LOST, 30.0, self_test="device", spare_part="device"),
    _F.DOOR_OPEN:            Entry(_NONE, 300.0),
    _F.TAMPERED:             Entry(_GONE),
    _F.ON_BATTERY:           Entry(_DEGRADED, 5.0, family=Family.POWER, hides=_DARK, runbook=_NETWORK),
    _F.BATTERY_LOW:          Entry(_GONE, runbook=_NETWORK),
    _F.BATTERY_WORN:         Entry(_NONE, 60.0, spare_part="battery"),
    _F.FIRMWARE_INTERRUPTED: Entry(_LOST, runbook="docs/runbooks/device-firmware.md", self_test="device"),
    # the machine
    _F.CLOCK_SKEW:           Entry(_DEGRADED, 60.0, runbook=_MACHINE),
    _F.DISK_LOW:             Entry(_NONE, 60.0, runbook=_MACHINE),
    _F.DISK_FULL:            Entry(_GONE, 10.0, runbook=_MACHINE),
    _F.MEMORY_LOW:           Entry(_DEGRADED, 120.0, runbook=_MACHINE),
    _F.TEMPERATURE_HIGH:     Entry(_DEGRADED, 120.0, runbook=_MACHINE, spare_part="fan"),
    _F.CPU_BUSY:             Entry(_DEGRADED, 300.0, needs_order=False, runbook=_MACHINE),
    _F.DISK_WEARING:         Entry(_NONE, 60.0, 86_400.0, runbook=_MACHINE, spare_part="disk"),
    _F.USB_UNKNOWN:          Entry(_NONE, runbook=_MACHINE),
    _F.USB_STORAGE:          Entry(_NONE, runbook=_MACHINE),
    # uplink and identity
    _F.OUTBOX_CORRUPT:       Entry(_NONE, runbook=_MACHINE),
    _F.OUTBOX_DROPPING:      Entry(_NONE, 60.0, runbook=_MACHINE),
    _F.CERTIFICATE_EXPIRING: Entry(_NONE, 60.0, 86_400.0, runbook=_MACHINE),
    _F.RENEWAL_FAILING:      Entry(_NONE, 60.0, 86_400.0, runbook=_MACHINE),
    _F.SESSION_TAKEN_OVER:   Entry(_NONE, runbook="docs/runbooks/revocation.md"),
    _F.KIOSK_OFFLINE:        Entry(_GONE, family=Family.CONNECTION, hides=_ALL_OF_IT, runbook=_NETWORK),
    _F.KIOSK_UNSTABLE:       Entry(_DEGRADED, 60.0, family=Family.CONNECTION, runbook=_NETWORK),
    _F.KIOSK_CLONED:         Entry(_GONE, runbook="docs/runbooks/revocation.md"),
    _F.KIOSK_FLOODING:       Entry(_GONE, runbook=_MACHINE),
    _F.UPLINK_REJECTED:      Entry(_NONE, 60.0, runbook=_MACHINE),
    _F.WIRE_VERSION_UNSUPPORTED: Entry(_NONE, runbook=_MACHINE),
    _F.EVIDENCE_CHAIN_BROKEN: Entry(_NONE, runbook=_MACHINE),
    # the server itself
    _F.REVOCATION_NOT_ENFORCED: Entry(_NONE, runbook="docs/runbooks/revocation.md", needs_order=False),
    _F.BROKER_DOWN:          Entry(_NONE, 10.0, hides_everywhere=_NOBODY_HEARD, runbook=_PLATFORM),
    _F.STORE_FAILING:        Entry(_NONE, 10.0, hides_everywhere=_NOBODY_HEARD, runbook=_PLATFORM),
    _F.BACKUP_OLD:           Entry(_NONE, 60.0, 86_400.0, runbook=_PLATFORM),
    _F.QUEUE_LAG:            Entry(_NONE, 60.0, needs_order=False, runbook=_PLATFORM),
    _F.SERVER_CERTIFICATE_EXPIRING: Entry(_NONE, 60.0, 86_400.0, runbook=_PLATFORM),
    # what patients run into
    _F.TRANSACTIONS_FAILING: Entry(_LOST, 60.0, runbook=_PAYMENTS),
    _F.PAID_NOT_POSTED:      Entry(_MONEY, runbook=_PAYMENTS),
    _F.CARD_RETAINED:        Entry(_MONEY, runbook=_PAYMENTS),
    _F.RECEIPT_MISSING:      Entry(_MONEY, runbook=_PAYMENTS),
    _F.HELP_REQUESTED:       Entry(_NONE, reopen_s=60.0, runbook=_HELP),
    # systems that are not ours
    _F.HIS_DOWN:             Entry(_LOST, 30.0, family=Family.OUTSIDE, needs_order=False, runbook=_PLATFORM),
    _F.CHANNEL_DOWN:         Entry(_LOST, 30.0, family=Family.OUTSIDE, needs_order=False, runbook=_PLATFORM),
})
# fmt: on

RAISED_BY_MONITORING: Final = frozenset(
    {
        _F.STORE_FAILING,
        _F.BACKUP_OLD,
        _F.QUEUE_LAG,
        _F.SERVER_CERTIFICATE_EXPIRING,
        _F.DISK_LOW,
        _F.TRANSACTIONS_FAILING,
        _F.PAID_NOT_POSTED,
        _F.HIS_DOWN,
        _F.CHANNEL_DOWN,
    }
)
"""Of the server itself only Prometheus says these, by way of Alertmanager (docs/monitoring.md)."""

_BY_CODE: Final = {fault.value: entry for fault, entry in CATALOGUE.items()}


def entry_of(code: str) -> Entry:
    """What follows from a code; one of a newer release follows the default."""
    return _BY_CODE.get(code, DEFAULT)


class AlarmKind(BaseModel):
    """A row of the catalogue as people see it, in both languages."""

    code: str
    severity: Severity
    title_zh: str
    title_en: str
    remedy_zh: str
    remedy_en: str
    effect: Effect
    debounce_s: float
    reopen_s: float
    family: Family | None
    hides: list[str]
    hides_everywhere: list[str]
    needs_order: bool
    runbook: str
    self_test: str | None
    spare_part: str | None


def kinds() -> list[AlarmKind]:
    """The whole catalogue, in its own order."""
    return [_kind(fault, entry) for fault, entry in CATALOGUE.items()]


def _kind(fault: Fault, entry: Entry) -> AlarmKind:
    facts = FACTS[fault]
    return AlarmKind(
        code=fault.value,
        severity=facts.severity,
        title_zh=facts.zh,
        title_en=facts.en,
        remedy_zh=facts.remedy_zh,
        remedy_en=facts.remedy_en,
        effect=entry.effect,
        debounce_s=entry.debounce_s,
        reopen_s=entry.reopen_s,
        family=entry.family,
        hides=sorted(entry.hides),
        hides_everywhere=sorted(entry.hides_everywhere),
        needs_order=entry.needs_order,
        runbook=entry.runbook,
        self_test=entry.self_test,
        spare_part=entry.spare_part,
    )


def hides_everywhere(parent: str, child: str) -> bool:
    """Whether the child follows from the parent on whichever kiosk."""
    return child in {fault.value for fault in entry_of(parent).hides_everywhere}


def hides(parent: str, child: str) -> bool:
    """Whether the child follows from the parent on the same kiosk."""
    return child in {fault.value for fault in entry_of(parent).hides}
