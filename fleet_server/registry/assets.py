"""The hospital's asset list, read from CSV: every mistake is named, and a list with one mistake is no list.

Columns may come in any order under Chinese or English names. Text is UTF-8 (with or without a byte order
mark) or, as Excel in China saves it, GBK / GB 18030. `x` and `y` place the kiosk on the floor plan, in
metres from its upper left corner. `site`, `switch` and `power_feed` say what kiosks share: when many fail at once,
the incident is named after it.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from fleet_server.registry.model import Asset, AssetProblem
from wire.identity import InvalidKioskId, check_kiosk_id

LINES_MAX: Final = 10_000
BYTES_MAX: Final = 4_000_000
PROBLEMS_MAX: Final = 1_000
METRES_MAX: Final = 10_000.0
_FORMULA: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NUMBER: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?")
_DELIMITERS: Final = (",", "\t", ";")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that have no place in a cell: control, format (also text direction), private use."""


class Column(StrEnum):
    """What a line may say."""

    ASSET_NO = "asset_no"
    SERIAL = "serial"
    PLACE = "place"
    AREA = "area"
    FLOOR = "floor"
    X = "x"
    Y = "y"
    PROFILE = "profile"
    SITE = "site"
    SWITCH = "switch"
    POWER_FEED = "power_feed"


@dataclass(frozen=True, slots=True)
class _Rule:
    names: tuple[str, ...]
    is_required: bool
    length_max: int


# fmt: off
_RULES: Final[Mapping[Column, _Rule]] = MappingProxyType({
    Column.ASSET_NO: _Rule(("asset_no", "asset number", "资产号", "资产编号"), is_required=True,  length_max=40),
    Column.SERIAL:   _Rule(("serial", "serial number", "出厂编号", "序列号"),  is_required=False, length_max=64),
    Column.PLACE:    _Rule(("place", "location", "安装位置", "位置"),          is_required=True,  length_max=64),
    Column.AREA:     _Rule(("area", "院区", "区域"),                           is_required=True,  length_max=64),
    Column.FLOOR:    _Rule(("floor", "楼层"),                                  is_required=False, length_max=16),
    Column.X:        _Rule(("x", "横坐标", "x坐标"),                           is_required=False, length_max=16),
    Column.Y:        _Rule(("y", "纵坐标", "y坐标"),                           is_required=False, length_max=16),
    Column.PROFILE:  _Rule(("profile", "配置", "机型"),                        is_required=True,  length_max=64),
    Column.SITE:     _Rule(("site", "楼宇", "楼栋"),                           is_required=False, length_max=64),
    Column.SWITCH:   _Rule(("switch", "交换机", "接入交换机"),                 is_required=False, length_max=64),
    Column.POWER_FEED: _Rule(("power_feed", "power feed", "配电箱", "供电回路"), is_required=False, length_max=64),
})
# fmt: on
_BY_NAME: Final = {name: column for column, rule in _RULES.items() for name in rule.names}


@dataclass(slots=True)
class AssetList:
    """What a file says; `assets` is only to be used when there are no problems."""

    assets: list[Asset] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """The line of each asset."""
    problems: list[AssetProblem] = field(default_factory=list)

    def note(self, line: int, column: Column | None, message: str) -> None:
        """Add a problem; beyond the limit only the count of lines goes on."""
        if len(self.problems) < PROBLEMS_MAX:
            name = None if column is None else column.value
            self.problems.append(AssetProblem(line=line, column=name, message=message))


def read_bytes(content: bytes) -> AssetList:
    """Read a file as it comes from a disk."""
    if len(content) > BYTES_MAX:
        return _refused(f"文件超过 {BYTES_MAX} 字节")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return read_text(content.decode(encoding))
        except UnicodeDecodeError:
            continue
    return _refused("编码无法识别, 请另存为 UTF-8 或 GBK 的 CSV")


def read_text(text: str) -> AssetList:
    """Read the text of a file."""
    if len(text) > BYTES_MAX:
        return _refused(f"文件超过 {BYTES_MAX} 字节")
    found = AssetList()
    records = _records(text.removeprefix("\ufeff"), found)
    head = next(records, None)
    if head is None:
        found.note(1, None, "文件没有表头")
        return found
    columns = _columns(head[1], found)
    if found.problems:
        return found
    for count, (line, cells) in enumerate(records, start=1):
        if count > LINES_MAX:
            found.note(line, None, f"超过 {LINES_MAX} 行, 请分成几个文件")
            break
        _read_line(line, cells, columns, found)
    if not found.assets and not found.problems:
        found.note(1, None, "文件没有数据行")
    _find_duplicates(found)
    return found


