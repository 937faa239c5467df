"""Fixtures that every part of the tests may use, and the checks that run around each test.

Around each test: no blocking call of our packages inside an event loop (marker `may_block(reason)` lifts it), and
no child process and no thread of ours left behind (marker `leaves_threads(reason)` lifts the second half).
"""

from __future__ import annotations

import inspect
import logging
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from blockbuster import blockbuster_ctx

from kit.clock import ManualClock
from support.card_service import forget_socket_dir, socket_dir
from support.kernel_devices import NoKernelDeviceError
from support.netns import NoNamespacesError
from support.processes import assert_no_leftovers, descendants, has_children
from support.small_disk import NoSmallDiskError
from support.spreading import spread
from support.waiting import WaitTimeout, wait_until

OURS = ("agent", "fleet_server", "kit", "patient_platform", "simulators", "wire")
HARMLESS = ("os.getcwd", "os.path.abspath", "os.path.samestat")
"""Answered from memory; libraries compute paths with them."""

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
"""A Monday, 08:00 in the hospital."""

_LEAK_S = 1.0


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of this file, and say where the card service of this process is before anybody asks."""
    is_director = hasattr(config.option, "numprocesses") and not hasattr(config, "workerinput")
    if not (is_director and config.option.numprocesses):
        socket_dir()
    config.addinivalue_line("markers", "may_block(reason): product code may block the event loop in this test")
    config.addinivalue_line("markers", "leaves_threads(reason): this test leaves a thread that cannot be ended")


def pytest_unconfigure() -> None:
    """Leave no folder of the card service behind."""
    forget_socket_dir()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let long tests begin first where there are several workers; with one, files stay in their order."""
    if hasattr(config, "workerinput"):
        spread(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip, with the reason in one line, what this machine cannot do: mounts, namespaces, devices of the kernel."""
    try:
        yield
    except (NoSmallDiskError, NoNamespacesError, NoKernelDeviceError) as missing:
        pytest.skip(f"{item.name}: {str(missing).splitlines()[0]}")


@pytest.fixture
def service_dir() -> Iterator[Path]:
    """Give a directory that service accounts (mosquitto, postgres) can reach; `tmp_path` lies below a 0700 one."""
    directory = Path(tempfile.mkdtemp(prefix="kiosk-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def manual_clock() -> ManualClock:
    """Give a clock that stands still on a Monday morning until the test moves it."""
    return ManualClock(START)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what an entry point under test set up for its whole process."""
    root = logging.getLogger()
    configuration, handlers, level = structlog.get_config(), list(root.handlers), root.level
    yield
    structlog.configure(**configuration)
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.handlers += [handler for handler in handlers if handler not in root.handlers]
    root.setLevel(level)


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make a blocking call of our packages inside a running loop an error; tests themselves may block.

    structlog's renderer for developers, in use as long as nothing is configured, reads source files: it may.
    """
    function = getattr(request, "function", None)
    if not inspect.iscoroutinefunction(function) or request.node.get_closest_marker("may_block"):
        yield
        return
    with blockbuster_ctx(scanned_modules=OURS) as guard:
        for name, function in guard.functions.items():
            if name in HARMLESS:
                function.deactivate()
            function.can_block_in("structlog/dev.py", "__call__")
        yield


def _our_threads() -> set[threading.Thread]:
    """Threads that run a function of our packages."""
    found: set[threading.Thread] = set()
    for thread in threading.enumerate():
        module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
        if module.partition(".")[0] in OURS:
            found.add(thread)
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a child process or a thread of ours running; the processes are killed."""
    known = descendants() if has_children() else []
    threads = _our_threads()
    yield
    assert_no_leftovers(known=known, timeout_s=_LEAK_S)
    if request.node.get_closest_marker("leaves_threads"):
        return
    try:
        wait_until(lambda: _our_threads() <= threads, timeout_s=_LEAK_S)
    except WaitTimeout:
        names = sorted(thread.name for thread in _our_threads() - threads)
        pytest.fail(f"threads were left running: {', '.join(names)}")
