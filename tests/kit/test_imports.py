"""What importing a part of the kit brings along; a small process pays for each of these."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "cryptography",
    "sqlalchemy",
    "sqlmodel",
    "aiohttp",
    "paho",
    "prometheus_client",
    "psutil",
    "rich",
    "structlog",
)
ALLOWED = {
    "clock": (),
    "machine": (),
    "blocking": (),
    "settings": (),
    "logs": ("structlog",),
    "supervise": ("structlog",),
    "metrics": ("prometheus_client",),
    "mqtt": ("paho", "structlog"),
}


@pytest.mark.parametrize("module", ALLOWED)
def test_a_module_loads_only_the_library_it_is_for(module: str) -> None:
    script = f"import sys, kit.{module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert tuple(done.stdout.split()) == ALLOWED[module]


@pytest.mark.parametrize("module", ["machine", "clock"])
def test_what_is_pure_needs_no_event_loop(module: str) -> None:
    script = f"import sys, kit.{module}; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"
