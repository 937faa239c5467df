"""Watches how worn the disks are: rarely, because it changes over months, and never with a right of its own.

`smartctl` needs rights that the agent must not have. A timer of systemd runs it as a program of its own and leaves one
JSON file per disk in a folder of /run; the agent reads them. eMMC needs nobody: the kernel shows it to everyone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.health.smart import DiskWear, wear_of, wear_of_emmc
from agent.reporter import Reporter
from agent.settings import DiskSettings
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from wire.faults import Fault, Severity

BLOCK: Final = Path("/sys/block")
_TIMEOUT_S: Final = 10.0
_FILE_BYTES_MAX: Final = 1_048_576
_DISKS_MAX: Final = 16
_DETAIL_MAX: Final = 200
log = get_logger(__name__)


def read_disks(folder: Path, block: Path, newest_s: float, kept_s: float) -> tuple[DiskWear, ...]:
    """All disks; a file that is older than `kept_s`, too large or no JSON is left out. Blocking."""
    found: list[DiskWear | None] = []
    for file in sorted(folder.glob("*.json"))[:_DISKS_MAX]:
        try:
            about = file.stat()
            if about.st_size > _FILE_BYTES_MAX or newest_s - about.st_mtime > kept_s:
                continue
            document = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        found.append(wear_of(file.stem, document) if isinstance(document, dict) else None)
    for folder_of_one in sorted(block.glob("mmcblk*"))[:_DISKS_MAX]:
        device = folder_of_one / "device"
        found.append(wear_of_emmc(folder_of_one.name, _word(device / "life_time"), _word(device / "pre_eol_info")))
    return tuple(one for one in found if one is not None)


class DiskWatch:
    """Says how the condition stands: raised above one mark, cleared below another, held in between."""

    def __init__(self, reporter: Reporter, settings: DiskSettings, clock: Clock, *, block: Path = BLOCK) -> None:
        self._reporter = reporter
        self._settings = settings
        self._clock = clock
        self._block = block
        self._seen: tuple[DiskWear, ...] | None = None

    @property
    def disks(self) -> Sequence[DiskWear]:
        """What was seen last."""
        return self._seen or ()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.look_s)

    async def look(self) -> None:
        """One round; when nothing can be known of any disk the alarm stays as it is."""
        settings = self._settings
        thread = DeviceThread("disk-wear")
        try:
            now_s = self._clock.utc().timestamp()
            disks = await thread.call(
                read_disks, settings.folder, self._block, now_s, settings.kept_s, timeout_s=_TIMEOUT_S
            )
        except (CallTimeout, Abandoned):
            return
        finally:
            thread.close(timeout_s=0.0)
        if disks != self._seen:
            self._seen = disks
            for disk in disks:
                log.info("disk.seen", disk=disk.name, used_percent=disk.used_percent, warnings=list(disk.warnings))
        await self._judge(disks)
        await self._tell(disks)

    async def _tell(self, disks: Sequence[DiskWear]) -> None:
        """The most worn and the hottest disk, as figures."""
        used = [disk.used_percent for disk in disks if disk.used_percent is not None]
        heat = [disk.temperature_c for disk in disks if disk.temperature_c is not None]
        values = {"disk_wear_percent": max(used)} if used else {}
        values |= {"disk_temperature_c": max(heat)} if heat else {}
        if values:
            await self._reporter.telemetry(values)

    async def _judge(self, disks: Sequence[DiskWear]) -> None:
        bad = [disk for disk in disks if self._reasons(disk, self._settings.wear_raise_percent)]
        worse = [disk for disk in disks if self._reasons(disk, self._settings.wear_clear_percent)]
        if bad:
            text = "; ".join(f"{one.name} {one.model}: {', '.join(self._reasons(one, 0.0))}" for one in bad)
            severity = Severity.MAJOR if any(disk.warnings for disk in bad) else None
            detail = {"disks": text[:_DETAIL_MAX]}
            await self._reporter.alarm("host", Fault.DISK_WEARING, is_up=True, severity=severity, detail=detail)
        elif disks and not worse:
            await self._reporter.alarm("host", Fault.DISK_WEARING, is_up=False)

    def _reasons(self, disk: DiskWear, mark_percent: float) -> list[str]:
        """Why a disk is worn, judged by this mark."""
        found = list(disk.warnings)
        if disk.used_percent is not None and disk.used_percent >= mark_percent:
            found.append(f"used {disk.used_percent:g} %")
        if disk.media_errors >= self._settings.media_errors:
            found.append(f"media errors {disk.media_errors}")
        return found


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
