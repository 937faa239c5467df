"""APDUs, and what social-security cards answer to them (ISO/IEC 7816-4; public files EF05 and EF06).

Only commands that read can be encoded. VERIFY is not among them, on purpose: a PIN tried by a machine burns a try.
Never seen on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

_SELECT, _READ_RECORD, _GPO, _GET_RESPONSE, _READ_BINARY = 0xA4, 0xB2, 0xA8, 0xC0, 0xB0
READING = frozenset({_SELECT, _READ_RECORD, _GPO, _GET_RESPONSE, _READ_BINARY})

SSSE = b"sx1.sh." + "社会保障".encode("gbk")
EF05, EF06 = b"\xef\x05", b"\xef\x06"

_BYTE = 0xFF
_STATUS_BYTES = 2
_MORE, _WRONG_LE = 0x61, 0x6C
_ID_DIGITS = 18
_SEXES = frozenset("0129")


class CardError(ValueError):
    """An answer that cannot be read; the text names what, never bytes."""


class Status(StrEnum):
    """What a status word means to a reader."""

    OK = "ok"
    NOT_FOUND = "not_found"
    NO_RECORD = "no_record"
    NEEDS_PIN = "needs_pin"
    BLOCKED = "blocked"
    OTHER = "other"


_STATUS = {
    0x9000: Status.OK,
    0x6A82: Status.NOT_FOUND,
    0x6A81: Status.NOT_FOUND,
    0x6A86: Status.NO_RECORD,  # this way of addressing is unknown to the card
    0x6A83: Status.NO_RECORD,
    0x6982: Status.NEEDS_PIN,
    0x6983: Status.BLOCKED,
    0x6283: Status.BLOCKED,
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `le` None asks for no data, 0 for as much as there is."""

    cla: int
    ins: int
    p1: int
    p2: int
    body: bytes = field(default=b"", repr=False)
    le: int | None = None

    def __post_init__(self) -> None:
        if self.ins not in READING or len(self.body) > _BYTE:
            raise AssertionError(f"{self.ins:02X} does more than read, or is too long")

    def encode(self, *, is_t0: bool) -> bytes:
        """Bytes of the command; with T=0 a command with a body has no Le, the card says 61xx instead."""
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.body:
            tail = b"" if is_t0 or self.le is None else bytes((self.le,))
            return header + bytes((len(self.body),)) + self.body + tail
        return header if self.le is None else header + bytes((self.le,))


@dataclass(frozen=True, slots=True)
class Reply:
    """Data and status word."""

    data: bytes = field(repr=False)
    sw: int

    @property
    def status(self) -> Status:
        """What it means."""
        return _STATUS.get(self.sw, Status.OTHER)


def decode_reply(raw: bytes) -> Reply:
    """Split an answer.

    Raises:
        CardError: there is no status word.
    """
    if len(raw) < _STATUS_BYTES:
        raise CardError("answer without a status word")
    return Reply(raw[:-2], int.from_bytes(raw[-2:], "big"))


def follow_up(command: Command, reply: Reply) -> Command | None:
    """What the card wants to hear next: GET RESPONSE after 61xx, the same with the right length after 6Cxx."""
    high, low = reply.sw >> 8, reply.sw & _BYTE
    if high == _MORE:
        return Command(command.cla & 0x03, _GET_RESPONSE, 0, 0, le=low)
    if high == _WRONG_LE and command.le != low:
        return Command(command.cla, command.ins, command.p1, command.p2, command.body, low)
    return None


def select_by_name(name: bytes) -> Command:
    """SELECT an application by its name or AID."""
    return Command(0x00, _SELECT, 0x04, 0x00, name, 0)


def select_file(name: bytes, *, p1: int = 0x00) -> Command:
    """SELECT a file below the application; some cards want P1 02."""
    return Command(0x00, _SELECT, p1, 0x00, name)


def read_record(number: int, *, sfi: int = 0) -> Command:
    """READ RECORD by number, of the selected file or of `sfi`."""
    return Command(0x00, _READ_RECORD, number, sfi << 3 | 0x04, le=0)


def read_tag(tag: int) -> Command:
    """READ RECORD by the tag of its content, as older social-security cards have it."""
    return Command(0x00, _READ_RECORD, tag, 0x00, le=0)


def get_processing_options(pdol_values: bytes) -> Command:
    """GET PROCESSING OPTIONS; without a PDOL the list is empty."""
    return Command(0x80, _GPO, 0x00, 0x00, bytes((0x83, len(pdol_values))) + pdol_values, 0)


# --- social-security cards -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One record: its number, its tag, and how many bytes the specification gives it."""

    record: int
    tag: int
    length: int


IDENTIFICATION, VERSION = Item(1, 0x01, 16), Item(3, 0x03, 4)
ISSUED_ON, EXPIRES_ON, CARD_NUMBER = Item(5, 0x05, 4), Item(6, 0x06, 4), Item(7, 0x07, 9)
ID_NUMBER, NAME, SEX = Item(1, 0x08, 18), Item(2, 0x09, 30), Item(4, 0x0A, 1)
AREA, BIRTH_DATE = Item(6, 0x0C, 3), Item(7, 0x0D, 4)


def decode_item(item: Item, data: bytes) -> bytes:
    """Value of a record `tag length value`.

    Raises:
        CardError: another tag, or another length than said.
    """
    if len(data) < 2 or data[0] != item.tag:  # noqa: PLR2004 - tag and length
        raise CardError(f"record {item.record}: not tag {item.tag:02X}")
    if len(data) < 2 + data[1] or data[1] > item.length:
        raise CardError(f"record {item.record}: wrong length")
    return data[2 : 2 + data[1]]


def text(value: bytes) -> str:
    """GBK text without its padding; GB 18030 knows the rare characters of names.

    Raises:
        CardError: it is no text.
    """
    try:
        return value.rstrip(b"\x00\xff ").decode("gb18030").strip()
    except UnicodeDecodeError as error:
        raise CardError("text is no GBK") from error


def id_number(value: bytes) -> str:
    """The 18 characters of a resident id number.

    Raises:
        CardError: it is none.
    """
    number = text(value).upper()
    if len(number) != _ID_DIGITS or not (
        number[:-1].isascii() and number[:-1].isdigit() and number[-1] in "0123456789X"
    ):
        raise CardError("id number")
    return number


def date(value: bytes) -> str:
    """YYYYMMDD out of BCD.

    Raises:
        CardError: it is no digits.
    """
    digits = value.hex()
    if len(digits) != 8 or not digits.isdecimal():  # noqa: PLR2004 - YYYYMMDD
        raise CardError("date")
    return digits


def sex(value: bytes) -> str | None:
    """The code of GB/T 2261, None when it is something else."""
    code = value.decode("ascii", "replace")
    return code if code in _SEXES else None


def historical_bytes(atr: bytes) -> str:
    """Historical bytes of an ATR in hex; issuers call them the reset information. "" when the ATR is cut short.

    ISO/IEC 7816-3, 8.2: T0 says how many there are and which interface bytes stand before them.
    """
    if len(atr) < 2:  # noqa: PLR2004 - TS and T0
        return ""
    count, marks, at = atr[1] & 0x0F, atr[1] >> 4, 2
    while marks:
        at += marks.bit_count()
        is_more = marks & 0x08
        marks = atr[at - 1] >> 4 if is_more and at <= len(atr) else 0
    return atr[at : at + count].hex().upper() if at + count <= len(atr) else ""
