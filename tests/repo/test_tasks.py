"""`make`, `./run` and CI agree on the tasks, and nothing installed means nothing to do."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from support.tree import ROOT


def _bash(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_make_and_run_have_the_same_tasks() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tasks = re.search(r"^TASKS := (.+)$", makefile, re.MULTILINE)
    assert tasks is not None
    listed = re.findall(r"^  ([a-z][a-z-]+) ", _bash("./run help").stdout, re.MULTILINE)
    assert sorted(tasks[1].split()) == sorted([*listed, "help"])


def test_an_unknown_task_is_refused_with_the_list() -> None:
    ended = _bash("./run dance")
    assert ended.returncode == 2
    assert "make TASK" in ended.stderr


def test_scripts_are_executable_and_parse() -> None:
    for script in ("run", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK)
        assert _bash(f"bash -n {script}").returncode == 0
    assert _bash("bash -n tools/system_packages.sh").returncode == 0


def test_ci_calls_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "exec make test </dev/null"


def _with_dpkg(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` where dpkg knows only mosquitto, and neither apt-get nor sudo may be used."""
    for name, body in {
        "dpkg-query": 'echo -n "ii mosquitto "; exit 1',
        "apt-get": "exit 100",
        "sudo": "exit 1",
        "env": 'shift; exec "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    prologue = 'source tools/system_packages.sh; note() { echo "$*"; }; as_root() { return 1; }; '
    return _bash(prologue + script, PATH=f"{folder}:{os.environ['PATH']}")


def test_what_is_installed_is_not_asked_for(tmp_path: Path) -> None:
    ended = _with_dpkg(tmp_path, "need_packages mosquitto")
    assert (ended.returncode, ended.stdout) == (0, "")


def test_what_cannot_be_installed_is_named_in_one_line(tmp_path: Path) -> None:
    ended = _with_dpkg(tmp_path, "need_packages mosquitto strace")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "missing: run  sudo apt-get install --no-install-recommends strace"
