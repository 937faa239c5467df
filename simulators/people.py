"""People who do not exist: names, numbers and addresses, the same for the same seed.

Resident numbers carry the check digit of GB 11643-1999 (the twelfth appendix of ISO 7064, MOD 11-2); their region
code was never given out, so that no number can be a living person's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

RARE_NAMES = ("龚䶮", "𠮷田树", "王𬭎", "㛃佳", "赵㐱", "欧阳𫖯")
"""Characters a machine may not know: extension A, U+4DAE, and beyond the first plane."""

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜"
_GIVEN = "伟芳娜敏静丽强磊洋艳勇军杰娟涛明超秀英华玉兰平刚桂文辉建国春梅海燕"
_STREETS = ("幸福路", "光明街", "建设大道", "和平里", "人民东路", "桃园小区", "长江路")
_LATIN_FAMILY = ("SMITH", "TANAKA", "MUELLER", "IVANOVA", "KIM", "OKAFOR", "GARCIA")
_LATIN_GIVEN = ("JOHN", "YUKI", "ANNA", "MIN JUN", "CHIDI", "SOFIA", "ALEXANDER")
_COUNTRIES = ("USA", "JPN", "DEU", "RUS", "KOR", "NGA", "ESP")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_PERMIT_WEIGHTS = (7, 3, 1)
_REGION = "999999"
_RARE_SHARE = 0.05
_FIRST_BIRTH, _LAST_BIRTH = date(1930, 1, 1), date(2020, 12, 31)


class Paper(StrEnum):
    """Which document a person carries."""

    RESIDENT = "resident"
    HK_MACAO_TAIWAN = "hk_macao_taiwan"
    FOREIGNER_2017 = "foreigner_2017"
    FOREIGNER_2023 = "foreigner_2023"


@dataclass(frozen=True, slots=True)
class Person:
    """One made-up person with one document."""

    paper: Paper
    name: str
    latin_name: str
    sex: int
    nation: str
    born: date
    address: str
    number: str
    issuer: str
    valid_from: date
    valid_to: date | None
    pass_number: str = ""
    issue_count: str = ""
    country: str = ""


def check_digit(first_17: str) -> str:
    """The eighteenth character of a resident number, GB 11643.

    Raises:
        ValueError: these are not 17 digits.
    """
    if len(first_17) != len(_WEIGHTS) or not first_17.isdecimal():
        raise ValueError("a resident number has 17 digits and a check digit")
    total = sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11]


def resident_number(region: str, born: date, serial: int) -> str:
    """A whole resident number; an odd `serial` is a man's."""
    first_17 = f"{region}{born:%Y%m%d}{serial:03d}"
    return first_17 + check_digit(first_17)


def permit_check(first: str) -> str:
    """The check digit of a foreigner's permit, ICAO 9303 weights over letters A=10 to Z=35 and `<`=0."""
    total = sum(_value(letter) * _PERMIT_WEIGHTS[index % 3] for index, letter in enumerate(first))
    return str(total % 10)


def _value(letter: str) -> int:
    return 0 if letter == "<" else int(letter, 36)


class People:
    """An endless, repeatable supply of people."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[Person]:
        while True:
            yield self.person()

    def person(self, paper: Paper = Paper.RESIDENT) -> Person:
        """The next one, with the document asked for."""
        rng = self._random
        sex = rng.choice((1, 2))
        born = _FIRST_BIRTH + timedelta(days=rng.randrange((_LAST_BIRTH - _FIRST_BIRTH).days))
        since = date(rng.randint(2012, 2022), rng.randint(1, 12), rng.randint(1, 28))
        is_old = born.year < 1970  # noqa: PLR2004 - about who gets a card without an end
        return Person(
            paper=paper,
            name=self._name(),
            latin_name=f"{rng.choice(_LATIN_FAMILY)}, {rng.choice(_LATIN_GIVEN)}",
            sex=sex,
            nation=f"{rng.randint(1, 56):02d}",
            born=born,
            address=f"测试省样例市{rng.choice(_STREETS)}{rng.randint(1, 999)}号{rng.randint(1, 30)}室",
            number=self._number(paper, born, sex),
            issuer="测试市公安局样例分局",
            valid_from=since,
            valid_to=None if is_old and paper is Paper.RESIDENT else since.replace(year=since.year + 10),
            pass_number=f"{rng.choice('HM')}{rng.randrange(10**8):08d}" if paper is Paper.HK_MACAO_TAIWAN else "",
            issue_count="01",
            country=rng.choice(_COUNTRIES),
        )

    def _name(self) -> str:
        rng = self._random
        if rng.random() < _RARE_SHARE:
            return rng.choice(RARE_NAMES)
        return rng.choice(_SURNAMES) + "".join(rng.choice(_GIVEN) for _ in range(rng.randint(1, 2)))

    def _number(self, paper: Paper, born: date, sex: int) -> str:
        rng = self._random
        serial = rng.randrange(1, 998) // 2 * 2 + (sex % 2)
        match paper:
            case Paper.RESIDENT:
                return resident_number(_REGION, born, serial)
            case Paper.HK_MACAO_TAIWAN:
                return resident_number(rng.choice(("819999", "829999", "839999")), born, serial)
            case Paper.FOREIGNER_2017:
                first = f"{rng.choice(_COUNTRIES)}11{rng.randrange(10**3):03d}{born:%y%m%d}"
                return first + permit_check(first)
            case Paper.FOREIGNER_2023:
                first = f"9{rng.randrange(10**5):05d}{born:%Y%m%d}{serial:03d}"
                return first + check_digit(first)
