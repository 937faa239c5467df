"""The polkit rule that lets the fleet server reload the broker, tried with every neighbour of what it allows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

FILES = Path(__file__).resolve().parents[2] / "ansible" / "roles" / "fleet_server" / "files"
MANAGE = "org.freedesktop.systemd1.manage-units"
ASKED = {"id": MANAGE, "unit": "mosquitto.service", "verb": "reload", "user": "fleet-server"}
ENGINE = """
let rule;
globalThis.polkit = { addRule(f) { rule = f; }, Result: { YES: "yes" } };
const { rules, cases } = JSON.parse(require("fs").readFileSync(0, "utf8"));
new Function(rules)();
const asked = (c) => rule({ id: c.id, lookup: (name) => c[name] }, { user: c.user }) ?? null;
console.log(JSON.stringify(cases.map(asked)));
"""


def test_the_rule_allows_one_verb_on_one_unit_to_one_account() -> None:
    node = shutil.which("node")
    assert node is not None, "node is missing: apt-get install --no-install-recommends nodejs"
    others = (
        {"verb": "restart"},
        {"verb": "stop"},
        {"verb": None},
        {"unit": "ssh.service"},
        {"unit": None},
        {"user": "nobody"},
        {"user": "root"},
        {"id": "org.freedesktop.systemd1.reload-daemon"},
    )
    rules = (FILES / "50-fleet-server-broker.rules").read_text(encoding="utf-8")
    given = json.dumps({"rules": rules, "cases": [ASKED, *({**ASKED, **other} for other in others)]})
    done = subprocess.run([node, "-e", ENGINE], input=given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["yes", *[None] * len(others)]


def test_the_units_and_the_runbook_name_the_same_things() -> None:
    drop_in = (FILES / "mosquitto.service.d" / "fleet-server.conf").read_text(encoding="utf-8")
    unit = (FILES / "fleet-server.service").read_text(encoding="utf-8")
    assert "-c /var/lib/fleet-server/broker/mosquitto.conf" in drop_in
    assert "--data-dir /var/lib/fleet-server" in unit
    assert "User=fleet-server" in unit
    runbook = (FILES.parents[3] / "docs" / "runbooks" / "revocation.md").read_text(encoding="utf-8")
    assert 'reload_command = ["/usr/bin/systemctl", "--no-ask-password", "reload", "mosquitto.service"]' in runbook
