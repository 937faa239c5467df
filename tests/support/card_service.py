"""A private pcscd with vsmartcard's virtual reader, in network and mount namespaces of its own (real components, 3.3).

The daemon's socket path is compiled in, so its directory is bound over inside the namespace; clients of this process
find it by PCSCLITE_CSOCK_NAME, which libpcsclite reads once: one path for the whole test run.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.netns import NoNamespacesError
from support.processes import Child
from support.waiting import wait_for

READER = "Virtual PCD"
_PORT = 0x9001
_DRIVER = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
_CLONE_NEWNET = 0x40000000
_VARIABLE = "PCSCLITE_CSOCK_NAME"
_PREFIX = "kiosk-pcscd-"


def socket_dir() -> Path:
    """Where the socket of every private pcscd of this test run is."""
    known = os.environ.get(_VARIABLE)
    if known is None:
        known = str(Path(tempfile.mkdtemp(prefix=_PREFIX)) / "pcscd.comm")
        os.environ[_VARIABLE] = known
    directory = Path(known).parent
    directory.mkdir(exist_ok=True)
    return directory


def forget_socket_dir() -> None:
    """Remove it, where this process made one."""
    known = Path(os.environ.get(_VARIABLE, "")).parent
    if known.name.startswith(_PREFIX):
        shutil.rmtree(known, ignore_errors=True)


async def _connect_inside(pid: int, port: int) -> socket.socket:
    """Open a connection inside the network namespace of a process; only the thread that does it moves there."""
    outcome: list[socket.socket | OSError] = []

    def work() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            with Path(f"/proc/{pid}/ns/net").open() as namespace:
                refused = libc.setns(namespace.fileno(), _CLONE_NEWNET)
            if refused:
                outcome.append(OSError(ctypes.get_errno(), "setns"))
            else:
                outcome.append(socket.create_connection(("127.0.0.1", port), timeout=2.0))
        except OSError as failed:
            outcome.append(failed)

    threading.Thread(target=work, name="into-namespace", daemon=True).start()
    await wait_for(lambda: outcome, what="a connection inside the namespace")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


@dataclass(slots=True)
class CardService:
    """`async with CardService(tmp_path) as service:`; `slots` readers are called `Virtual PCD A 00 00` and so on.

    Raises:
        NoNamespacesError: at entry, without root or without the Debian packages pcscd and vsmartcard-vpcd.
    """

    directory: Path
    readers: Sequence[str] = ("A",)
    _child: Child | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        if os.getuid() != 0:
            raise NoNamespacesError("a private pcscd needs root")
        if shutil.which("pcscd") is None or not Path(_DRIVER).exists():
            raise NoNamespacesError("missing: apt-get install --no-install-recommends pcscd vsmartcard-vpcd")
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.child.close()

    @property
    def child(self) -> Child:
        """The daemon."""
        assert self._child is not None
        return self._child

    async def start(self, readers: Sequence[str] | None = None) -> None:
        """Start it, or start it again, with these readers."""
        self.readers = self.readers if readers is None else readers
        shared = socket_dir()
        for stale in shared.iterdir():
            stale.unlink()
        config = self.directory / "readers"
        config.mkdir(exist_ok=True)
        blocks = [
            f'FRIENDLYNAME "{READER} {name}"\nDEVICENAME /dev/null:{_PORT + 2 * number:#x}\n'
            f"LIBPATH {_DRIVER}\nCHANNELID {_PORT + 2 * number:#x}\n"
            for number, name in enumerate(self.readers)
        ]
        (config / "vpcd").write_text("\n".join(blocks))
        script = 'ip link set lo up && mkdir -p /run/pcscd && mount --bind "$0" /run/pcscd && exec pcscd -f -c "$1"'
        argv = ["unshare", "-n", "-m", "sh", "-c", script, str(shared), str(config)]
        self._child = Child("pcscd", argv, self.directory / "pcscd.log").start()
        await self.child.ready((shared / "pcscd.comm").exists)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first slot, for a simulated card."""
        link = await _connect_inside(self.child.pid, _PORT)
        link.setblocking(False)  # noqa: FBT003 - the socket module takes it by position only
        return await asyncio.open_connection(sock=link)
