"""The four formats of a report say the same numbers."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pypdf
import pytest

from fleet_server.errors import Refusal
from fleet_server.sla.documents import Format, as_pdf, document
from fleet_server.sla.evidence import Kind, fold
from fleet_server.sla.model import Report
from fleet_server.sla.report import Basis, compute
from fleet_server.sla.tables import Shape, Table, summary_cells, tables, written
from support.sla_rows import month, us

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture(scope="module")
def report() -> Report:
    first = datetime(2026, 2, 28, 16, tzinfo=UTC)
    rows = month(3, first, 31, 4)
    basis = Basis(fold((Kind(kind), body) for kind, body in rows), us(first) * 2, len(rows), "ab" * 32)
    return compute("2026-03", basis)


def _from_json(report: Report, table: Table) -> list[list[str]]:
    """What people read, written from the JSON document by other code than the product's."""
    document_ = json.loads(document(report, Format.JSON).content)
    found = []
    for line in document_[table.key]:
        cells = []
        for column in table.columns:
            value = line[column.key]
            match column.shape:
                case _ if value is None:
                    cells.append("–")
                case Shape.PERCENT:
                    cells.append(f"{value / 10_000:.4f}")
                case Shape.MONEY:
                    cells.append(f"{value / 100:.2f}")
                case Shape.DURATION:
                    minutes, seconds = divmod(value, 60)
                    cells.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}")
                case Shape.COUNT:
                    cells.append(str(value))
                case _:
                    cells.append("")
        found.append(cells)
    return found


def _csv_tables(report: Report) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in csv.reader(io.StringIO(document(report, Format.CSV).content.decode("utf-8-sig"))):
        if not line:
            title = ""
        elif not title:
            title = line[0]
            found[title] = []
        else:
            found[title].append(line)
    return found


def _sheets(report: Report) -> list[list[list[str | float]]]:
    """The cells of every sheet, read from the file's own XML."""
    with zipfile.ZipFile(io.BytesIO(document(report, Format.XLSX).content)) as book:
        texts = ["".join(item.itertext()) for item in ET.fromstring(book.read("xl/sharedStrings.xml"))]  # noqa: S314 - our own file
        names = sorted((n for n in book.namelist() if n.startswith("xl/worksheets/sheet")), key=_sheet_number)
        return [
            [
                [texts[int(_value(cell))] if cell.get("t") == "s" else float(_value(cell)) for cell in row]
                for row in ET.fromstring(book.read(name)).iter(f"{_SHEET}row")  # noqa: S314 - the same
            ]
            for name in names
        ]


def _value(cell: ET.Element) -> str:
    return cell.findtext(f"{_SHEET}v") or "0"


def _sheet_number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def _shown(value: str | float, shape: Shape) -> str:
    """A cell of the workbook as its number format shows it."""
    if isinstance(value, str):
        return value
    match shape:
        case Shape.PERCENT:
            return f"{value * 100:.4f}"
        case Shape.MONEY:
            return f"{value:.2f}"
        case Shape.DURATION:
            seconds = round(value * 86_400)
            return f"{seconds // 3_600}:{seconds % 3_600 // 60:02}:{seconds % 60:02}"
        case _:
            return str(round(value))


def _numbers(row: Sequence[str], table: Table) -> list[str]:
    numeric = {Shape.COUNT, Shape.PERCENT, Shape.DURATION, Shape.MONEY}
    return [cell for cell, column in zip(row, table.columns, strict=True) if column.shape in numeric]


def test_all_numbers_are_equal_in_all_formats(report: Report) -> None:
    in_csv = list(_csv_tables(report).values())[2:]
    sheets = _sheets(report)
    reader = pypdf.PdfReader(io.BytesIO(document(report, Format.PDF).content))
    pages = "".join(re.sub(r"\s", "", page.extract_text()) for page in reader.pages)
    compared = 0
    shown = tables(report)
    assert len(in_csv) == len(shown) == len(sheets) - 1
    for table, lines, sheet in zip(shown, in_csv, sheets[1:], strict=True):
        assert len(lines) == len(sheet) == len(table.rows) + 1
        for place, expected in enumerate(_from_json(report, table)):
            wanted = _numbers(expected, table)
            from_csv = lines[place + 1]
            assert _numbers(from_csv, table) == wanted
            across = zip(sheet[place + 1], table.columns, strict=True)
            assert [_shown(cell, column.shape) for cell, column in across] == from_csv
            assert re.sub(r"\s", "", "".join(from_csv)) in pages, (table.key, from_csv)
            compared += len(wanted)
    assert compared > 500


def test_the_summary_is_equal_too(report: Report) -> None:
    values = json.loads(document(report, Format.JSON).content)["summary"]
    in_csv = {line[0]: line[2] for line in list(_csv_tables(report).values())[1][1:]}
    sheet = {row[0]: row[2] for row in _sheets(report)[0] if len(row) == 3}
    pdf = pypdf.PdfReader(io.BytesIO(document(report, Format.PDF).content)).pages[0].extract_text().replace("\n", "")
    for column, value in summary_cells(report):
        assert values[column.key] == value
        text = written(value, column.shape, report.zone)
        assert in_csv[column.zh] == text == _shown(sheet[column.zh], column.shape)
        assert re.sub(r"\s", "", text + column.zh) in re.sub(r"\s", "", pdf), column.key


def test_a_text_that_looks_like_a_formula_stays_text(report: Report) -> None:
    case = report.cases[0].model_copy(update={"place": "=HYPERLINK(1)"})
    changed = report.model_copy(update={"cases": [case]})
    assert "'=HYPERLINK(1)" in document(changed, Format.CSV).content.decode()
    assert any("=HYPERLINK(1)" in row for row in _sheets(changed)[5])


def test_without_chinese_fonts_there_is_no_pdf_full_of_boxes(report: Report) -> None:
    with pytest.raises(Refusal, match="fonts-noto-cjk"):
        as_pdf(report.model_copy(update={"cases": []}), ignore_fonts=True)


def test_the_same_report_is_the_same_pdf(report: Report) -> None:
    small = report.model_copy(update={"cases": [], "kiosks": []})
    assert document(small, Format.PDF).content == document(small, Format.PDF).content
