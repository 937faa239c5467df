"""Alarms that are up, and the catalogue of what may come up."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fleet_server.kioskctl.commands.kiosks import alarms as list_alarms
from fleet_server.kioskctl.output import dump, table
from fleet_server.kioskctl.running import Json, ask


class Listing(StrEnum):
    """What to list."""

    CATALOGUE = "catalogue"


def alarms(
    what: Annotated[Listing | None, typer.Argument(help="catalogue: 告警目录 (what follows from each code)。")] = None,
    kid: Annotated[str | None, typer.Option(help="只看这台 (only this kiosk)。")] = None,
    everything: Annotated[bool, typer.Option("--all", help="也显示已消除的 (cleared ones too)。")] = False,
    as_json: Json = False,
) -> None:
    """告警, 最新在前; 或告警目录 (alarms, newest first; or their catalogue)。"""
    if what is None:
        list_alarms(kid, everything, as_json)
    else:
        _catalogue(as_json=as_json)


def _catalogue(*, as_json: bool) -> None:
    rows = ask(lambda client: client.get("/api/v1/alarms/catalogue"), as_json=as_json)["items"]
    if as_json:
        dump(rows)
        return
    table(
        ("代码", "级别", "告警", "患者影响", "去抖秒", "工单", "备件", "手册"),
        [
            (
                row["code"],
                row["severity"],
                row["title_zh"],
                row["effect"],
                row["debounce_s"],
                row["needs_order"],
                row["spare_part"],
                row["runbook"],
            )
            for row in rows
        ],
    )
