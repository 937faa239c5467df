"""Fixtures that every part of the tests may use; each part adds its own beside its tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def service_dir() -> Iterator[Path]:
    """Give a directory that service accounts (mosquitto, postgres) can reach; `tmp_path` lies below a 0700 one."""
    directory = Path(tempfile.mkdtemp(prefix="kiosk-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
