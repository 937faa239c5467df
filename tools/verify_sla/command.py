"""The whole proof, and the command line around it."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
import zipapp
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from . import __doc__ as about
from .basis import NOT_UNDERSTOOD, Bad, Doc
from .chain import FILES, check_chain, check_key, check_seals, read_export
from .months import recompute


def compare(found: object, claimed: object, where: str = "report") -> None:
    """The first number of the report that is not the one that was computed; texts for people are not compared."""
    if isinstance(found, dict):
        for name, value in found.items():
            if name == "title" and value is None:
                continue
            if not isinstance(claimed, dict) or name not in claimed:
                raise Bad(f"月报缺少 {where}.{name}", f"the report lacks {where}.{name}")
            compare(value, claimed[name], f"{where}.{name}")
    elif isinstance(found, list):
        if not isinstance(claimed, list) or len(claimed) != len(found):
            raise Bad(f"月报 {where} 的行数不对, 应为 {len(found)}", f"{where} must have {len(found)} lines")
        for place, value in enumerate(found):
            compare(value, claimed[place], f"{where}[{place}]")
    elif type(found) is not type(claimed) or found != claimed:
        raise Bad(
            f"月报 {where} 写的是 {claimed!r}, 应为 {found!r}", f"{where} says {claimed!r}, the evidence says {found!r}"
        )


def verify(files: Mapping[str, bytes], key: str | None = None, head: str | None = None) -> Doc:
    """Prove an export; what was found, or `Bad`."""
    try:
        manifest = json.loads(files["manifest.json"])
        claimed = json.loads(files["report.json"])
        base, month = manifest["base"], manifest["month"]
        if (
            manifest["format"] != 1
            or set(manifest) != {"base", "files", "format", "month"}
            or set(base) != {"chain", "no"}
        ):
            raise Bad("导出格式未知", "the format of the export is not known")
        date.fromisoformat(f"{month}-01")
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"清单或月报无法读取: {error}", f"the manifest or the report cannot be read: {error}") from error
    rows, chains = check_chain(files["evidence.jsonl"], base)
    seals = check_seals(files["seals.jsonl"], rows, chains, base, month)
    if key is not None:
        check_key(seals, key)
    if head is not None and head not in chains.values():
        raise Bad(
            "先前记下的链尾不在其中: 被截短、换成旧的或另写的",
            "the head noted earlier is not in it: shortened, older or written anew",
            base["no"] + len(rows) + 1,
        )
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in FILES[1:]}
    if manifest["files"] != digests:
        raise Bad("文件与清单不符", "the files are not those of the manifest")
    found = recompute(rows, month, seals[-1]["sealed_us"])
    found |= {"month": month, "evidence_rows": len(rows), "evidence_head": seals[-1]["head"]}
    compare(found, claimed)
    return {"rows": len(rows), "days": len(seals), "last": seals[-1], "report": found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the export is true, 1 when it is not."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="zip 或解开的目录 (the zip, or the folder it was unpacked to)")
    parser.add_argument("--key", help="约定的公钥 (public key, 64 hex digits)")
    parser.add_argument("--head", help="先前记下的链尾 (a chain value noted earlier)")
    parser.add_argument(
        "--pack", action="store_true", help="把本程序写成一个文件 (write this program as one file instead)"
    )
    wanted = parser.parse_args(arguments)
    if wanted.pack:
        return pack(Path(wanted.export))
    started = time.perf_counter()
    try:
        found = verify(read_export(wanted.export), wanted.key, wanted.head)
    except Bad as bad:
        where = "" if bad.row is None else f"第 {bad.row} 行: "
        place = "" if bad.row is None else f"row {bad.row}: "
        print(f"不可信 — {where}{bad.zh}\nNOT TO BE TRUSTED - {place}{bad.en}")
        return 1
    except NOT_UNDERSTOOD as error:
        print(f"不可信 — 证据的内容无法理解\nNOT TO BE TRUSTED - the evidence cannot be understood: {error!r}")
        return 1
    _say(found, time.perf_counter() - started, has_key=wanted.key is not None)
    return 0


def pack(target: Path) -> int:
    """Write this program as one file that runs with nothing but Python: `python3 verify_sla.pyz EXPORT.zip`."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "verify_sla"
        shutil.copytree(Path(__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__", "__main__.py"))
        (Path(folder) / "__main__.py").write_text(MAIN, encoding="utf-8")
        zipapp.create_archive(folder, target, interpreter="/usr/bin/env python3")
    return 0


MAIN = "import sys\n\nfrom verify_sla.command import main\n\nsys.exit(main())\n"


def _say(found: Doc, took_s: float, *, has_key: bool) -> None:
    last, report = found["last"], found["report"]
    share, summary = report["summary"]["availability_ppm"], report["summary"]
    text = "–" if share is None else f"{share // 10_000}.{share % 10_000:04} %"
    print(f"可信 — {found['rows']} 行, {found['days']} 天, {took_s:.1f} 秒; 月报每个数字都重新算出")
    print(f"TRUE - {found['rows']} rows, {found['days']} days, {took_s:.1f} s; every number was computed again")
    print(f"  可用率 (availability)  {text}")
    print(f"  超时 (broken limits)   {summary['response_breaches']} + {summary['repair_breaches']}")
    print(f"  截至 (as of)           {report['as_of']}{'' if report['is_final'] else '  未最终 (not final)'}")
    print(f"  公钥 (key)             {last['key']}{'' if has_key else '  请与约定的比对 (compare it)'}")
    print(f"  链尾 (head, note it)   {last['head']}")
