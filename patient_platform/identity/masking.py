"""What others may see of a name, a number, a phone."""

from __future__ import annotations

from datetime import date
from typing import Final

_STARS_MAX: Final = 2
_ID_DIGITS: Final = 18
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_PHONE_DIGITS: Final = 11
_TAIL: Final = 4


def mask_name(name: str) -> str:
    """The first character and stars: `张*`, `欧**`."""
    return name[:1] + "*" * max(1, min(len(name) - 1, _STARS_MAX))


def tail(number: str) -> str | None:
    """The last four characters, None of a number too short to hide anything."""
    return number[-_TAIL:] if len(number) > 2 * _TAIL else None


def mask_phone(phone: str) -> str | None:
    """`138****1234`, None of anything that is no mobile number."""
    if len(phone) != _PHONE_DIGITS or not phone.isdecimal():
        return None
    return f"{phone[:3]}****{phone[-_TAIL:]}"


def is_resident_number(number: str) -> bool:
    """Whether the check digit of GB 11643 fits; of 18 characters only."""
    if len(number) != _ID_DIGITS or not (number.isascii() and number[:-1].isdecimal()):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:-1], _WEIGHTS, strict=True))
    return number[-1].upper() == "10X98765432"[total % 11]


def born_of(number: str) -> date | None:
    """The day of birth in a resident number."""
    if not is_resident_number(number):
        return None
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


def age_on(born: date | None, day: date) -> int | None:
    """Whole years."""
    if born is None:
        return None
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
