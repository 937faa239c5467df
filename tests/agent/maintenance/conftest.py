"""Maintenance without devices; tests put there what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.maintenance import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give it, with an idle kiosk."""
    return make_bench(tmp_path)