def _refused(message: str) -> AssetList:
    found = AssetList()
    found.note(1, None, message)
    return found


def _records(text: str, found: AssetList) -> Iterator[tuple[int, list[str]]]:
    """Non-empty records with the line they begin on; a broken one ends the reading."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            found.note(line, None, "引号不成对或单元格过长, 之后的内容未读取")
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip() for cell in cells]
        line = reader.line_num + 1


def _columns(names: list[str], found: AssetList) -> list[Column]:
    columns: list[Column] = []
    for position, name in enumerate(names, start=1):
        column = _BY_NAME.get(name.lower())
        if column is None:
            found.note(1, None, f"第 {position} 列的列名不认识, 可用: {'、'.join(_BY_NAME)}")
        elif column in columns:
            found.note(1, column, "列名重复")
        else:
            columns.append(column)
    for column, rule in _RULES.items():
        if rule.is_required and column not in columns and not found.problems:
            found.note(1, column, f"缺少必需的列: {rule.names[-1]} ({column.value})")
    return columns


def _read_line(line: int, cells: list[str], columns: list[Column], found: AssetList) -> None:
    if len(cells) != len(columns):
        found.note(line, None, f"有 {len(cells)} 个单元格, 表头有 {len(columns)} 列")
        return
    before = len(found.problems)
    row = dict(zip(columns, cells, strict=True))
    for column, text in row.items():
        problem = _cell_problem(column, text)
        if problem is not None:
            found.note(line, column, problem)
    if len(found.problems) > before or len(found.problems) >= PROBLEMS_MAX:
        return
    kid = row[Column.ASSET_NO].lower()
    x, y = _number(row, Column.X), _number(row, Column.Y)
    if (x is None) != (y is None):
        found.note(line, Column.X if x is None else Column.Y, "x 与 y 必须同时填写")
        return
    found.lines.append(line)
    found.assets.append(
        Asset(
            asset_no=row[Column.ASSET_NO],
            kid=kid,
            serial=row.get(Column.SERIAL) or None,
            place=row[Column.PLACE],
            area=row[Column.AREA],
            floor=row.get(Column.FLOOR, ""),
            x=x,
            y=y,
            profile=row[Column.PROFILE],
            site=row.get(Column.SITE),
            switch=row.get(Column.SWITCH),
            power_feed=row.get(Column.POWER_FEED),
        )
    )


def _cell_problem(column: Column, text: str) -> str | None:
    rule = _RULES[column]
    if not text:
        return "不能为空" if rule.is_required else None
    if len(text) > rule.length_max:
        return f"超过 {rule.length_max} 个字符"
    if any(unicodedata.category(character) in _HIDDEN for character in text):
        return "含有换行、控制字符或不可见字符"
    if text[0] in _FORMULA:
        return "以 = + - @ 开头, 可能被表格软件当作公式"
    return _form_problem(column, text)


def _form_problem(column: Column, text: str) -> str | None:
    match column:
        case Column.X | Column.Y:
            return None if _metres(text) is not None else "必须是 0 到 10000 之间的数 (到平面图左上角的米数)"
        case Column.ASSET_NO:
            return _kid_problem(text)
        case Column.PROFILE if _PROFILE.fullmatch(text) is None:
            return "机型只能用小写字母、数字和 _ . - , 以字母或数字开头"
        case _:
            return None


def _kid_problem(asset_no: str) -> str | None:
    try:
        check_kiosk_id(asset_no.lower() if asset_no.isascii() else "")
    except InvalidKioskId:
        return "资产编号必须是 3 到 40 个字母、数字或连字符, 且不能是 server 或以 fleet- 开头"
    return None


def _metres(text: str) -> float | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if number <= METRES_MAX else None


def _number(row: Mapping[Column, str], column: Column) -> float | None:
    text = row.get(column, "")
    return _metres(text) if text else None


def _find_duplicates(found: AssetList) -> None:
    kids: dict[str, int] = {}
    serials: dict[str, int] = {}
    for line, asset in zip(found.lines, found.assets, strict=True):
        if asset.kid in kids:
            found.note(line, Column.ASSET_NO, f"资产编号与第 {kids[asset.kid]} 行重复")
        kids.setdefault(asset.kid, line)
        if asset.serial is not None and asset.serial in serials:
            found.note(line, Column.SERIAL, f"序列号与第 {serials[asset.serial]} 行重复")
        if asset.serial is not None:
            serials.setdefault(asset.serial, line)
    found.problems.sort(key=lambda problem: problem.line)
