"""A small disk gets full for real, keeps what was on it, and works again after it was freed."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.small_disk import NoSmallDiskError, SmallDisk

MIB = 1 << 20

FILLS_ONE = """
import sys; sys.path[:0] = {path!r}
from support.small_disk import SmallDisk
with SmallDisk(size_bytes=1 << 20, as_root=False) as disk:
    (disk.path / "kept").write_text("kept")
    print(disk.path, disk.fill() > 900_000, disk.free_bytes)
    try:
        (disk.path / "more").write_text("x" * 5_000)
    except OSError as full:
        print(full.strerror)
    disk.free()
    (disk.path / "more").write_text("x" * 5_000)
    print((disk.path / "kept").read_text())
"""


def test_a_full_disk_refuses_and_a_freed_one_works_again() -> None:
    with SmallDisk(size_bytes=MIB) as disk:
        mounted_on = disk.path
        disk.fill()
        assert disk.free_bytes == 0
        with pytest.raises(OSError, match="No space left") as full:
            (disk.path / "file").write_bytes(b"x" * 5_000)
        assert full.value.errno == errno.ENOSPC
        disk.free()
        (disk.path / "file").write_bytes(b"x" * 5_000)
    assert not mounted_on.exists()


def test_some_room_can_be_left() -> None:
    with SmallDisk(size_bytes=MIB) as disk:
        disk.fill(leave_bytes=100_000)
        assert 100_000 <= disk.free_bytes < 200_000
        (disk.path / "file").write_bytes(b"x" * 90_000)


def test_sqlite_does_not_miss_a_disk_in_a_namespace() -> None:
    with SmallDisk(size_bytes=MIB) as disk:
        if disk.path.is_relative_to("/proc"):
            with pytest.raises(sqlite3.OperationalError, match="unable to open"):
                sqlite3.connect(disk.path / "outbox.db")


def test_sqlite_on_a_full_disk_cannot_even_delete() -> None:
    with SmallDisk(size_bytes=MIB) as disk:
        if disk.path.is_relative_to("/proc"):
            raise NoSmallDiskError("SQLite needs a disk mounted by root")
        fill_under_sqlite(disk)


def fill_under_sqlite(disk: SmallDisk) -> None:
    with closing(sqlite3.connect(disk.path / "outbox.db")) as db:
        db.execute("CREATE TABLE outbox (body BLOB)")
        db.executemany("INSERT INTO outbox VALUES (?)", [(b"x" * 300,)] * 100)
        db.commit()
        disk.fill()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            db.execute("DELETE FROM outbox")
        db.rollback()
        disk.free()
        db.execute("DELETE FROM outbox")
        db.commit()


def test_a_disk_with_open_files_goes_away_all_the_same() -> None:
    with SmallDisk(size_bytes=MIB) as disk:
        left_open = (disk.path / "file").open("w", encoding="ascii")
    left_open.close()
    assert not disk.path.exists()


def test_without_root_a_namespace_of_its_own_does_the_same(service_dir: Path) -> None:
    tools = service_dir / "tools"
    shutil.copytree(Path(__file__).parent.parent / "support", tools / "support", ignore=shutil.ignore_patterns("__*"))
    path = [str(tools), *(entry for entry in sys.path if "site-packages" in entry)]
    argv = [sys.executable, "-c", FILLS_ONE.format(path=path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    where, *rest = done.stdout.splitlines()[0].split()
    assert where.startswith("/proc/")
    assert rest == ["True", "0"]
    assert done.stdout.splitlines()[1:] == ["No space left on device", "kept"]


def test_a_machine_that_allows_neither_is_told_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSmallDiskError, match="mount: not root; user namespace: unshare is missing"):
        SmallDisk(size_bytes=MIB, as_root=False).__enter__()
