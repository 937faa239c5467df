"""Places of kiosks come from the asset list."""

from __future__ import annotations

import pytest

from fleet_server.incidents.model import Scope
from fleet_server.incidents.topology import RegistryTopology
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import Asset
from fleet_server.registry.service import RegistryService, Statuses
from fleet_server.registry.store import RegistryStore
from kit.clock import ManualClock
from kit.store import Database
from support.registry import FakeAuditor

HEAD = "asset_no,place,area,floor,profile"
SHARED = HEAD + ",site,switch,power_feed"
ROW = "k-0001,大厅,门诊,1F,k20"


@pytest.fixture
async def registry(sqlite_fleet_db: Database) -> RegistryService:
    store = RegistryStore(sqlite_fleet_db)
    return RegistryService(store, Directory(store), ManualClock(), auditor=FakeAuditor(), statuses=Statuses())


async def takes(registry: RegistryService, *lines: str) -> tuple[int, int, int]:
    report = await registry.import_assets("\n".join(lines), actor="test", dry_run=False)
    assert not report.errors
    return report.created, report.updated, report.unchanged


async def test_a_list_without_the_columns_leaves_what_is_known(registry: RegistryService) -> None:
    assert await takes(registry, HEAD, ROW) == (1, 0, 0)
    assert await takes(registry, SHARED, f"{ROW},门诊楼,SW-1,AP-1") == (0, 1, 0)
    assert await takes(registry, HEAD, ROW) == (0, 0, 1)
    kiosk = await registry.detail("k-0001")
    assert (kiosk.site, kiosk.switch, kiosk.power_feed) == ("门诊楼", "SW-1", "AP-1")
    assert await takes(registry, SHARED, f"{ROW},,,AP-1") == (0, 1, 0)
    kiosk = await registry.detail("k-0001")
    assert (kiosk.site, kiosk.switch, kiosk.power_feed) == ("", "", "AP-1")


async def test_what_is_not_known_is_in_common_with_nobody(sqlite_fleet_db: Database) -> None:
    store = RegistryStore(sqlite_fleet_db)
    directory = Directory(store)
    topology = RegistryTopology(directory)
    now = ManualClock().utc()
    full = Asset("k-1", "k-1", None, "大厅", "门诊", "1F", None, None, "k20", "东楼", "SW-1", "AP-1")
    bare = Asset("k-2", "k-2", None, "大厅", "门诊", "1F", None, None, "k20")
    async with store.writing() as work:
        await work.put_assets([full, bare], [], now)
    await directory.refresh()
    assert topology.places("k-1") == {
        Scope.POWER_FEED: "AP-1",
        Scope.SWITCH: "SW-1",
        Scope.AREA: "门诊",
        Scope.FLOOR: "东楼 1F",
        Scope.SITE: "东楼",
    }
    assert topology.places("k-2") == {Scope.AREA: "门诊", Scope.FLOOR: "1F", Scope.SITE: ""}
    assert topology.places("stranger") == {}
