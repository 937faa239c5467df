"""What a receipt printer does for the rest of the agent, and what a receipt is made of.

A receipt is data: who prints it decides about columns, fonts and bytes. Its texts are a patient's, so no part of it
shows in `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from wire.faults import Fault


class Align(StrEnum):
    """Where a text stands in its column."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; broken into lines where it does not fit."""

    text: str = field(repr=False)
    align: Align = Align.LEFT
    bold: bool = False
    large: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A label on the left, a value on the right: a name, a number, an amount. The value is never cut short."""

    label: str = field(repr=False)
    value: str = field(repr=False)
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `cells` is its width in half-width characters, 0 takes what the others leave."""

    cells: int = 0
    align: Align = Align.LEFT


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below each other; a cell that does not fit goes on in the next line."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the paper."""


@dataclass(frozen=True, slots=True)
class Space:
    """Empty lines."""

    lines: int = 1


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code in the middle; `module_dots` is the size of one of its squares."""

    content: str = field(repr=False)
    module_dots: int = 6


@dataclass(frozen=True, slots=True)
class Barcode:
    """A Code 128 barcode in the middle with its text below; ASCII only."""

    content: str = field(repr=False)
    height_dots: int = 80


Element = Text | Pair | Table | Rule | Space | QrCode | Barcode


@dataclass(frozen=True, slots=True)
class ReceiptJob:
    """One receipt; it ends with a cut. `job_id` names it in logs and says nothing of the patient."""

    job_id: str
    elements: tuple[Element, ...] = field(repr=False)


class PrintState(StrEnum):
    """What became of a receipt."""

    PRINTED = "printed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """What an outcome rests on, best first."""

    PROCESS_ID = "process_id"
    PRESENTER = "presenter"
    STATUS = "status"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PrintOutcome:
    """How printing ended.

    `was_sent` tells whether the printer may have got any of it: a receipt that was not sent may be tried again
    freely, one that was sent is never sent again without a person's or a journal's decision.
    """

    state: PrintState
    evidence: Evidence
    was_sent: bool
    fault: Fault | None = None
    detail: str = ""


class ReceiptPrinter(Protocol):
    """Prints receipts, one at a time."""

    async def print_receipt(self, job: ReceiptJob) -> PrintOutcome:
        """Print it and say what became of it; never raises for what a printer can do."""

    async def retract(self) -> bool:
        """Draw back what was not taken, where the printer can; whether the mouth is empty now.

        Raises:
            DeviceFault: it does not answer, or what it holds is stuck.
            LinkError: the link failed.
        """
