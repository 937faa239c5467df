"""How worn a disk says it is: one number out of what each kind of disk has. Pure.

Sources: smartmontools' JSON output (`smartctl --json`, its field names are those of the man page's example and of
smartmontools' json.cpp); NVMe's SMART/Health log (02h); ATA attributes 177, 202, 231 and 233 as solid-state disks use
them: the normalised value goes from 100 down. The same numbers mean other things on other disks, so the name decides.
eMMC: the kernel's `life_time` (tenths used, of two kinds of cells) and `pre_eol_info` (JEDEC 84-B51).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

NEW: Final = 100
_LIFE_NAMES: Final = {
    177: re.compile(r"wear", re.IGNORECASE),
    202: re.compile(r"life", re.IGNORECASE),
    231: re.compile(r"life", re.IGNORECASE),
    233: re.compile(r"wearout", re.IGNORECASE),
}
_UNCORRECTED: Final = frozenset((187, 198))
_TEMPERATURE_BIT: Final = 0x02
"""Of NVMe's critical warning: heat is another alarm, and it goes away again."""
_RAW_MAX: Final = 0xFFFF_FFFF
_EMMC_TENTHS: Final = range(1, 12)
_EMMC_NORMAL: Final = 1
_TEXT_MAX: Final = 48


@dataclass(frozen=True, slots=True)
class DiskWear:
    """What is known of one disk."""

    name: str
    model: str = ""
    used_percent: float | None = None
    """Of its life; above 100 it lives on borrowed time. None: it does not say."""
    media_errors: int = 0
    temperature_c: float | None = None
    warnings: tuple[str, ...] = ()
    """What the disk itself calls critical."""


def wear_of(name: str, document: Mapping[str, Any]) -> DiskWear | None:
    """From one document of `smartctl --json --all`; None when it says nothing of a disk's health."""
    nvme = _part(document, "nvme_smart_health_information_log")
    table = _rows(_part(document, "ata_smart_attributes").get("table"))
    status = _part(document, "smart_status").get("passed")
    if not nvme and not table and not isinstance(status, bool):
        return None
    model = str(document.get("model_name") or document.get("scsi_model_name") or "")
    return DiskWear(
        name,
        "".join(one for one in model if one.isprintable())[:_TEXT_MAX],
        _used(document, nvme, table),
        _count(nvme.get("media_errors")) if nvme else _ata_errors(table),
        _number(_part(document, "temperature").get("current"), -60.0, 150.0),
        tuple(
            _warnings(nvme, is_passed=bool(nvme) or status is not False)
        ),  # of NVMe it sums up the bits, heat as well
    )


def wear_of_emmc(name: str, life_time: str, pre_eol: str) -> DiskWear | None:
    """From the kernel's two files; the more used kind of cells counts. None when neither says anything."""
    tenths = [int(word, 16) for word in life_time.split() if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", word)]
    known = [one for one in tenths if one in _EMMC_TENTHS]
    state = int(pre_eol, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", pre_eol.strip()) else 0
    if not known and not state:
        return None
    warnings = ("pre_eol",) if state > _EMMC_NORMAL else ()
    return DiskWear(name, "eMMC", 10.0 * max(known) if known else None, warnings=warnings)


def _used(document: Mapping[str, Any], nvme: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> float | None:
    said: list[float | None] = [
        _number(nvme.get("percentage_used"), 0.0, 255.0),
        _number(_part(document, "endurance_used").get("current_percent"), 0.0, 255.0),
        _number(document.get("scsi_percentage_used_endurance_indicator"), 0.0, 255.0),
        *(_life_used(row) for row in table),
    ]
    return max((one for one in said if one is not None), default=None)


def _life_used(row: Mapping[str, Any]) -> float | None:
    """Of one ATA attribute."""
    name = _LIFE_NAMES.get(_count(row.get("id")))
    if name is None or name.search(str(row.get("name", ""))) is None:
        return None
    left = _number(row.get("value"), 0.0, float(NEW))
    return None if left is None else NEW - left


def _ata_errors(table: Sequence[Mapping[str, Any]]) -> int:
    raws = [_part(row, "raw").get("value") for row in table if _count(row.get("id")) in _UNCORRECTED]
    return sum(_count(raw) for raw in raws)


def _warnings(nvme: Mapping[str, Any], *, is_passed: bool) -> list[str]:
    found = [] if is_passed else ["failed"]
    bits = _count(nvme.get("critical_warning"))
    if bits & ~_TEMPERATURE_BIT:
        found.append(f"critical_warning_{bits:02x}")
    spare = _number(nvme.get("available_spare"), 0.0, 100.0)
    limit = _number(nvme.get("available_spare_threshold"), 0.0, 100.0)
    if spare is not None and limit is not None and spare < limit:
        found.append("spare_low")
    return found


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = document.get(key)
    return part if isinstance(part, Mapping) else {}


def _rows(table: object) -> list[Mapping[str, Any]]:
    return [row for row in table if isinstance(row, Mapping)] if isinstance(table, Sequence) else []


def _number(value: object, low: float, high: float) -> float | None:
    """A number within its bounds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


def _count(value: object) -> int:
    return int(_number(value, 0.0, _RAW_MAX) or 0)
