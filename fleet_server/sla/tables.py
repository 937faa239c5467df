"""The report as tables for people: which columns, in both languages, and how a number is written.

CSV, XLSX and PDF are made from these tables, so they cannot differ in what they say. Percentages have four places,
which is all there is; durations are h:mm:ss; money is yuan with two places; times are those of the contract's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from fleet_server.sla.model import Report

Cell = str | int | bool | datetime | None
EMPTY: Final = "–"


class Shape(StrEnum):
    """How a value is written."""

    TEXT = "text"
    COUNT = "count"
    PERCENT = "percent"
    DURATION = "duration"
    MONEY = "money"
    MOMENT = "moment"
    YES_NO = "yes_no"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `key` is the field's name in the JSON report."""

    key: str
    shape: Shape
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of raw values."""

    key: str
    zh: str
    en: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


_C = Column
_S = Shape
# fmt: off
_AVAILABILITY: Final = (
    _C("availability_ppm", _S.PERCENT,  "可用率 %",   "availability %"),
    _C("target_ppm",       _S.PERCENT,  "目标 %",     "target %"),
    _C("is_met",           _S.YES_NO,   "达标",       "met"),
    _C("up_s",             _S.DURATION, "可用",       "up"),
    _C("down_s",           _S.DURATION, "不可用",     "down"),
    _C("excluded_s",       _S.DURATION, "除外",       "excluded"),
    _C("unproved_s",       _S.DURATION, "无证据",     "unproved"),
)
_SUMMARY: Final = (
    _C("availability_ppm",    _S.PERCENT,  "整体可用率 %",     "availability, weighed by demand %"),
    _C("kiosks",              _S.COUNT,    "在用自助机",       "kiosks in service"),
    _C("kiosks_below_target", _S.COUNT,    "未达标自助机",     "kiosks below target"),
    _C("cases",               _S.COUNT,    "故障",             "faults"),
    _C("preventive_cases",    _S.COUNT,    "预防性工单",       "preventive cases"),
    _C("response_mean_s",     _S.DURATION, "平均响应",         "mean response"),
    _C("response_max_s",      _S.DURATION, "最长响应",         "longest response"),
    _C("repair_mean_s",       _S.DURATION, "平均修复",         "mean repair"),
    _C("repair_max_s",        _S.DURATION, "最长修复",         "longest repair"),
    _C("response_breaches",   _S.COUNT,    "响应超时",         "response limits broken"),
    _C("repair_breaches",     _S.COUNT,    "修复超时",         "repair limits broken"),
    _C("vendor_breaches",     _S.COUNT,    "其中归责公司",     "of these the vendor's"),
    _C("paused_s",            _S.DURATION, "停表 (有证据)",    "paused, proved"),
    _C("unproved_pause_s",    _S.DURATION, "停表 (无证据, 仍计时)", "paused without proof, counted"),
    _C("penalty_fen",         _S.MONEY,    "扣款 元",          "penalty CNY"),
)
_TABLES: Final[Mapping[str, tuple[str, str, Sequence[Column]]]] = MappingProxyType({
    "functions": ("患者功能可用率", "Availability per patient function", (
        _C("name",  _S.TEXT, "功能", "function"), _C("title", _S.TEXT, "名称", "title"), *_AVAILABILITY)),
    "areas": ("区域可用率", "Availability per area", (
        _C("name",  _S.TEXT, "区域", "area"), *_AVAILABILITY)),
    "kiosks": ("自助机可用率", "Availability per kiosk", (
        _C("name",  _S.TEXT, "自助机", "kiosk"), _C("title", _S.TEXT, "区域", "area"), *_AVAILABILITY)),
    "breaches": ("超时清单", "Broken limits", (
        _C("number",      _S.COUNT,    "故障",     "case"),
        _C("clock",       _S.TEXT,     "时限",     "clock"),
        _C("cause_title", _S.TEXT,     "原因",     "cause"),
        _C("place",       _S.TEXT,     "位置",     "place"),
        _C("side",        _S.TEXT,     "归责",     "side"),
        _C("limit_s",     _S.DURATION, "约定",     "limit"),
        _C("elapsed_s",   _S.DURATION, "实际",     "elapsed"),
        _C("over_s",      _S.DURATION, "超出",     "over"),
        _C("breached_at", _S.MOMENT,   "超时时刻", "since"),
        _C("penalty_fen", _S.MONEY,    "扣款 元",  "penalty CNY"))),
    "cases": ("故障与两个时钟", "Cases and their two clocks", (
        _C("number",      _S.COUNT,    "故障",     "case"),
        _C("cause_title", _S.TEXT,     "原因",     "cause"),
        _C("place",       _S.TEXT,     "位置",     "place"),
        _C("severity",    _S.TEXT,     "级别",     "severity"),
        _C("side",        _S.TEXT,     "归责",     "side"),
        _C("kiosks",      _S.COUNT,    "台数",     "kiosks"),
        _C("began_at",    _S.MOMENT,   "开始",     "began"),
        _C("response_s",  _S.DURATION, "响应",     "response"),
        _C("repair_s",    _S.DURATION, "修复",     "repair"),
        _C("paused_s",    _S.DURATION, "停表",     "paused"),
        _C("unproved_s",  _S.DURATION, "停表无证据", "unproved"),
        _C("is_response_breached", _S.YES_NO, "响应超时", "late"),
        _C("is_repair_breached",   _S.YES_NO, "修复超时", "overdue"))),
    "pauses": ("停表", "Pauses", (
        _C("number",    _S.COUNT,    "故障",   "case"),
        _C("reason",    _S.TEXT,     "理由",   "reason"),
        _C("since",     _S.MOMENT,   "开始",   "since"),
        _C("until",     _S.MOMENT,   "结束",   "until"),
        _C("length_s",  _S.DURATION, "时长",   "length"),
        _C("evidence",  _S.TEXT,     "证据",   "evidence"),
        _C("is_proved", _S.YES_NO,   "认可",   "proved"))),
    "models": ("设备型号与固件", "Devices by model and firmware", (
        _C("model",     _S.TEXT,     "型号",         "model"),
        _C("firmware",  _S.TEXT,     "固件",         "firmware"),
        _C("units",     _S.COUNT,    "台数",         "units"),
        _C("service_s", _S.DURATION, "在用时间",     "in service"),
        _C("failures",  _S.COUNT,    "故障",         "failures"),
        _C("mtbf_s",    _S.DURATION, "平均无故障 MTBF", "MTBF"),
        _C("mttr_s",    _S.DURATION, "平均修复 MTTR",   "MTTR"))),
    "parts": ("更换配件与保修", "Parts changed, and their warranty", (
        _C("order",          _S.TEXT,   "工单",     "order"),
        _C("kid",            _S.TEXT,   "自助机",   "kiosk"),
        _C("component",      _S.TEXT,   "部件",     "component"),
        _C("part",           _S.TEXT,   "配件",     "part"),
        _C("serial_out",     _S.TEXT,   "旧序列号", "serial out"),
        _C("serial_in",      _S.TEXT,   "新序列号", "serial in"),
        _C("at",             _S.MOMENT, "更换时间", "at"),
        _C("warranty_until", _S.MOMENT, "保修至",   "warranty until"))),
})
_WORDS: Final[Mapping[str, str]] = MappingProxyType({
    "response": "响应", "repair": "修复",
    "vendor": "公司", "hospital": "医院", "outside": "外部",
    "critical": "紧急", "major": "重要", "minor": "一般", "info": "提示",
    "hospital_power": "医院停电", "hospital_network": "医院网络", "hospital_system": "医院系统",
    "outside_system": "外部系统", "area_locked": "区域锁闭", "hospital_request": "医院书面要求",
    "force_majeure": "不可抗力",
})
"""Closed words of the report, as people read them; other texts stay as they are."""
# fmt: on
_CLOSED: Final = frozenset({"clock", "side", "severity", "reason"})


def summary(report: Report) -> Table:
    """The month in a few lines: name, English name, value."""
    columns = (_C("zh", _S.TEXT, "指标", "figure"), _C("en", _S.TEXT, "", ""), _C("value", _S.TEXT, "值", "value"))
    values = report.summary.model_dump()
    rows = [(item.zh, item.en, written(values[item.key], item.shape, report.zone)) for item in _SUMMARY]
    return Table("summary", "汇总", "Summary", columns, rows)


def summary_cells(report: Report) -> Iterator[tuple[Column, Cell]]:
    """The same with raw values."""
    values = report.summary.model_dump()
    return ((item, values[item.key]) for item in _SUMMARY)


def tables(report: Report) -> list[Table]:
    """Everything behind the summary."""
    found = []
    for key, (zh, en, columns) in _TABLES.items():
        lines: list[BaseModel] = getattr(report, key)
        found.append(Table(key, zh, en, columns, [_row(line.model_dump(), columns) for line in lines]))
    return found


def written(value: Cell, shape: Shape, zone: str) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, datetime):
        return local(value, zone)
    if isinstance(value, int):
        return _NUMBERS.get(shape, str)(value)
    return EMPTY if value is None else value


def duration(seconds: int) -> str:
    """Hours, minutes, seconds: `27:05:09`."""
    return f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


_NUMBERS: Final[Mapping[Shape, Callable[[int], str]]] = MappingProxyType(
    {
        Shape.PERCENT: lambda ppm: f"{ppm // 10_000}.{ppm % 10_000:04}",
        Shape.DURATION: duration,
        Shape.MONEY: lambda fen: f"{fen // 100}.{fen % 100:02}",
    }
)


def local(moment: datetime, zone: str) -> str:
    """A time in the contract's zone, to the second it began in."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def _row(values: Mapping[str, Any], columns: Sequence[Column]) -> list[Cell]:
    return [
        _WORDS.get(values[column.key], values[column.key]) if column.key in _CLOSED else values[column.key]
        for column in columns
    ]
