"""The export of a month: everything a stranger needs to compute every number again (`tools/verify_sla`)."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Final

from fleet_server.sla.documents import as_json
from fleet_server.sla.model import Report
from fleet_server.sla.seal import Seal, SealedRow
from wire.envelope import canonical_bytes

FORMAT: Final = 1
EVIDENCE: Final = "evidence.jsonl"
SEALS: Final = "seals.jsonl"
REPORT: Final = "report.json"
MANIFEST: Final = "manifest.json"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""So that the same export is the same file."""


def bundle(report: Report, base: SealedRow | None, rows: Sequence[SealedRow], seals: Sequence[Seal]) -> bytes:
    """A zip of the rows of a month's days, their seals and the report; `base` is the row before the first of them."""
    files = {
        EVIDENCE: "".join(f"{row.line}\n" for row in rows).encode(),
        SEALS: "".join(f"{seal.line}\n" for seal in seals).encode(),
        REPORT: as_json(report),
    }
    manifest = {
        "base": {"chain": "0" * 64 if base is None else base.chain, "no": 0 if base is None else base.no},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "format": FORMAT,
        "month": report.month,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MANIFEST: _pretty(manifest), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _pretty(document: object) -> bytes:
    return json.dumps(json.loads(canonical_bytes(document)), indent=1, sort_keys=True).encode() + b"\n"
