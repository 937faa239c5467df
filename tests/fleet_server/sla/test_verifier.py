"""An export proves itself to a stranger, and any edit of it is found."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet_server.sla.seal import Seal, SealKey, is_signed
from support.sla_export import export, seal_key, sealed
from support.sla_rows import contract, month
from tools.verify_sla import basis, chain, command, signature

FIRST = datetime(2026, 2, 28, 16, tzinfo=UTC)
KEY = seal_key()
Files = dict[str, bytes]


def files_of(content: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def small() -> Files:
    return files_of(export("2026-03", month(5, FIRST, 4, 3), 4, KEY))


@pytest.mark.parametrize("seed", range(6))
def test_the_verifier_computes_the_same_numbers(seed: int) -> None:
    rows = month(seed, FIRST, 31, 8)
    files = files_of(export("2026-03", rows, 31 + 8 * (seed % 2), KEY))
    found = command.verify(files, KEY.public)
    claimed = json.loads(files["report.json"])
    assert found["rows"] == len(rows)
    assert found["report"]["summary"] == claimed["summary"]
    assert len(found["report"]["kiosks"]) == 8
    assert found["report"]["is_final"] == bool(seed % 2)


def test_a_wrong_number_in_the_report_is_named(small: Files) -> None:
    report = json.loads(small["report.json"])
    report["kiosks"][1]["down_s"] += 1
    with pytest.raises(basis.Bad, match=r"report.kiosks\[1\].down_s says"):
        command.verify(signed_off(small, "report.json", json.dumps(report).encode()))


def signed_off(files: Files, name: str, content: bytes) -> Files:
    """An edit by somebody who also corrects the manifest."""
    changed = {**files, name: content}
    manifest = json.loads(changed["manifest.json"])
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    return {**changed, "manifest.json": json.dumps(manifest).encode()}


# -- edits ---------------------------------------------------------------------------------------------------------


def change(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    place = rng.randrange(len(lines))
    line = bytearray(lines[place])
    at = rng.randrange(len(line))
    line[at] = rng.choice([byte for byte in b'0123456789abcdef{},:" ' if byte != line[at]])
    return [*lines[:place], bytes(line), *lines[place + 1 :]]


def delete(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    place = rng.randrange(len(lines))
    return lines[:place] + lines[place + 1 :]


def insert(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    place = rng.randrange(len(lines) + 1)
    return [*lines[:place], rng.choice(lines), *lines[place:]]


def reorder(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    first, second = sorted(rng.sample(range(len(lines)), 2))
    moved = list(lines)
    moved[first], moved[second] = moved[second], moved[first]
    return moved


def truncate(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    return lines[: rng.randrange(len(lines))]


EDITS: list[Callable[[random.Random, list[bytes]], list[bytes]]] = [change, delete, insert, reorder, truncate]


def restore_old(rng: random.Random, files: Files) -> Files:
    """The same month as it stood some days ago, whole, sealed and true then; or only a part of it from then."""
    days = rng.randint(1, 3)
    rows = month(5, FIRST, 4, 3)
    size = -(-len(rows) // 4)
    old = files_of(export("2026-03", rows[: size * days], days, KEY))
    name = rng.choice(["all", "evidence.jsonl", "seals.jsonl", "report.json"])
    return old if name == "all" else signed_off(files, name, old[name])


def edited(rng: random.Random, kind: int, files: Files) -> Files:
    if kind == len(EDITS):
        return restore_old(rng, files)
    name = rng.choice(["evidence.jsonl", "evidence.jsonl", "seals.jsonl"])
    lines = EDITS[kind](rng, files[name].splitlines())
    return signed_off(files, name, b"".join(line + b"\n" for line in lines))


def rejected(files: Files, head: str) -> bool:
    try:
        command.verify(files, KEY.public, head)
    except (basis.Bad, *basis.NOT_UNDERSTOOD):
        return True
    return False


@pytest.mark.parametrize("each", [10, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_every_random_edit_is_rejected(small: Files, each: int) -> None:
    head = json.loads(small["report.json"])["evidence_head"]
    assert not rejected(small, head)
    rng = random.Random(600)
    missed = [
        (kind, place)
        for kind in range(len(EDITS) + 1)
        for place in range(each)
        if not rejected(edited(rng, kind, small), head)
    ]
    assert missed == []


def test_the_first_bad_row_is_named(small: Files) -> None:
    lines = small["evidence.jsonl"].splitlines(keepends=True)
    changed = lines[11].replace(b'"kid":"k-', b'"kid":"q-', 1)
    assert changed != lines[11]
    with pytest.raises(basis.Bad) as caught:
        command.verify(signed_off(small, "evidence.jsonl", b"".join([*lines[:11], changed, *lines[12:]])))
    assert caught.value.row == 12


def test_another_key_does_not_make_another_past(small: Files) -> None:
    forged = files_of(export("2026-03", month(6, FIRST, 4, 3), 4, seal_key(2)))
    command.verify(forged)
    with pytest.raises(basis.Bad, match="another key"):
        command.verify(forged, KEY.public)


def test_a_month_that_lacks_its_first_day_is_refused(small: Files) -> None:
    rows, seals = sealed("2026-03", [month(5, FIRST, 1, 2), month(6, FIRST, 1, 2)], KEY)
    later = {
        **small,
        "evidence.jsonl": "".join(f"{row.line}\n" for row in rows if row.no > seals[0].rows).encode(),
        "seals.jsonl": f"{seals[1].line}\n".encode(),
    }
    manifest = json.loads(small["manifest.json"]) | {"base": {"no": seals[0].rows, "chain": seals[0].head}}
    with pytest.raises(basis.Bad, match="first day"):
        command.verify({**later, "manifest.json": json.dumps(manifest).encode()}, KEY.public)


def test_a_seal_that_names_another_day_before_it_is_refused(small: Files) -> None:
    lines = small["seals.jsonl"].decode().splitlines()
    fields = json.loads(lines[2])
    fields.pop("signature")
    other = Seal(**{**fields, "previous": "0" * 64})
    lines[2] = replace(other, signature=KEY.sign(other)).line
    with pytest.raises(basis.Bad, match="does not follow"):
        command.verify(signed_off(small, "seals.jsonl", "".join(f"{line}\n" for line in lines).encode()), KEY.public)


@pytest.mark.parametrize(
    ("name", "zone", "first"),
    [
        ("2026-03", "Europe/Berlin", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("2026-10", "Europe/Berlin", datetime(2026, 9, 30, 22, tzinfo=UTC)),
        ("2026-04", "Australia/Lord_Howe", datetime(2026, 3, 31, 13, tzinfo=UTC)),
    ],
)
def test_a_change_of_summer_time_is_the_same_for_both(name: str, zone: str, first: datetime) -> None:
    rows = [contract(zone=zone), *month(3, first, 31, 3)[1:]]
    found = command.verify(files_of(export(name, rows, 33, KEY)), KEY.public)
    hours = {"2026-03": 743, "2026-10": 745, "2026-04": 720.5}[name]
    times = found["report"]["functions"][0]
    assert sum(times[f"{kind}_s"] for kind in ("up", "down", "excluded", "unproved")) == pytest.approx(
        hours * 3_600, abs=2
    )


def test_its_own_signatures_agree_with_the_library() -> None:
    rng = random.Random(8)
    _, seals = sealed("2026-03", [[("watch", {"since_us": n, "until_us": n})] for n in range(5)], KEY)
    for seal in seals:
        message = chain.canonical(seal.document())
        key, signed = bytes.fromhex(seal.key), bytearray.fromhex(seal.signature)
        assert is_signed(seal)
        assert signature.is_signed(key, bytes(signed), message)
        signed[rng.randrange(64)] ^= 1 << rng.randrange(8)
        assert not signature.is_signed(key, bytes(signed), message)
        assert not signature.is_signed(key, bytes.fromhex(seal.signature), message + b" ")


def test_it_runs_alone_and_says_it_in_both_languages(tmp_path: Path, small: Files) -> None:
    alone = tmp_path / "verify_sla.pyz"
    assert command.main([str(alone), "--pack"]) == 0
    for name, content in small.items():
        (tmp_path / name).write_bytes(content)

    def run() -> subprocess.CompletedProcess[str]:
        called = [sys.executable, "-I", "-S", str(alone), str(tmp_path), "--key", KEY.public]
        return subprocess.run(called, capture_output=True, text=True, check=False, env={"PYTHONUTF8": "1"})

    good = run()
    assert (good.returncode, good.stderr) == (0, "")
    assert "可信" in good.stdout
    assert "TRUE" in good.stdout
    (tmp_path / "evidence.jsonl").write_bytes(small["evidence.jsonl"][:-1])
    bad = run()
    assert bad.returncode == 1
    assert "NOT TO BE TRUSTED" in bad.stdout
    assert "不可信" in bad.stdout


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    file = tmp_path / "sla" / "seal.key"
    first = SealKey.at(file)
    assert SealKey.at(file).public == first.public
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_proves_fifty_thousand_rows_a_second() -> None:
    rows = month(1, FIRST, 31, 200)
    files = files_of(export("2026-03", rows, 31, KEY))
    started = time.perf_counter()
    proved, _ = chain.check_chain(files["evidence.jsonl"], {"no": 0, "chain": "0" * 64})
    rate = len(proved) / (time.perf_counter() - started)
    print(f"{len(rows)} rows, {rate:,.0f} rows/s")  # noqa: T201 - the figure is the point
    assert rate > 50_000
