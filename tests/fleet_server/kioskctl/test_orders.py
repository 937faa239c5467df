"""Work orders from the command line, against a real server."""

from __future__ import annotations

import json

from support.registry import HEAD
from support.shell import Shell

LINE = "K-0001,SN-1,1 号厅,门诊,1F,,,k20\n"


async def test_an_order_by_hand_is_taken_and_cannot_be_closed_by_a_click(shell: Shell) -> None:
    core = shell.site.server.core
    await core.registry.import_assets(HEAD + LINE, actor="test", dry_run=False)
    await core.directory.refresh()
    await shell.signs_in("chief")
    made = await shell.run("orders", "create", "k-0001", "屏幕闪烁", "--component", "printer", "--json")
    assert made.exit_code == 0, made.err
    number = json.loads(made.out)["number"]
    assert (await shell.run("orders", "respond", number)).exit_code == 0
    listed = await shell.run("orders", "list")
    assert (number in listed.out, "已响应" in listed.out) == (True, True)
    shown = await shell.run("orders", "show", number)
    assert "no self-test of this component has arrived" in shown.out
    closed = await shell.run("orders", "close", number, "--json")
    assert closed.exit_code == 3
    assert "repair_unproved" in closed.out + closed.err
    assert (await shell.run("orders", "checkin")).exit_code == 2
    assert "nothing runs out soon" in (await shell.run("orders", "round", "--floor", "1F")).out
