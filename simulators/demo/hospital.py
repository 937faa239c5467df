"""The demo's hospital: 100 kiosks on the floors of an invented outpatient building, as an asset list."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

PROFILE = "outpatient-a"
_AREAS: Sequence[tuple[str, str, int]] = (
    ("门诊大厅", "1F", 22),
    ("急诊", "1F", 6),
    ("儿科", "2F", 12),
    ("妇产科", "2F", 10),
    ("内科", "3F", 14),
    ("外科", "3F", 12),
    ("检验影像", "4F", 10),
    ("体检中心", "4F", 6),
    ("住院大厅", "5F", 8),
)
_SITE = "门诊楼"
_PORTS = 12
"""Kiosks on one access switch, floor by floor."""
_OWN_FEED = {"急诊": "AP-1F-E"}
"""Areas with a distribution board of their own; the others hang on their floor's."""
_COLUMNS_PER_ROW = 8
_PITCH = 10


@dataclass(frozen=True, slots=True)
class Asset:
    """One line of the asset list; `x` and `y` are places on the floor plan, in tenths of its width."""

    asset_no: str
    serial: str
    place: str
    area: str
    floor: str
    x: int
    y: int
    profile: str
    site: str
    switch: str
    power_feed: str

    @property
    def kid(self) -> str:
        """The kiosk id the fleet server derives from the asset number."""
        return self.asset_no.lower()


def assets(count: int, seed: int = 1) -> Sequence[Asset]:
    """The first `count` kiosks of the hospital, the same for the same seed."""
    rng = random.Random(seed)
    found: list[Asset] = []
    used: dict[str, int] = {}
    while len(found) < count:
        for area, floor, size in _AREAS:
            for number in range(size):
                if len(found) < count:
                    found.append(_asset(len(found) + 1, area, floor, number, used, rng))
    return found


def _asset(index: int, area: str, floor: str, number: int, used: dict[str, int], rng: random.Random) -> Asset:
    slot = used.get(floor, 0)
    used[floor] = slot + 1
    return Asset(
        asset_no=f"ZZJ-{index:03d}",
        serial=f"SN{2026_000_000 + index * 7 + rng.randrange(7):010d}",
        place=f"{_SITE} {floor} {area} {number + 1} 号机",
        area=area,
        floor=floor,
        x=(slot % _COLUMNS_PER_ROW) * _PITCH + _PITCH // 2,
        y=(slot // _COLUMNS_PER_ROW) * _PITCH + _PITCH // 2,
        profile=PROFILE,
        site=_SITE,
        switch=f"SW-{floor}-{slot // _PORTS + 1}",
        power_feed=_OWN_FEED.get(area, f"AP-{floor}"),
    )


def asset_csv(rows: Sequence[Asset]) -> str:
    """The asset list as the fleet server's import takes it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in fields(Asset)])
    writer.writerows(astuple(row) for row in rows)
    return out.getvalue()
