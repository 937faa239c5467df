"""The files of an export, the chain of its rows and the seals of its days."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

from .basis import Bad, Doc
from .signature import is_signed

FILES = ("manifest.json", "evidence.jsonl", "seals.jsonl", "report.json")
TAIL = 76
"""Length of `,"chain":"<64 hex digits>"}`."""


def read_export(place: str | Path) -> dict[str, bytes]:
    """The four files of an export: a zip or the folder it was unpacked to."""
    path = Path(place)
    try:
        if path.is_dir():
            return {name: (path / name).read_bytes() for name in FILES}
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != sorted(FILES):
                raise Bad("压缩包里的文件不对", "the archive has other files than it must")
            return {name: archive.read(name) for name in FILES}
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
        raise Bad(f"导出包无法读取: {error}", f"the export cannot be read: {error}") from error


def check_chain(content: bytes, base: Doc) -> tuple[list[Doc], dict[int, str]]:
    """Every row with its document; the chain value of each, by number."""
    chain, no = base["chain"], base["no"]
    chains = {no: chain}
    if content and not content.endswith(b"\n"):
        raise Bad("最后一行不完整", "the last row is not whole", no + content.count(b"\n") + 1)
    lines = content.split(b"\n")[:-1]
    for line in lines:
        no += 1
        own = hashlib.sha256(chain.encode() + line[:-TAIL] + b"}").hexdigest()
        if line[-TAIL:] != b',"chain":"' + own.encode() + b'"}':
            zh, en = (
                "该行与前一行接不上: 被改、被删、被插入或换了位置",
                "the row does not follow: changed, deleted, inserted or moved",
            )
            raise Bad(zh, en, no)
        chains[no] = chain = own
    return _documents(lines, base["no"]), chains


def _documents(lines: list[bytes], no: int) -> list[Doc]:
    """The rows as documents, all parsed at once because that is faster."""
    try:
        rows: list[Doc] = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        raise Bad("有的行不是 JSON", "a row is no JSON") from None
    for expected, row in enumerate(rows, start=no + 1):
        if row.get("no") != expected:
            raise Bad("行号不连续", "the number of the row is not the next one", expected)
    if len(rows) != len(lines):
        raise Bad("一行里不止一条", "there is more than one row in a line")
    return rows


def canonical(document: object) -> bytes:
    """The bytes a signature covers."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_seals(content: bytes, rows: list[Doc], chains: dict[int, str], base: Doc, month: str) -> list[Doc]:
    """The seals, each following the one before it; they cover the rows exactly, and each is signed."""
    seals: list[Doc] = []
    last, previous = base["no"], ""
    by_day: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_day[row["day"]].append(row["no"])
    for line in content.split(b"\n")[:-1] if content.endswith(b"\n") else [b""]:
        seal, signature = _seal(line, last + 1)
        if seals:
            _follows(seal, seals[-1], previous)
        day, where = seal["day"], seal["first"]
        if where != last + 1 or chains.get(seal["rows"]) != seal["head"]:
            raise Bad(f"{day} 的行数或链尾与封条不符", f"the rows of {day} are not those that were sealed", where)
        if by_day.pop(day, []) != list(range(where, seal["rows"] + 1)):
            raise Bad(f"{day} 的行不属于当天", f"rows of {day} are not of that day", where)
        if not _is_good(seal, signature):
            raise Bad(f"{day} 的签名无效", f"the signature of {day} is not valid", where)
        previous, last = hashlib.sha256(canonical(seal)).hexdigest(), seal["rows"]
        seals.append(seal)
    if by_day or last != base["no"] + len(rows):
        raise Bad("封条之后还有行", "there are rows behind the last seal", last + 1)
    if seals[0]["day"] != f"{month}-01" and base["no"] != 0:
        raise Bad("当月第一天缺失", "the first day of the month is missing", seals[0]["first"])
    return seals


def _seal(line: bytes, no: int) -> tuple[Doc, str]:
    try:
        seal: Doc = json.loads(line)
        date.fromisoformat(seal["day"])
        is_canonical = canonical(seal) == line
        signature = str(seal.pop("signature"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Bad("封条无法读取", "a seal cannot be read", no) from None
    if not is_canonical:
        raise Bad("封条无法读取", "a seal cannot be read", no)
    return seal, signature


def _follows(seal: Doc, before: Doc, digest: str) -> None:
    day, where = seal["day"], seal["first"]
    if date.fromisoformat(day) != date.fromisoformat(before["day"]) + timedelta(days=1):
        raise Bad(f"{before['day']} 之后缺少封条", f"the seal after {before['day']} is missing", where)
    if seal["previous"] != digest:
        raise Bad(f"{day} 的封条与前一天接不上", f"the seal of {day} does not follow", where)


def _is_good(seal: Doc, signature: str) -> bool:
    try:
        return is_signed(bytes.fromhex(seal["key"]), bytes.fromhex(signature), canonical(seal))
    except (ValueError, TypeError):
        return False


def check_key(seals: list[Doc], key: str) -> None:
    """All seals are of this key."""
    for seal in seals:
        if seal["key"] != key:
            raise Bad(
                f"{seal['day']} 的封条不是约定的密钥签的", f"the seal of {seal['day']} is of another key", seal["first"]
            )
