"""Made-up numbers pass the public checks, are masked by our logs, and are found wherever they leak."""

from __future__ import annotations

import base64
import gzip
import json
import random
import sqlite3
import string
import urllib.parse
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.logs import mask_text
from support.people import (
    Person,
    assert_no_canaries,
    canaries_of,
    grep_canaries,
    luhn_digit,
    people,
    resident_check_digit,
)

PERSONS = people(40)
CANARIES = canaries_of(PERSONS)
ONE = PERSONS[0]


def test_check_digits_are_those_of_published_examples() -> None:
    assert resident_check_digit("11010519491231002") == "X"  # GB 11643-1999, annex
    assert luhn_digit("7992739871") == "3"


def passes_mod_11_2(number: str) -> bool:
    """ISO 7064 as a plain polynomial: the whole number is 1 modulo 11."""
    rest = 0
    for character in number:
        rest = (rest * 2 + (10 if character == "X" else int(character))) % 11
    return rest == 1


def passes_luhn(number: str) -> bool:
    doubled = [int(c) * (2 if i % 2 else 1) for i, c in enumerate(reversed(number))]
    return sum(sum(divmod(d, 10)) for d in doubled) % 10 == 0


def test_every_number_passes_an_independent_check_and_belongs_to_nobody() -> None:
    for person in people(2_000, seed=9):
        assert passes_mod_11_2(person.resident_id)
        assert passes_luhn(person.card)
        assert person.resident_id.startswith("99")
        assert person.resident_id[6:14] == person.birth.strftime("%Y%m%d")
        assert (int(person.resident_id[16]) % 2 == 1) is (person.sex == "男")
        assert len(person.phone) == 11


def test_the_seed_decides_who_they_are() -> None:
    assert people(40, seed=5) == people(60, seed=5)[:40]
    assert people(40, seed=5) != people(40, seed=6)
    assert len({person.resident_id for person in people(500)}) == 500


def test_our_logs_mask_every_number_of_everybody() -> None:
    for person in people(300, seed=3):
        text = mask_text(f"a {person.resident_id} b {person.phone} c {person.card} d")
        assert text == "a *** b *** c *** d"


def planted(text: str) -> dict[str, bytes]:
    """One value in every form it may take in a file."""
    return {
        "text": f"x{text}y".encode(),
        "gb18030": f"姓名：{text}。".encode("gb18030"),
        "utf-16-le": f"x{text}y".encode("utf-16-le"),
        "JSON escapes": json.dumps({"v": text}).encode(),
        "URL": f"/q?v={urllib.parse.quote(text)}&x".encode(),
        "hex": b"0x" + text.encode().hex().encode(),
        "base64": b"Basic " + base64.b64encode(f"user:{text}:x".encode()),
    }


@pytest.mark.parametrize("what", ["name", "resident_id", "phone", "card"])
@pytest.mark.parametrize("form", list(planted("")))
def test_a_planted_canary_is_found_in_every_form(tmp_path: Path, what: str, form: str) -> None:
    value = ONE.canaries()[what]
    (tmp_path / "deep").mkdir()
    leaking = tmp_path / "deep" / "file"
    leaking.write_bytes(random.Random(0).randbytes(5_000) + planted(value)[form] + bytes(5_000))
    (tmp_path / "clean").write_bytes(random.Random(1).randbytes(10_000))
    leaks = grep_canaries([tmp_path], CANARIES)
    assert {(leak.path, leak.canary) for leak in leaks} == {(leaking, f"{what}-1")}
    with pytest.raises(AssertionError, match=f"deep/file: {what}-1 as .* at byte") as caught:
        assert_no_canaries([tmp_path], CANARIES)
    assert value not in str(caught.value)


@given(before=st.binary(max_size=8), after=st.binary(max_size=8), urlsafe=st.booleans())
def test_base64_hides_no_canary_however_it_is_aligned(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes, urlsafe: bool
) -> None:
    encode: Callable[[bytes], bytes] = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    path = tmp_path_factory.mktemp("b64") / "file"
    path.write_bytes(encode(before + ONE.name.encode() + after))
    assert [leak.encoding for leak in grep_canaries([path], {"name": ONE.name})] == ["base64"]


def test_databases_rotated_logs_and_cut_archives_are_searched(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.execute("CREATE TABLE t (v TEXT)")
        db.execute("INSERT INTO t VALUES (?)", (f"phone {ONE.phone}",))
        db.commit()
    noise = "".join(random.Random(2).choices(string.printable, k=200_000))
    packed = gzip.compress(f"{ONE.name} {noise}".encode()) + gzip.compress(ONE.card.encode())
    (tmp_path / "log.1.gz").write_bytes(packed)
    (tmp_path / "log.2.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "empty").touch()
    found = {(leak.path.name, leak.canary) for leak in grep_canaries([tmp_path], canaries_of([ONE]))}
    assert found == {("a.db", "phone-1"), ("log.1.gz", "name-1"), ("log.1.gz", "card-1"), ("log.2.gz", "name-1")}


def test_clean_files_are_clean(tmp_path: Path) -> None:
    rng = random.Random(4)
    (tmp_path / "digits").write_text("".join(rng.choices(string.digits, k=1_000_000)), encoding="ascii")
    stranger: Person = people(1, seed=77)[0]
    (tmp_path / "stranger").write_text(f"{stranger.name} {stranger.resident_id} {stranger.phone}", encoding="utf-8")
    assert_no_canaries([tmp_path, tmp_path / "digits"], CANARIES)


def test_a_search_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to search"):
        grep_canaries([tmp_path / "absent"], CANARIES)
    with pytest.raises(ValueError, match="at least six bytes"):
        grep_canaries([tmp_path], {"pin": "1234"})
    with pytest.raises(ValueError, match="at least one canary"):
        grep_canaries([tmp_path], {})
