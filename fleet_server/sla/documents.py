"""The report as files. All four are made from one report; nothing is computed here.

Setting a PDF or a workbook takes up to seconds of processor time: call from a thread.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typst
import xlsxwriter  # type: ignore[import-untyped]  # it has no types
from xlsxwriter.format import Format as CellFormat  # type: ignore[import-untyped]  # the same
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]  # the same

from fleet_server.errors import Refusal
from fleet_server.sla.model import Report
from fleet_server.sla.tables import Cell, Column, Shape, Table, local, summary, summary_cells, tables, written

TEMPLATE: Final = Path(__file__).with_name("report.typ")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula at the beginning of a text."""
_NUMBER_FORMATS: Final[Mapping[Shape, str]] = MappingProxyType(
    {
        Shape.COUNT: "0",
        Shape.PERCENT: "0.0000%",
        Shape.DURATION: "[h]:mm:ss",
        Shape.MONEY: "#,##0.00",
    }
)
_NUMERIC: Final = frozenset(_NUMBER_FORMATS)
_WIDE: Final = frozenset({"name", "title", "place", "evidence", "model", "part"})
"""Columns that take up what is left of a page's width."""
_DIVISORS: Final[Mapping[Shape, int]] = MappingProxyType(
    {Shape.COUNT: 1, Shape.PERCENT: 1_000_000, Shape.DURATION: 86_400, Shape.MONEY: 100}
)


class Format(StrEnum):
    """What a report can be had as."""

    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Document:
    """A finished file."""

    name: str
    content_type: str
    content: bytes


def document(report: Report, wanted: Format) -> Document:
    """The report as a file."""
    make, content_type = _MAKERS[wanted]
    return Document(f"sla-{report.month}.{wanted.value}", content_type, make(report))


def as_json(report: Report) -> bytes:
    """Every field with its unit in its name."""
    return (report.model_dump_json(indent=2) + "\n").encode()


def as_csv(report: Report) -> bytes:
    """All tables below each other, each with its title line; opens in a spreadsheet program."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows(_safe([*line]) for line in _head(report))
    for table in (summary(report), *tables(report)):
        writer.writerow([])
        writer.writerow([f"{table.zh} ({table.en})"])
        writer.writerow([_heading(column) for column in table.columns])
        for row in table.rows:
            cells = zip(row, table.columns, strict=True)
            writer.writerow(_safe([written(value, column.shape, report.zone) for value, column in cells]))
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def as_xlsx(report: Report) -> bytes:
    """One sheet a table, numbers as numbers."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties({"title": f"SLA {report.month}", "created": report.as_of.replace(tzinfo=None)})
        base = {"font_name": "Microsoft YaHei", "font_size": 10, "valign": "vcenter"}
        heading = book.add_format(base | {"bold": True, "bg_color": "#DCE6F1", "bottom": 1, "text_wrap": True})
        title = book.add_format(base | {"bold": True, "font_size": 14})
        formats = {
            shape: book.add_format(base | ({"num_format": code} if code else {"align": "left"}))
            for shape, code in ((shape, _NUMBER_FORMATS.get(shape)) for shape in Shape)
        }
        sheet = book.add_worksheet("汇总")
        _summary_sheet(sheet, report, title, formats)
        for table in tables(report):
            _table_sheet(book.add_worksheet(table.zh), table, report.zone, heading, formats)
    return out.getvalue()


def as_pdf(report: Report, *, ignore_fonts: bool = False) -> bytes:
    """A4, Chinese first; the fonts are those of Debian's fonts-noto-cjk. Raises: Refusal when they are not there."""
    content = {
        "month": report.month,
        "head": [list(line) for line in _head(report)],
        "is_final": report.is_final,
        "summary": [list(map(str, row)) for row in summary(report).rows],
        "tables": [_pdf_table(table, report.zone) for table in tables(report)],
    }
    inputs = {"report": json.dumps(content, ensure_ascii=False)}
    found, warnings = typst.compile_with_warnings(
        TEMPLATE, sys_inputs=inputs, timestamp=int(report.as_of.timestamp()), ignore_system_fonts=ignore_fonts
    )
    if any("font" in warning.message for warning in warnings):
        raise Refusal("fonts_missing", "the server lacks Chinese fonts: apt-get install fonts-noto-cjk", status=503)
    if not isinstance(found, bytes):
        raise TypeError("one document is one file")
    return found


