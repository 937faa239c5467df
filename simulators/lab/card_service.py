"""A pcscd of its own for one kiosk, with vsmartcard's virtual reader: real PC/SC without a card.

The daemon's socket directory is compiled in, so it runs in mount and network namespaces of its own, where a directory
of ours is bound over it; clients find it by PCSCLITE_CSOCK_NAME. vpcd listens inside that network namespace.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
READER = "Virtual PCD"
VARIABLE = "PCSCLITE_CSOCK_NAME"
_PORT = 0x9001
_CLONE_NEWNET = 0x40000000
_SOCKET_PATH_MAX = 100
_START_S, _STOP_S, _POLL_S, _CONNECT_S = 10.0, 3.0, 0.02, 2.0
_SCRIPT = 'ip link set lo up && mkdir -p /run/pcscd && mount --bind "$0" /run/pcscd && exec pcscd -f -c "$1"'


class CardServiceError(RuntimeError):
    """There is no card service here; the text says why."""


def why_not() -> str | None:
    """Why a private pcscd cannot run on this machine; None when it can."""
    if os.geteuid() != 0:
        return "需要 root 权限才能启动私有 pcscd · a private pcscd needs root"
    missing = [name for name in ("pcscd", "unshare", "setpriv", "ip") if shutil.which(name, path=_PATH) is None]
    if missing or not DRIVER.exists():
        return (
            "未安装 pcscd 或 vpcd 驱动 · missing pcscd or its vpcd driver: "
            "apt-get install --no-install-recommends pcscd vsmartcard-vpcd util-linux iproute2"
        )
    return None


_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class CardService:
    """The daemon of one kiosk; `start` and `stop` as often as wanted."""

    def __init__(self, folder: Path, reader: str) -> None:
        self._folder = folder
        self._reader = reader
        self._process: asyncio.subprocess.Process | None = None
        self._sockets: Path | None = None

    @property
    def socket_path(self) -> Path:
        """What PCSCLITE_CSOCK_NAME says; the directory exists after `prepare`."""
        assert self._sockets is not None, "prepare() first"  # noqa: S101 - a bug of ours
        return self._sockets / "pcscd.comm"

    @property
    def is_running(self) -> bool:
        """Whether the daemon is there."""
        return self._process is not None and self._process.returncode is None

    def prepare(self, socket_folder: Path | None = None) -> None:
        """Make the directories; a path too long for a socket is replaced by a short one."""
        sockets = self._folder / "run" if socket_folder is None else socket_folder
        if len(str(sockets / "pcscd.comm")) > _SOCKET_PATH_MAX:
            sockets = Path(tempfile.mkdtemp(prefix="kiosk-lab-pcscd-"))
        sockets.mkdir(parents=True, exist_ok=True)
        (self._folder / "readers").mkdir(parents=True, exist_ok=True)
        self._sockets = sockets

    async def start(self, *, with_reader: bool = True) -> None:
        """Start the daemon, with its reader or with none; one that runs is stopped first.

        Raises:
            CardServiceError: it did not come up.
        """
        await self.stop()
        await asyncio.to_thread(self._configure, with_reader=with_reader)
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "-n", "-m", "sh", "-c", _SCRIPT]
        log = await asyncio.to_thread((self._folder / "pcscd.log").open, "ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                str(self.socket_path.parent),
                str(self._folder / "readers"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": _PATH},
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_S):
                while not await asyncio.to_thread(self.socket_path.exists):
                    if self._process.returncode is not None:
                        raise CardServiceError(f"pcscd ended with {self._process.returncode}: {self._folder}/pcscd.log")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await self.stop()
            raise CardServiceError(f"pcscd did not start: {self._folder}/pcscd.log") from None

    async def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the virtual reader, for a simulated card.

        Raises:
            OSError: the daemon or its reader is not there.
        """
        if self._process is None:
            raise ConnectionRefusedError("pcscd does not run")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[socket.socket | OSError] = loop.create_future()
        pid = self._process.pid

        def told(found: socket.socket | OSError) -> None:
            if not done.done():
                done.set_result(found)

        def work() -> None:
            loop.call_soon_threadsafe(told, _connect_inside(pid))

        threading.Thread(target=work, name="into-namespace", daemon=True).start()
        found = await done
        if isinstance(found, OSError):
            raise found
        return await asyncio.open_connection(sock=found)

    def _configure(self, *, with_reader: bool) -> None:
        with suppress(FileNotFoundError):
            for stale in self.socket_path.parent.iterdir():
                stale.unlink()
        file = self._folder / "readers" / "vpcd"
        if with_reader:
            file.write_text(_readers([self._reader]), encoding="ascii")
        else:
            file.unlink(missing_ok=True)


def _readers(names: Sequence[str]) -> str:
    return "\n".join(
        f'FRIENDLYNAME "{READER} {name}"\nDEVICENAME /dev/null:{_PORT + 2 * at:#x}\n'
        f"LIBPATH {DRIVER}\nCHANNELID {_PORT + 2 * at:#x}\n"
        for at, name in enumerate(names)
    )


def _connect_inside(pid: int) -> socket.socket | OSError:
    """Connect within the network namespace of a process; only the calling thread moves there, so it must end then."""
    try:
        with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                return OSError(ctypes.get_errno(), "setns")
        found = socket.create_connection(("127.0.0.1", _PORT), timeout=_CONNECT_S)
    except OSError as failed:
        return failed
    found.setblocking(False)  # noqa: FBT003 - the socket module takes it by position only
    return found
