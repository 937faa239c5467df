"""Cards without plastic: a social-security card and an EMV debit card, as pure cores with scripted faults.

Written from the public layout of the social-security card (application `sx1.sh.社会保障`, EF05, EF06), EMV Book 1 and
Book 3, and ISO/IEC 7816-4. Whoever sends VERIFY is counted: nobody may.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Protocol

from simulators.people import resident_number

SSSE = b"sx1.sh." + "社会保障".encode("gbk")
PSE = b"1PAY.SYS.DDF01"
UNIONPAY_DEBIT = bytes.fromhex("A000000333010101")

_OK, _NOT_FOUND, _NO_RECORD = b"\x90\x00", b"\x6a\x82", b"\x6a\x83"
_PROTECTED, _NOT_ALLOWED, _BAD_INS = b"\x69\x82", b"\x69\x85", b"\x6d\x00"
_SELECT, _READ_RECORD, _GPO, _GET_RESPONSE, _VERIFY = 0xA4, 0xB2, 0xA8, 0xC0, 0x20
_HEADER = 4
_SHORT_MAX = 255
_LENGTH_PLAIN = 0x7F
_BY_NAME = _BY_RECORD = 0x04
_DATA_SFIS = {2, 3}


class CardFault(StrEnum):
    """What can be made to go wrong; `after` counts APDUs since the card was powered up."""

    YANKED = "yanked"
    SLOW = "slow"
    NO_ANSWER = "no_answer"
    MUTE_ATR = "mute_atr"
    WRONG_STATUS = "wrong_status"
    SHORT_ANSWER = "short_answer"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the card does about one APDU; `data` None says nothing at all."""

    data: bytes | None = field(repr=False, default=None)
    delay_s: float = 0.0
    is_yanked: bool = False


_INSTEAD: Mapping[CardFault | None, Answer] = {
    CardFault.YANKED: Answer(is_yanked=True),
    CardFault.NO_ANSWER: Answer(),
    CardFault.WRONG_STATUS: Answer(b"\x6f\x00"),
    CardFault.SHORT_ANSWER: Answer(b"\x90"),
    CardFault.GARBAGE: Answer(bytes(range(0x80, 0xA0)) + _OK),
}


@dataclass(slots=True)
class _Scripted:
    fault: CardFault
    after: int
    times: int


class Application(Protocol):
    """What a card does with a command once transport matters are out of the way."""

    def run(self, apdu: bytes) -> bytes:
        """Data and status word."""

    def reset(self) -> None:
        """Nothing is selected."""


class SmartCard:
    """One card. With `is_t0` answers come in two steps (61xx, then GET RESPONSE) and a wrong Le is told (6Cxx)."""

    def __init__(self, application: Application, atr: bytes, *, is_t0: bool = True, delay_s: float = 1.0) -> None:
        self.atr = atr
        self.is_t0 = is_t0
        self.delay_s = delay_s
        self.verifies = 0
        self.apdus = self.longest = 0
        self._application = application
        self._waiting = b""
        self._scripts: list[_Scripted] = []

    def script(self, fault: CardFault, *, after: int = 0, times: int = 1) -> None:
        """Let `fault` happen to the APDUs that follow the first `after` ones, `times` of them."""
        self._scripts.append(_Scripted(fault, after, times))

    @property
    def scripted(self) -> tuple[CardFault, ...]:
        """What is still to happen."""
        return tuple(script.fault for script in self._scripts if script.times > 0)

    def repair(self) -> None:
        """A good card again."""
        self._scripts.clear()

    def has(self, fault: CardFault) -> bool:
        """Whether this is scripted and not used up."""
        return any(script.fault is fault and script.times > 0 for script in self._scripts)

    def power_up(self) -> None:
        """Power or reset: nothing is selected, nothing waits."""
        self._application.reset()
        self._waiting = b""
        self.apdus = 0

    def exchange(self, apdu: bytes) -> Answer:
        """What comes back, how late, or that it is pulled out."""
        fault = self._due()
        self.apdus += 1
        self.longest = max(self.longest, self.apdus)
        if fault in _INSTEAD:
            return _INSTEAD[fault]
        return Answer(self._transport(apdu), delay_s=self.delay_s if fault is CardFault.SLOW else 0.0)

    def _due(self) -> CardFault | None:
        for script in self._scripts:
            if script.fault is not CardFault.MUTE_ATR and script.times > 0 and self.apdus >= script.after:
                script.times -= 1
                return script.fault
        return None

    def _transport(self, apdu: bytes) -> bytes:
        if len(apdu) < _HEADER:
            return b"\x67\x00"
        instruction = apdu[1]
        if instruction == _VERIFY:
            self.verifies += 1
            return b"\x63\xc2"
        if instruction == _GET_RESPONSE:
            data, self._waiting = self._waiting, b""
            return data + _OK if data else b"\x69\x85"
        reply = self._application.run(apdu)
        return self._in_steps(apdu, reply) if self.is_t0 and reply.endswith(_OK) and reply != _OK else reply

    def _in_steps(self, apdu: bytes, reply: bytes) -> bytes:
        data = reply[:-2]
        if len(apdu) > _HEADER + 1:
            self._waiting = data
            return bytes((0x61, len(data) & 0xFF))
        expected = apdu[_HEADER] if len(apdu) > _HEADER else 0
        return reply if expected == len(data) else bytes((0x6C, len(data) & 0xFF))


