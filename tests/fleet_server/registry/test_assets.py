from __future__ import annotations

import pytest

from fleet_server.registry.assets import BYTES_MAX, LINES_MAX, PROBLEMS_MAX, AssetList, read_bytes, read_text

HEAD = "asset_no,serial,place,area,floor,x,y,profile\n"
GOOD = "ZZJ-001,SN-1,门诊大厅 1 号机,门诊,1F,1.5,20,k20\n"


def said(found: AssetList) -> list[tuple[int, str | None]]:
    return [(problem.line, problem.column) for problem in found.problems]


def test_a_good_line_becomes_an_asset() -> None:
    found = read_text(HEAD + GOOD)
    assert not found.problems
    [asset] = found.assets
    assert (asset.asset_no, asset.kid, asset.serial, asset.place) == ("ZZJ-001", "zzj-001", "SN-1", "门诊大厅 1 号机")
    assert (asset.area, asset.floor, asset.x, asset.y, asset.profile) == ("门诊", "1F", 1.5, 20.0, "k20")


def test_chinese_headers_any_order_and_missing_optional_columns() -> None:
    found = read_text("机型,区域,位置,资产编号\nk20,门诊,大厅,ZZJ-001\n")
    assert not found.problems
    assert found.assets[0].serial is None
    assert (found.assets[0].floor, found.assets[0].x) == ("", None)


def test_what_kiosks_share_is_optional_and_a_missing_column_says_nothing_of_it() -> None:
    (silent,) = read_text(HEAD + GOOD).assets
    assert (silent.site, silent.switch, silent.power_feed) == (None, None, None)
    head = HEAD.strip() + ",楼宇,交换机,配电箱\n"
    (said_of,) = read_text(head + GOOD.strip() + ",门诊楼,SW-1F-1,\n").assets
    assert (said_of.site, said_of.switch, said_of.power_feed) == ("门诊楼", "SW-1F-1", "")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_of_spreadsheets_are_understood(delimiter: str) -> None:
    found = read_text((HEAD + GOOD).replace(",", delimiter))
    assert not found.problems
    assert found.assets[0].kid == "zzj-001"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_files_in_the_encodings_of_excel_are_read(encoding: str) -> None:
    found = read_bytes((HEAD + GOOD).encode(encoding))
    assert not found.problems
    assert found.assets[0].place == "门诊大厅 1 号机"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_files_in_other_encodings_are_refused(encoding: str) -> None:
    found = read_bytes((HEAD + GOOD).encode(encoding))
    assert found.problems
    assert not found.assets


