"""Contract, report and export from the command line, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from fleet_server.sla.model import Report
from support.shell import Shell

EXAMPLE = str(Path("fleet_server/sla/contract.toml").resolve())


async def test_a_contract_is_set_and_a_report_is_had(chief: Shell, tmp_path: Path) -> None:
    missing = await chief.run("report", "2026-11", "--out", str(tmp_path / "r.pdf"))
    assert missing.exit_code == 3
    done = await chief.run("sla", "contract", "set", EXAMPLE)
    assert (done.exit_code, done.err) == (0, "")
    shown = await chief.run("sla", "contract", "show")
    assert "示例医院" in shown.out
    assert "chief" in shown.out
    for kind, start in (("json", b"{"), ("csv", b"\xef\xbb\xbf"), ("xlsx", b"PK"), ("pdf", b"%PDF")):
        file = tmp_path / f"r.{kind}"
        made = await chief.run("report", "2026-11", "--format", kind, "--out", str(file))
        assert (made.exit_code, made.err) == (0, "")
        assert file.read_bytes().startswith(start)
    assert Report.model_validate(json.loads((tmp_path / "r.json").read_text())).hospital == "示例医院"
    export = await chief.run("sla", "export", "2026-11", "--out", str(tmp_path / "e.zip"))
    assert export.exit_code == 3
    seals = await chief.run("sla", "seals", "--from", "2026-11-01", "--to", "2026-11-30", "--json")
    assert json.loads(seals.out) == {"seals": []}
    actions = {row["action"] for row in json.loads((await chief.run("audit", "--json")).out)}
    assert any("sla/contract" in action or "contract" in action for action in actions), actions


async def test_who_may_look_sees_the_report_and_sets_nothing(chief: Shell, shell: Shell, tmp_path: Path) -> None:
    assert (await chief.run("sla", "contract", "set", EXAMPLE)).exit_code == 0
    assert (await shell.signs_in("viewer")).exit_code == 0
    assert (await shell.run("report", "2026-11", "--format", "csv", "--out", str(tmp_path / "r"))).exit_code == 0
    refused = await shell.run("sla", "contract", "set", EXAMPLE)
    assert refused.exit_code == 3