def _body(apdu: bytes) -> bytes:
    return apdu[5 : 5 + apdu[4]] if len(apdu) > _HEADER + 1 else b""


def tlv(tag: str, *values: bytes) -> bytes:
    """BER: a tag in hex, its length, its value."""
    value = b"".join(values)
    length = bytes((len(value),)) if len(value) <= _LENGTH_PLAIN else b"\x81" + bytes((len(value),))
    assert len(value) <= _SHORT_MAX, tag  # noqa: S101 - what the tester asks for does not fit into one APDU
    return bytes.fromhex(tag) + length + value


@dataclass(frozen=True, slots=True)
class Holder:
    """A made-up person; the number is the example of GB 11643."""

    name: str = field(default="王䶮", repr=False)
    id_number: str = field(default=resident_number("110105", date(1949, 12, 31), 2), repr=False)
    card_number: str = field(default="A12345678", repr=False)
    sex: str = "2"


class SocialCardApplication:
    """EF05 and EF06 below SSSE. `by_tag` answers to tags in P1, else to record numbers; a real card knows one."""

    def __init__(self, holder: Holder, *, is_protected: bool = False, by_tag: bool = False) -> None:
        birth = bytes.fromhex(holder.id_number[6:14])
        items: dict[bytes, list[tuple[int, int, bytes]]] = {
            b"\xef\x05": [
                (1, 1, bytes.fromhex("310000D15600000500112233445566FF")),
                (2, 2, b"1"),
                (3, 3, b"3.00"),
                (4, 4, bytes.fromhex("915600000231000031000000")),
                (5, 5, bytes.fromhex("20240115")),
                (6, 6, bytes.fromhex("20340115")),
                (7, 7, holder.card_number.encode("ascii")),
            ],
            b"\xef\x06": [
                (1, 8, holder.id_number.encode("ascii")),
                (2, 9, holder.name.encode("gb18030").ljust(30, b"\x00")),
                (4, 10, holder.sex.encode("ascii")),
                (5, 11, b"\x01"),
                (6, 12, bytes.fromhex(holder.id_number[:6])),
                (7, 13, birth),
            ],
        }
        self._files: Mapping[bytes, Mapping[int, bytes]] = {
            name: {(tag if by_tag else record): bytes((tag, len(value))) + value for record, tag, value in rows}
            for name, rows in items.items()
        }
        self._by_tag = by_tag
        self._is_protected = is_protected
        self._is_in = False
        self._file = b""

    def reset(self) -> None:
        """See `Application`."""
        self._is_in, self._file = False, b""

    def run(self, apdu: bytes) -> bytes:
        """See `Application`."""
        if apdu[1] == _SELECT:
            return self._select(apdu)
        if apdu[1] != _READ_RECORD:
            return _BAD_INS
        if not self._file:
            return _NOT_ALLOWED
        if self._is_protected and self._file == b"\xef\x06":
            return _PROTECTED
        if (apdu[3] == _BY_RECORD) is self._by_tag:
            return b"\x6a\x86"
        row = self._files[self._file].get(apdu[2])
        return _NO_RECORD if row is None else row + _OK

    def _select(self, apdu: bytes) -> bytes:
        body = _body(apdu)
        if apdu[2] == _BY_NAME:
            self._is_in, self._file = body == SSSE, b""
            return tlv("6F", tlv("84", SSSE)) + _OK if self._is_in else _NOT_FOUND
        if self._is_in and body in self._files:
            self._file = body
            return _OK
        return _NOT_FOUND


