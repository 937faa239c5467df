"""EMV and PBOC: which application, which records, and of them only what the flow may keep (EMV Books 1 and 3).

The whole number never leaves this module: it is masked where it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from agent.devices.card_reader import tlv
from agent.devices.card_reader.frames import CardError

PSE = b"1PAY.SYS.DDF01"

AIDS: Mapping[str, bytes] = MappingProxyType(
    {
        "UnionPay debit": bytes.fromhex("A000000333010101"),
        "UnionPay credit": bytes.fromhex("A000000333010102"),
        "UnionPay quasi-credit": bytes.fromhex("A000000333010103"),
        "UnionPay electronic cash": bytes.fromhex("A000000333010106"),
        "Visa": bytes.fromhex("A0000000031010"),
        "Mastercard": bytes.fromhex("A0000000041010"),
    }
)

# Values a terminal gives to a card that asks for them in its PDOL; everything else is zeros.
_TERMINAL: Mapping[int, bytes] = MappingProxyType(
    {0x9F1A: b"\x01\x56", 0x5F2A: b"\x01\x56", 0x9F35: b"\x25", 0x9F33: b"\xe0\x20\xc8"}
)
_PDOL, _SFI, _AID, _LABEL = 0x9F38, 0x88, 0x4F, 0x50
_PAN, _TRACK_2, _EXPIRY, _AFL = 0x5A, 0x57, 0x5F24, 0x94
_FORMAT_1, _FORMAT_2 = 0x80, 0x77
_AIP_BYTES, _AFL_ENTRY = 2, 4
_PDOL_LIMIT = 250
_MAX_SFI = 30
_MAX_RECORDS = 32
_PAN_DIGITS = range(12, 20)
_HEAD, _TAIL = 6, 4
_EXPIRY_DIGITS = 4
_MONTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Application:
    """An application a card offers."""

    aid: bytes
    label: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What is left of a record after masking."""

    masked_pan: str = field(repr=False)
    expires: str = field(default="", repr=False)


def directory_sfi(fci: bytes) -> int:
    """Where the list of applications is.

    Raises:
        CardError: the answer to SELECT does not say.
    """
    value = _find(fci, _SFI)
    if not value or not 1 <= value[0] <= _MAX_SFI:
        raise CardError("directory without a file")
    return value[0]


def applications(record: bytes) -> list[Application]:
    """Applications of one record of the directory, in its order.

    Raises:
        CardError: it is no TLV.
    """
    found: list[Application] = []
    for item in _walk(record):
        if item.tag == _AID and item.value:
            found.append(Application(item.value))
        elif item.tag == _LABEL and found:
            found[-1] = Application(found[-1].aid, _label(item.value))
    return found


def label_of(fci: bytes) -> str:
    """Name of the application as the card has it.

    Raises:
        CardError: it is no TLV.
    """
    return _label(_find(fci, _LABEL) or b"")


def pdol_values(fci: bytes) -> bytes:
    """What GET PROCESSING OPTIONS has to carry for this application.

    Raises:
        CardError: the list cannot be read, or asks for more than fits.
    """
    values = b"".join(
        _TERMINAL.get(tag, b"").rjust(length, b"\x00")[-length:] if length else b""
        for tag, length in _data_objects(_find(fci, _PDOL) or b"")
    )
    if len(values) > _PDOL_LIMIT:
        raise CardError("PDOL asks for too much")
    return values


def records(reply: bytes) -> list[tuple[int, int]]:
    """File and record numbers to read, out of the answer to GET PROCESSING OPTIONS.

    Raises:
        CardError: it is neither format 1 nor format 2, or names impossible records.
    """
    outer = _parse(reply)
    if not outer:
        raise CardError("no processing options")
    if outer[0].tag == _FORMAT_1:
        afl = outer[0].value[_AIP_BYTES:]
    elif outer[0].tag == _FORMAT_2:
        afl = _find(outer[0].value, _AFL) or b""
    else:
        raise CardError("processing options of no known format")
    if not afl or len(afl) % _AFL_ENTRY:
        raise CardError("file locator of a wrong length")
    found: list[tuple[int, int]] = []
    for at in range(0, len(afl), _AFL_ENTRY):
        sfi, first, last = afl[at] >> 3, afl[at + 1], afl[at + 2]
        if not 1 <= sfi <= _MAX_SFI or not 1 <= first <= last:
            raise CardError("file locator names no file")
        found += [(sfi, number) for number in range(first, last + 1)]
    return found[:_MAX_RECORDS]


def account(parts: Sequence[bytes]) -> Account | None:
    """Masked number and expiry out of the records of a card; None when no number is there.

    Raises:
        CardError: a record is no TLV, or its number is none.
    """
    pan = expires = ""
    for item in (item for part in parts for item in _walk(part)):
        if item.tag == _PAN:
            pan = mask_pan(item.value.hex().rstrip("f"))
        elif item.tag == _TRACK_2:
            number, _, rest = item.value.hex().partition("d")
            pan = pan or mask_pan(number)
            expires = expires or _expiry(rest)
        elif item.tag == _EXPIRY:
            expires = _expiry(item.value.hex())
    return Account(pan, expires) if pan else None


def mask_pan(digits: str) -> str:
    """First six and last four digits, stars between.

    Raises:
        CardError: it is no card number.
    """
    if len(digits) not in _PAN_DIGITS or not digits.isdecimal():
        raise CardError("card number")
    return digits[:_HEAD] + "*" * (len(digits) - _HEAD - _TAIL) + digits[-_TAIL:]


def _expiry(digits: str) -> str:
    start = digits[:_EXPIRY_DIGITS]
    is_date = len(start) == _EXPIRY_DIGITS and start.isdecimal() and int(start[2:]) in _MONTHS
    return start if is_date else ""


def _label(value: bytes) -> str:
    return "".join(character for character in value.decode("ascii", "ignore")[:16] if character.isprintable())


def _data_objects(pdol: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(pdol):
        tag, at = pdol[at], at + 1
        if tag & 0x1F == 0x1F:  # noqa: PLR2004 - the mark of a longer tag
            if at >= len(pdol):
                raise CardError("PDOL cut short")
            tag, at = tag << 8 | pdol[at], at + 1
        if at >= len(pdol):
            raise CardError("PDOL cut short")
        yield tag, pdol[at]
        at += 1


def _parse(data: bytes) -> list[tlv.Tlv]:
    try:
        return tlv.parse(data)
    except tlv.TlvError as error:
        raise CardError(str(error)) from error


def _walk(data: bytes) -> list[tlv.Tlv]:
    try:
        return list(tlv.walk(data))
    except tlv.TlvError as error:
        raise CardError(str(error)) from error


def _find(data: bytes, tag: int) -> bytes | None:
    return next((item.value for item in _walk(data) if item.tag == tag), None)
