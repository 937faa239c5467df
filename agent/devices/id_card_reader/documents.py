"""The 256-byte text area of the chip: four documents, fixed places, UTF-16 little endian (GA/T 467-2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from agent.devices.id_card_reader.types import DocumentType, IdDocument, Sex

TEXT_BYTES = 256
LONG_TERM = "长期"
_TYPE_AT = slice(248, 250)
_SEXES = {"0": Sex.UNKNOWN, "1": Sex.MALE, "2": Sex.FEMALE, "9": Sex.UNSPECIFIED}
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_PERMIT_WEIGHTS = (7, 3, 1)
_NEW_CHARACTERS, _OLD_CHARACTERS, _LINK_CHARACTERS = 18, 15, 3
_DATE_CHARACTERS = 8
_NATIONS = (
    "汉 蒙古 回 藏 维吾尔 苗 彝 壮 布依 朝鲜 满 侗 瑶 白 土家 哈尼 哈萨克 傣 黎 傈僳 佤 畲 高山 拉祜 水 东乡 纳西 景颇 "
    "柯尔克孜 土 达斡尔 仫佬 羌 布朗 撒拉 毛南 仡佬 锡伯 阿昌 普米 塔吉克 怒 乌孜别克 俄罗斯 鄂温克 德昂 保安 裕固 京 "
    "塔塔尔 独龙 鄂伦春 赫哲 门巴 珞巴 基诺"
)
NATIONS: Mapping[str, str] = MappingProxyType(
    {f"{code:02d}": name for code, name in enumerate(_NATIONS.split(), 1)} | {"97": "其他", "98": "外国血统中国籍人士"}
)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a document has what: field name -> first and last byte; several places are joined."""

    type: DocumentType
    places: Mapping[str, tuple[tuple[int, int], ...]]


_RESIDENT: Mapping[str, tuple[tuple[int, int], ...]] = {
    "name": ((0, 30),),
    "sex": ((30, 32),),
    "nation_code": ((32, 36),),
    "born": ((36, 52),),
    "address": ((52, 122),),
    "number": ((122, 158),),
    "issuer": ((158, 188),),
    "valid_from": ((188, 204),),
    "valid_to": ((204, 220),),
}
_LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        "": _Layout(DocumentType.RESIDENT, _RESIDENT),
        "J": _Layout(
            DocumentType.HK_MACAO_TAIWAN,
            {key: place for key, place in _RESIDENT.items() if key != "nation_code"}
            | {"pass_number": ((220, 238),), "issue_count": ((238, 242),)},
        ),
        "I": _Layout(
            DocumentType.FOREIGNER_2017,
            {
                "latin_name": ((0, 120),),
                "sex": ((120, 122),),
                "number": ((122, 152),),
                "country": ((152, 158),),
                "name": ((158, 188),),
                "valid_from": ((188, 204),),
                "valid_to": ((204, 220),),
                "born": ((220, 236),),
            },
        ),
        "Y": _Layout(
            DocumentType.FOREIGNER_2023,
            {
                "name": ((0, 30),),
                "sex": ((30, 32),),
                "issue_count": ((32, 36),),
                "born": ((36, 52),),
                "latin_name": ((52, 122), (220, 242)),
                "number": ((122, 158),),
                "valid_from": ((188, 204),),
                "valid_to": ((204, 220),),
                "country": ((242, 248),),
                "link": ((250, 256),),
            },
        ),
    }
)


def parse(text: bytes, *, photo: bytes = b"", long_term: str = LONG_TERM) -> IdDocument:
    """The document in a text area.

    Raises:
        ValueError: it is no text area; the text says which rule it breaks and shows nothing of it.
    """
    if len(text) != TEXT_BYTES:
        raise ValueError("a text area has 256 bytes")
    letter = _text(text, (_TYPE_AT.start, _TYPE_AT.stop)).lstrip("0")
    layout = _LAYOUTS.get(letter)
    if layout is None:
        raise ValueError("a kind of document that is not known")
    found = {key: "".join(_raw(text, place) for place in places).rstrip(" \0") for key, places in layout.places.items()}
    if not found["number"]:
        raise ValueError("a document without a number")
    number, nation_code = found["number"], found.get("nation_code", "")
    return IdDocument(
        type=layout.type,
        name=found["name"],
        number=number,
        number_is_valid=number_is_valid(number),
        sex=_SEXES.get(found["sex"], Sex.UNKNOWN),
        born=_date(found["born"]),
        valid_from=_date(found["valid_from"]),
        valid_to=_date(found["valid_to"]),
        is_long_term=found["valid_to"] == long_term,
        latin_name=found.get("latin_name", ""),
        nation_code=nation_code,
        nation=NATIONS.get(nation_code, ""),
        address=found.get("address", ""),
        issuer=found.get("issuer", ""),
        pass_number=found.get("pass_number", ""),
        issue_count=found.get("issue_count", ""),
        country=found.get("country", ""),
        older_number=older_number(number, found.get("country", ""), found.get("link", "")),
        photo=photo,
    )


def parse_address(data: bytes) -> str:
    """The newest address of a document.

    Raises:
        ValueError: it is no text.
    """
    return data[: len(data) // 2 * 2].decode("utf-16-le").rstrip(" \0")


def number_is_valid(number: str) -> bool:
    """Whether the check digit of a number of 18 (GB 11643) or of a permit of 15 (ICAO 9303) fits."""
    if not number.isascii():
        return False
    if len(number) == _NEW_CHARACTERS and number[:-1].isdecimal():
        total = sum(int(digit) * weight for digit, weight in zip(number[:-1], _WEIGHTS, strict=True))
        return _CHECK_DIGITS[total % 11] == number[-1].upper()
    if len(number) == _OLD_CHARACTERS and number[:-1].isalnum():
        return _permit_check(number[:-1]) == number[-1]
    return False


def older_number(number: str, country: str, link: str) -> str:
    """The permit number of 2017 that belongs to one of 2023; empty when it cannot be told (one public driver)."""
    if len(number) != _NEW_CHARACTERS or len(country) != _LINK_CHARACTERS or len(link) != _LINK_CHARACTERS:
        return ""
    first = country + number[1:3] + link[:2] + number[8:14] + link[-1]
    if not (first.isascii() and first.replace("<", "A").isalnum()):
        return ""
    return first + _permit_check(first)


def _permit_check(first: str) -> str:
    values = (0 if letter == "<" else int(letter, 36) for letter in first)
    return str(sum(value * _PERMIT_WEIGHTS[index % 3] for index, value in enumerate(values)) % 10)


def _raw(text: bytes, place: tuple[int, int]) -> str:
    try:
        return text[place[0] : place[1]].decode("utf-16-le")  # whole fields: a rare character takes two units
    except UnicodeDecodeError:
        raise ValueError(f"bytes {place[0]} to {place[1]} are no text") from None


def _text(text: bytes, place: tuple[int, int]) -> str:
    return _raw(text, place).strip(" \0")


def _date(text: str) -> date | None:
    if len(text) != _DATE_CHARACTERS or not (text.isascii() and text.isdecimal()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
