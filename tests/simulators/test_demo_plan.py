"""What a demo is made of: settings from the environment, an asset list, facts for scripts."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from simulators.demo.facts import write_private
from simulators.demo.hospital import asset_csv, assets
from simulators.demo.plan import PlanError, read_plan
from wire.identity import is_kiosk_id


def test_an_empty_environment_gives_a_hundred_kiosks_until_somebody_stops_it() -> None:
    plan = read_plan({})
    assert (plan.kiosks, plan.full, plan.seconds) == (100, 3, None)
    assert read_plan({"DEMO_KIOSKS": "2"}).full == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEMO_KIOSKS", "0"),
        ("DEMO_KIOSKS", "5001"),
        ("DEMO_KIOSKS", "many"),
        ("DEMO_FULL", "11"),
        ("DEMO_SECONDS", "-1"),
        ("DEMO_PORT", "99999"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_takes(name: str, value: str) -> None:
    with pytest.raises(PlanError, match=name):
        read_plan({name: value})


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        plan = read_plan({"DEMO_PORT": str(port)})
    ports = plan.ports
    chosen = {ports.dashboard, ports.kiosk_api, ports.broker, ports.control, ports.lab, *ports.local_apis}
    assert port not in chosen
    assert len(chosen) == 8


def test_the_hospital_is_the_same_for_the_same_seed() -> None:
    assert assets(100, seed=7) == assets(100, seed=7)
    rows = assets(100)
    assert len({row.asset_no for row in rows}) == len({row.serial for row in rows}) == 100
    assert all(is_kiosk_id(row.kid) for row in rows)
    assert len(asset_csv(rows).splitlines()) == 101


def test_every_kiosk_hangs_on_a_switch_and_a_board_that_others_share() -> None:
    rows = assets(100)
    switches, feeds = Counter(row.switch for row in rows), Counter(row.power_feed for row in rows)
    assert max(switches.values()) <= 12
    assert min(feeds.values()) >= 6
    assert {row.site for row in rows} == {"门诊楼"}


def test_facts_are_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    write_private(file, "{}")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