class DebitCardApplication:
    """An EMV debit card: PSE (unless `has_pse` is false), one application, two records."""

    def __init__(
        self, pan: str = "6217000012345678906", *, expiry: str = "291231", has_pse: bool = True, with_pdol: bool = True
    ) -> None:
        digits = pan + "F" * (len(pan) % 2)
        track = f"{pan}D{expiry[:4]}2200000000000"
        name = tlv("5F20", b"WANG/YAN"), tlv("5F24", bytes.fromhex(expiry)), tlv("5A", bytes.fromhex(digits))
        self._records = {
            (1, 1): tlv(
                "70", tlv("4F", UNIONPAY_DEBIT), tlv("50", b"UnionPay Debit"), tlv("87", b"\x01")
            ),
            (2, 1): tlv("70", tlv("57", bytes.fromhex(track + "F" * (len(track) % 2))), tlv("5F34", b"\x01")),
            (3, 1): tlv("70", *name),
        }  # fmt: skip
        self._has_pse = has_pse
        self._pdol = bytes.fromhex("9F1A029A039F3704") if with_pdol else b""
        self._selected = b""
        self._is_open = False

    def reset(self) -> None:
        """See `Application`."""
        self._selected, self._is_open = b"", False

    def run(self, apdu: bytes) -> bytes:
        """See `Application`."""
        if apdu[1] == _SELECT:
            return self._select(_body(apdu))
        if apdu[1] == _GPO:
            return self._begin(_body(apdu))
        if apdu[1] == _READ_RECORD:
            return self._read(apdu[3] >> 3, apdu[2])
        return _BAD_INS

    def _select(self, name: bytes) -> bytes:
        self._is_open = False
        if name == PSE and self._has_pse:
            self._selected = name
            return tlv("6F", tlv("84", PSE), tlv("A5", tlv("88", b"\x01"))) + _OK
        if name == UNIONPAY_DEBIT:
            self._selected = name
            parts = [tlv("50", b"UnionPay Debit"), tlv("5F2D", b"zhen")]
            if self._pdol:
                parts.append(tlv("9F38", self._pdol))
            return tlv("6F", tlv("84", name), tlv("A5", *parts)) + _OK
        return _NOT_FOUND

    def _begin(self, body: bytes) -> bytes:
        wanted = 2 + 3 + 4 if self._pdol else 0  # lengths of the three items of the PDOL
        if self._selected != UNIONPAY_DEBIT or body[:1] != b"\x83" or len(body) != 2 + wanted:
            return _NOT_ALLOWED
        self._is_open = True
        return tlv("80", bytes.fromhex("7C00"), bytes.fromhex("1001010018010100")) + _OK

    def _read(self, sfi: int, record: int) -> bytes:
        is_directory = sfi == 1 and self._selected == PSE
        if not is_directory and not (self._is_open and sfi in _DATA_SFIS):
            return _NO_RECORD
        row = self._records.get((sfi, record))
        return _NO_RECORD if row is None else row + _OK


SOCIAL_ATR = bytes.fromhex("3B6D0000" + "0081544432866044160000AA55")
DEBIT_ATR = bytes.fromhex("3B690000" + "868001414243444546")


def social_card(
    holder: Holder | None = None, *, is_protected: bool = False, by_tag: bool = False, is_t0: bool = True
) -> SmartCard:
    """A social-security card; `is_protected` asks for a PIN before EF06."""
    application = SocialCardApplication(holder or Holder(), is_protected=is_protected, by_tag=by_tag)
    return SmartCard(application, SOCIAL_ATR, is_t0=is_t0)


def debit_card(pan: str = "6217000012345678906", *, has_pse: bool = True, with_pdol: bool = True) -> SmartCard:
    """A bank card with a made-up number."""
    return SmartCard(DebitCardApplication(pan, has_pse=has_pse, with_pdol=with_pdol), DEBIT_ATR)
