"""Made-up people whose numbers look real, and the search for places they leaked to.

Resident numbers follow GB 11643 with check digits by ISO 7064 MOD 11-2, cards pass Luhn. They belong to nobody:
the region code begins with 99, which no province has (GB/T 2260). Everything follows from one seed.

A canary is a value that must never appear somewhere: plant it, run, then `grep_canaries` over every file, log and
database. The search also finds it in other encodings, inside JSON escapes, URLs, base64 and gzip files.
"""

from __future__ import annotations

import base64
import json
import mmap
import random
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_REGIONS = ("990101", "990102", "990203", "991104", "992205")
_PHONE_HEADS = ("133", "139", "150", "166", "177", "188", "199")
_CARD_HEADS = ("621700", "622848", "625999", "436742")
_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨魏陶姜"
_GIVEN = "镕堃淼焱垚鑫喆翀赟旻昉晟昕曌珺琰瑷璟甯頔骁骐黛𠮷"
_FIRST_BIRTH = date(1925, 1, 1)
_BIRTH_DAYS = 35_000
_GZIP_MAGIC = b"\x1f\x8b"
_BASE64_TRIMS = ((0, 0), (2, 1), (3, 2))


def resident_check_digit(first_17: str) -> str:
    """Check digit of a resident number: ISO 7064 MOD 11-2, `0` to `9` or `X`."""
    total = sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11]


def luhn_digit(front: str) -> str:
    """Check digit of a bank card number (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, character in enumerate(reversed(front)):
        digit = int(character) * (2 if place % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


@dataclass(frozen=True, slots=True)
class Person:
    """One made-up person."""

    name: str
    resident_id: str
    phone: str
    card: str
    birth: date
    sex: str

    def canaries(self) -> dict[str, str]:
        """Values that must not leak, by what they are."""
        return {"name": self.name, "resident_id": self.resident_id, "phone": self.phone, "card": self.card}


def _person(rng: random.Random) -> Person:
    birth = _FIRST_BIRTH + timedelta(days=rng.randrange(_BIRTH_DAYS))
    order = rng.randrange(1, 1_000)
    front = f"{rng.choice(_REGIONS)}{birth:%Y%m%d}{order:03d}"
    card_front = rng.choice(_CARD_HEADS) + "".join(rng.choices("0123456789", k=12))
    return Person(
        name=rng.choice(_SURNAMES) + "".join(rng.sample(_GIVEN, k=2)),
        resident_id=front + resident_check_digit(front),
        phone=rng.choice(_PHONE_HEADS) + "".join(rng.choices("0123456789", k=8)),
        card=card_front + luhn_digit(card_front),
        birth=birth,
        sex="男" if order % 2 else "女",
    )


def people(count: int, *, seed: int = 1) -> list[Person]:
    """So many different people, the same for the same seed."""
    rng = random.Random(seed)
    found: dict[str, Person] = {}
    while len(found) < count:
        person = _person(rng)
        found[person.resident_id] = person
    return list(found.values())


def canaries_of(persons: Iterable[Person]) -> dict[str, str]:
    """All canaries of these people, by `what-number`."""
    return {
        f"{what}-{number}": value
        for number, person in enumerate(persons, 1)
        for what, value in person.canaries().items()
    }


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a canary was found."""

    path: Path
    canary: str
    encoding: str
    offset: int

    def __str__(self) -> str:
        """One line for a person; the value itself is not repeated."""
        return f"{self.path}: {self.canary} as {self.encoding} at byte {self.offset}"


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """What every base64 text that contains `raw` contains, for the three ways it can be aligned."""
    for shift, (head, _) in enumerate(_BASE64_TRIMS):
        text = base64.b64encode(b"\0" * shift + raw)
        whole = len(raw) + shift
        tail = {0: 0, 1: 3, 2: 2}[whole % 3]
        form = text[head : len(text) - tail]
        yield form
        yield form.replace(b"+", b"-").replace(b"/", b"_")


def _forms(value: str) -> dict[bytes, str]:
    """How a value may look in a file, and what to call that."""
    utf8 = value.encode()
    found = {utf8: "text"}
    for encoding in ("gb18030", "utf-16-le", "utf-16-be"):
        found.setdefault(value.encode(encoding), encoding)
    found.setdefault(json.dumps(value)[1:-1].encode(), "JSON escapes")
    found.setdefault(json.dumps(value)[1:-1].upper().replace("\\U", "\\u").encode(), "JSON escapes")
    found.setdefault(urllib.parse.quote(value).encode(), "URL")
    found.setdefault(utf8.hex().encode(), "hex")
    found.setdefault(utf8.hex().upper().encode(), "hex")
    for form in _base64_forms(utf8):
        found.setdefault(form, "base64")
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            yield from (each for each in sorted(path.rglob("*")) if each.is_file() and not each.is_symlink())
        elif path.is_file():
            yield path


def _search(data: bytes | mmap.mmap, forms: Sequence[tuple[str, bytes, str]], path: Path, note: str) -> Iterator[Leak]:
    for canary, form, encoding in forms:
        offset = data.find(form)
        if offset >= 0:
            yield Leak(path, canary, f"{encoding}{note}", offset)


def grep_canaries(paths: Iterable[Path], canaries: Mapping[str, str]) -> list[Leak]:
    """Find canaries (name of it -> value) in files and below directories; first place per file and form.

    Raises:
        ValueError: no canaries, or a value so short that it would be found by chance.
        FileNotFoundError: a path does not exist: a search of nothing proves nothing.
    """
    if not canaries or any(len(value.encode()) < 6 for value in canaries.values()):
        raise ValueError("a canary needs at least six bytes, and a search at least one canary")
    forms = [(name, form, encoding) for name, value in canaries.items() for form, encoding in _forms(value).items()]
    wanted = list(paths)
    for path in wanted:
        if not path.exists():
            raise FileNotFoundError(f"nothing to search at {path}")
    leaks: list[Leak] = []
    for path in _files(wanted):
        if path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            leaks.extend(_search(data, forms, path, ""))
            if data[:2] == _GZIP_MAGIC:
                leaks.extend(_search(_unpacked(data[:]), forms, path, " in gzip"))
    return leaks


def _unpacked(packed: bytes) -> bytes:
    """What a gzip file holds, as far as it can be read: a log may be cut in the middle."""
    found = b""
    while packed[:2] == _GZIP_MAGIC:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            found += member.decompress(packed)
        except zlib.error:
            break
        packed = member.unused_data
    return found


def assert_no_canaries(paths: Iterable[Path], canaries: Mapping[str, str]) -> None:
    """Check that no canary is in any of these files.

    Raises:
        AssertionError: names every file and what was found there.
    """
    leaks = grep_canaries(paths, canaries)
    assert not leaks, "personal data leaked:\n" + "\n".join(f"  {leak}" for leak in leaks)