_MAKERS: Final[Mapping[Format, tuple[Callable[[Report], bytes], str]]] = MappingProxyType(
    {
        Format.JSON: (as_json, "application/json"),
        Format.CSV: (as_csv, "text/csv; charset=utf-8"),
        Format.XLSX: (as_xlsx, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Format.PDF: (as_pdf, "application/pdf"),
    }
)


def _head(report: Report) -> list[tuple[str, str]]:
    state = "最终 (final)" if report.is_final else "未最终, 补到的证据仍会计入 (late evidence still counts)"
    return [
        ("服务等级月报 (SLA report)", report.month),
        ("医院 (hospital)", report.hospital),
        ("公司 (vendor)", report.vendor),
        ("合同 (contract)", report.contract),
        ("期间 (period)", f"{local(report.since, report.zone)} — {local(report.until, report.zone)} {report.zone}"),
        ("截至 (as of)", f"{local(report.as_of, report.zone)}, {state}"),
        ("证据 (evidence)", f"{report.evidence_rows} 行 (rows), 链尾 (head) {report.evidence_head or '–'}"),
    ]


def _heading(column: Column) -> str:
    return f"{column.zh} ({column.en})" if column.en else column.zh


def _safe(cells: list[str]) -> list[str]:
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]


def _summary_sheet(sheet: Worksheet, report: Report, title: CellFormat, formats: Mapping[Shape, CellFormat]) -> None:
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, 1, 38)
    sheet.set_column(2, 2, 24)
    head = _head(report)
    sheet.write_string(0, 0, f"{head[0][0]} {head[0][1]}", title)
    sheet.set_row(0, 26)
    for place, (name, value) in enumerate(head[1:], start=1):
        sheet.write_string(place, 0, name, formats[Shape.TEXT])
        sheet.write_string(place, 1, value, formats[Shape.TEXT])
    for place, (column, figure) in enumerate(summary_cells(report), start=len(head) + 1):
        sheet.write_string(place, 0, column.zh, formats[Shape.TEXT])
        sheet.write_string(place, 1, column.en, formats[Shape.TEXT])
        _cell(sheet, (place, 2), figure, column.shape, report.zone, formats)
    _on_paper(sheet, report.month)


def _table_sheet(
    sheet: Worksheet, table: Table, zone: str, heading: CellFormat, formats: Mapping[Shape, CellFormat]
) -> None:
    sheet.set_row(0, 32)
    sheet.freeze_panes(1, 1)
    for across, column in enumerate(table.columns):
        sheet.write_string(0, across, f"{column.zh}\n{column.en}", heading)
        texts = [written(row[across], column.shape, zone) for row in table.rows]
        widest = max((_width(text) for text in (column.zh, column.en, *texts)), default=8)
        sheet.set_column(across, across, min(max(widest + 2, 10), 48))
        for down, row in enumerate(table.rows, start=1):
            _cell(sheet, (down, across), row[across], column.shape, zone, formats)
    if table.rows:
        sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)
    _on_paper(sheet, f"{table.zh} {table.en}")


def _on_paper(sheet: Worksheet, title: str) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_header(f"&C{title}")
    sheet.set_footer("&C&P / &N")


def _cell(
    sheet: Worksheet, place: tuple[int, int], value: Cell, shape: Shape, zone: str, formats: Mapping[Shape, CellFormat]
) -> None:
    if shape in _NUMERIC and isinstance(value, int):
        sheet.write_number(*place, value / _DIVISORS[shape], formats[shape])
    else:
        sheet.write_string(*place, written(value, shape, zone), formats[Shape.TEXT])


def _width(text: str) -> int:
    return sum(1 if character.isascii() else 2 for character in text)


def _pdf_table(table: Table, zone: str) -> dict[str, Any]:  # Any: a JSON document
    return {
        "zh": table.zh,
        "en": table.en,
        "columns": [
            {"zh": item.zh, "en": item.en, "is_number": item.shape in _NUMERIC, "is_wide": item.key in _WIDE}
            for item in table.columns
        ],
        "rows": [
            [written(value, column.shape, zone) for value, column in zip(row, table.columns, strict=True)]
            for row in table.rows
        ],
    }
