"""From how the devices are to what a patient can do. Pure: the same devices always mean the same functions.

How a need is judged, in this order:
1. A fault is up that the condition minds, or it is known why the device is not in use: the need *fails*.
2. Nothing was heard of the device yet, it fell silent, or nobody knows the component: the need is *unknown*.
3. Else it *holds*. So silence never makes anything available.
A way holds when all its needs hold, fails when one fails, and is unknown otherwise. A function is lost while a guard
(`stopped_by`) is up; available when a way holds; degraded when only a fallback holds; unknown when a way or a fallback
may hold; else lost. A fault more can only move a need towards failing, hence never makes a function more available.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from types import MappingProxyType
from typing import Final

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from wire.faults import Fault
from wire.functions import NOT_SEEN, REASONS_MAX, FunctionReason, FunctionState, FunctionStatus, Lack, PatientFunction
from wire.profile import Capability, Condition, Fallback, FunctionProfile

WARNINGS: Final = frozenset(
    {
        Fault.PAPER_LOW,
        Fault.TONER_LOW,
        Fault.RETRACT_BIN_FULL,
        Fault.MEDIA_NOT_TAKEN,
        Fault.HEAD_HOT,
        Fault.PRINT_UNKNOWN,
        Fault.CARD_UNREADABLE,
        Fault.DEVICE_BUSY,
        Fault.DOOR_OPEN,
        Fault.ON_BATTERY,
        Fault.BATTERY_WORN,
    }
)
"""Faults with which a device still does its work; whatever is not here stops it, a fault of the future too."""
_GONE: Final = frozenset({Fault.UNPLUGGED, Fault.NOT_RESPONDING, Fault.PROTOCOL_ERROR, Fault.WRONG_DEVICE})
_MINDS: Final[Mapping[Condition, frozenset[Fault]]] = MappingProxyType(
    {
        Condition.WORKS: frozenset(Fault) - WARNINGS,
        Condition.ANSWERS: _GONE,
        Condition.PAPER: _GONE | {Fault.PAPER_OUT, Fault.PAPER_JAM},
        Condition.TONER: _GONE | {Fault.TONER_EMPTY},
    }
)
_USABLE: Final = frozenset({DeviceState.READY, DeviceState.BUSY})
Graph = Mapping[PatientFunction, FunctionProfile]


class Standing(IntEnum):
    """How a need or a way stands, best first."""

    HOLDS = 0
    UNKNOWN = 1
    FAILS = 2


@dataclass(frozen=True, slots=True)
class Part:
    """What the graph looks at of one device."""

    is_usable: bool
    faults: frozenset[Fault] = frozenset()
    why: Fault | None = None
    """Why it is not in use, where that is known."""
    is_silent: bool = False

    @classmethod
    def of(cls, seen: Seen, *, is_silent: bool) -> Part:
        """A device as the manager knows it."""
        return cls(seen.state in _USABLE, frozenset(seen.faults), seen.fault, is_silent)


def evaluate(graph: Graph, parts: Mapping[str, Part]) -> list[FunctionStatus]:
    """How every function stands, in the order of the graph."""
    return [_status(function, profile, parts) for function, profile in graph.items()]


def _status(function: PatientFunction, profile: FunctionProfile, parts: Mapping[str, Part]) -> FunctionStatus:
    guards = [reason for name in profile.stopped_by if (reason := _guard(name, parts)) is not None]
    ways = [_way(way, parts) for way in profile.ways]
    state, lacks = FunctionState.LOST, None
    if not guards:
        fallbacks = [(_way(fallback.needs, parts), fallback.lacks) for fallback in profile.degraded]
        state, lacks = _best(ways, fallbacks)
    if state is FunctionState.AVAILABLE:
        return FunctionStatus(function=function, state=state)
    fewest = min(len(way.failing) for way in ways)
    failing = guards or [name for way in ways if len(way.failing) == fewest for name in way.failing]
    reasons = [FunctionReason(component=component, code=code) for component, code in dict.fromkeys(failing)]
    return FunctionStatus(function=function, state=state, lacks=lacks, because=reasons[:REASONS_MAX])


@dataclass(frozen=True, slots=True)
class _Way:
    standing: Standing
    failing: Sequence[tuple[str, str]]


def _best(ways: Iterable[_Way], fallbacks: Sequence[tuple[_Way, Lack]]) -> tuple[FunctionState, Lack | None]:
    best = min(way.standing for way in ways)
    if best is Standing.HOLDS:
        return FunctionState.AVAILABLE, None
    for fallback, lacks in fallbacks:
        if fallback.standing is Standing.HOLDS:
            return FunctionState.DEGRADED, lacks
    if Standing.UNKNOWN in {best, *(fallback.standing for fallback, _ in fallbacks)}:
        return FunctionState.UNKNOWN, None
    return FunctionState.LOST, None


def _way(needs: Iterable[str], parts: Mapping[str, Part]) -> _Way:
    judged = [_need(need, parts) for need in needs]
    failing = [(component, code) for standing, component, code in judged if standing is not Standing.HOLDS]
    return _Way(max((standing for standing, _, _ in judged), default=Standing.HOLDS), failing)


def _need(need: str, parts: Mapping[str, Part]) -> tuple[Standing, str, str]:
    component, _, condition = need.partition(":")
    part = parts.get(component)
    if part is None:
        return Standing.UNKNOWN, component, NOT_SEEN
    minded = part.faults & _MINDS[Condition(condition or Condition.WORKS)]
    if not part.is_usable and part.why is not None:
        minded |= {part.why}
    if minded:
        worst = part.why if part.why in minded else min(minded)
        return Standing.FAILS, component, worst.value
    if part.is_silent:
        return Standing.UNKNOWN, component, Fault.COMPONENT_SILENT.value
    return (Standing.HOLDS if part.is_usable else Standing.UNKNOWN), component, NOT_SEEN


def _guard(name: str, parts: Mapping[str, Part]) -> tuple[str, str] | None:
    component, _, code = name.partition(":")
    part = parts.get(component)
    return (component, code) if part is not None and any(fault.value == code for fault in part.faults) else None


# --- what devices mean where a profile says nothing ------------------------------------------------------------

_F, _C = PatientFunction, Capability
_WHO: Final = (_C.ID_CARD_READER, _C.CARD_READER, _C.QR_SCANNER)
"""What says who a patient is; a face alone does not, it confirms a payment."""


def graph_of(devices: Mapping[str, Capability], given: Mapping[PatientFunction, FunctionProfile | None]) -> Graph:
    """The functions of a kiosk: what its devices mean, and what its profile says instead."""
    found: dict[PatientFunction, FunctionProfile | None] = {**_Defaults(devices).functions(), **given}
    return {function: profile for function in PatientFunction if (profile := found.get(function)) is not None}


class _Defaults:
    """The functions that a set of devices makes possible."""

    def __init__(self, devices: Mapping[str, Capability]) -> None:
        self._of: dict[Capability, list[str]] = {}
        for component, capability in devices.items():
            self._of.setdefault(capability, []).append(component)
        self._who = [[name] for capability in _WHO for name in self._all(capability)]
        self._slips = [[name] for name in self._all(_C.RECEIPT_PRINTER)]
        power = [f"{name}:{Fault.BATTERY_LOW}" for name in self._all(_C.UPS)]
        self._any = power
        self._paying = [
            *power,
            *(f"{name}:{Fault.ON_BATTERY}" for name in self._all(_C.UPS)),
            *(f"{name}:{Fault.TAMPERED}" for name in self._all(_C.PAPER_SENSOR)),
        ]

    def functions(self) -> dict[PatientFunction, FunctionProfile]:
        """Those for which there is at least one way."""
        found = {function: profile for function, profile in self._each() if profile is not None}
        return dict(found)

    def _each(self) -> Iterator[tuple[PatientFunction, FunctionProfile | None]]:
        reports = [[name] for name in self._all(_C.REPORT_PRINTER)]
        cards = [[a, b] for a in self._all(_C.CARD_READER) for b in self._all(_C.PIN_PAD)]
        faces = [[name] for name in self._all(_C.FACE_CAMERA)]
        codes = [[name] for name in self._all(_C.QR_SCANNER)]
        who, slips = self._who, self._slips
        yield _F.IDENTIFY, self._made(who)
        yield _F.QUERY, self._made(who)
        yield _F.BOOK, self._made(who)
        yield _F.REGISTER, self._made(who, slips, lacks=Lack.TICKET, guards=self._paying)
        yield _F.CHECK_IN, self._made(who, slips, lacks=Lack.TICKET)
        yield _F.PAY, self._made(who, codes, slips, lacks=Lack.RECEIPT, guards=self._paying)
        # The slip of a card payment and the receipt of a deposit are the patient's only proof: none, no payment.
        yield _F.PAY_BY_CARD, self._made(who, cards, slips, guards=self._paying)
        yield _F.PAY_BY_FACE, self._made(who, faces, slips, lacks=Lack.RECEIPT, guards=self._paying)
        yield _F.INPATIENT_DEPOSIT, self._made(who, codes, slips, guards=self._paying)
        yield _F.DISCHARGE_SETTLEMENT, self._made(who, slips, lacks=Lack.RECEIPT, guards=self._paying)
        yield _F.PRINT_RECEIPT, self._made(slips)
        yield _F.PRINT_TICKET, self._made(slips)
        yield _F.PRINT_REPORT, self._made(who, reports)
        yield _F.PRINT_INVOICE, self._made(who, reports)

    def _all(self, capability: Capability) -> list[str]:
        return self._of.get(capability, [])

    def _made(
        self, *groups: Sequence[Sequence[str]], lacks: Lack | None = None, guards: Sequence[str] | None = None
    ) -> FunctionProfile | None:
        """One of each group; with `lacks` it goes on without the last group, whether there is one or not."""
        *needed, last = groups
        fallback = [] if lacks is None else _combined(needed)
        ways = _combined(groups) if last or lacks is None else fallback
        if not ways:
            return None
        without = [Fallback(needs=way, lacks=lacks) for way in fallback if lacks is not None and last]
        return FunctionProfile(ways=ways, degraded=without, stopped_by=list(self._any if guards is None else guards))


def _combined(groups: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """Every choice of one of each group, a component named once; none when a group has nothing to choose."""
    return [list(dict.fromkeys(name for part in choice for name in part)) for choice in product(*groups)]