def test_bytes_that_are_no_text_are_refused() -> None:
    assert said(read_bytes(b"\xff\xff\xfe\x80" * 8)) == [(1, None)]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        pytest.param(",SN-1,p,a,1F,,,k20", "asset_no", id="no asset number"),
        pytest.param("ab,SN-1,p,a,1F,,,k20", "asset_no", id="too short"),
        pytest.param("a/b,SN-1,p,a,1F,,,k20", "asset_no", id="slash"),
        pytest.param("zzj#1,SN-1,p,a,1F,,,k20", "asset_no", id="wildcard"),
        pytest.param("#,SN-1,p,a,1F,,,k20", "asset_no", id="hash alone"),
        pytest.param("server,SN-1,p,a,1F,,,k20", "asset_no", id="reserved"),
        pytest.param("Fleet-main,SN-1,p,a,1F,,,k20", "asset_no", id="reserved prefix"),
        pytest.param("ZZ\u212a-001,SN-1,p,a,1F,,,k20", "asset_no", id="kelvin sign lowers to k"),
        pytest.param("zzj-００1,SN-1,p,a,1F,,,k20", "asset_no", id="full-width digits"),
        pytest.param(f"{'z' * 41},SN-1,p,a,1F,,,k20", "asset_no", id="too long"),
        pytest.param("zzj-001,=HYPERLINK(1),p,a,1F,,,k20", "serial", id="formula ="),
        pytest.param("zzj-001,SN-1,@SUM(A1),a,1F,,,k20", "place", id="formula @"),
        pytest.param("zzj-001,SN-1,+1,a,1F,,,k20", "place", id="formula +"),
        pytest.param("zzj-001,SN-1,p,-1+1,1F,,,k20", "area", id="formula -"),
        pytest.param("zzj-001,SN-1,＝1,a,1F,,,k20", "place", id="full-width formula"),
        pytest.param("zzj-001,SN-1,,a,1F,,,k20", "place", id="no place"),
        pytest.param("zzj-001,SN-1,p,,1F,,,k20", "area", id="no area"),
        pytest.param("zzj-001,SN-1,p,a,1F,,,", "profile", id="no profile"),
        pytest.param("zzj-001,SN-1,p,a,1F,,,K 20", "profile", id="bad profile"),
        pytest.param("zzj-001,SN-1,p,a,1F,nan,1,k20", "x", id="not a number"),
        pytest.param("zzj-001,SN-1,p,a,1F,1e3,1,k20", "x", id="exponent"),
        pytest.param("zzj-001,SN-1,p,a,1F,1,10001,k20", "y", id="out of the plan"),
        pytest.param("zzj-001,SN-1,p,a,1F,1,,k20", "y", id="x without y"),
        pytest.param("zzj-001,SN\u202e1,p,a,1F,,,k20", "serial", id="text direction"),
        pytest.param("zzj-001,SN\x001,p,a,1F,,,k20", "serial", id="NUL"),
        pytest.param('zzj-001,SN-1,"p\nq",a,1F,,,k20', "place", id="line break"),
        pytest.param(f"zzj-001,SN-1,{'p' * 65},a,1F,,,k20", "place", id="place too long"),
        pytest.param("zzj-001,SN-1,p,a,1F,,,k20,extra", None, id="a cell too many"),
        pytest.param("zzj-001,SN-1", None, id="cells missing"),
        pytest.param('zzj-001,"SN-1,p,a,1F,,,k20', None, id="unclosed quote"),
        pytest.param('zzj-001,"SN"1,p,a,1F,,,k20', None, id="text after a quote"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(line: str, column: str | None) -> None:
    found = read_text(HEAD + GOOD + line + "\n")
    assert (3, column) in said(found)


def test_every_bad_line_is_named_with_the_number_an_editor_shows() -> None:
    text = HEAD + "\n" + "a/b,,p,a,,,,k20\n" + GOOD + '"zzj\n-002",,p,a,,,,k20\n' + "zzj-003,,,a,,,,k20\n"
    assert said(read_text(text)) == [(3, "asset_no"), (5, "asset_no"), (7, "place")]


def test_duplicates_name_the_line_they_repeat() -> None:
    text = HEAD + "zzj-001,A,p,a,,,,k20\nZZJ-001,B,p,a,,,,k20\nzzj-002,A,p,a,,,,k20\n"
    found = read_text(text)
    assert said(found) == [(3, "asset_no"), (4, "serial")]
    assert "2" in found.problems[0].message


@pytest.mark.parametrize(
    ("head", "column"),
    [
        pytest.param("asset_no,place,area\n", "profile", id="required column missing"),
        pytest.param("asset_no,place,area,profile,place\n", "place", id="column twice"),
        pytest.param("asset_no,place,area,profile,password\n", None, id="unknown column"),
        pytest.param("", None, id="empty file"),
        pytest.param("\n\n", None, id="only empty lines"),
    ],
)
def test_a_bad_head_is_refused(head: str, column: str | None) -> None:
    assert said(read_text(head + "1,2,3\n" if head.strip() else head)) == [(1, column)]


def test_a_file_without_lines_is_refused() -> None:
    assert said(read_text(HEAD)) == [(1, None)]


def test_the_limit_of_lines_and_one_more() -> None:
    lines = [f"zzj-{number:05d},,p,a,,,,k20" for number in range(LINES_MAX + 1)]
    assert not read_text(HEAD + "\n".join(lines[:-1])).problems
    assert said(read_text(HEAD + "\n".join(lines))) == [(LINES_MAX + 2, None)]


def test_the_limit_of_size_and_one_more() -> None:
    filler = HEAD + GOOD
    assert not read_text(filler + "\n" * (BYTES_MAX - len(filler))).problems
    assert said(read_text(filler + "\n" * (BYTES_MAX - len(filler) + 1))) == [(1, None)]
    assert said(read_bytes(b"x" * (BYTES_MAX + 1))) == [(1, None)]


def test_problems_are_counted_up_to_a_limit() -> None:
    assert len(read_text(HEAD + "a/b,,p,a,,,,k20\n" * (PROBLEMS_MAX + 5)).problems) == PROBLEMS_MAX
