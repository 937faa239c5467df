"""`CupsQueue`: a cupsd of our own with one queue, on a free port of 127.0.0.1.

Needs root, cups-daemon, cups-client and cups-filters. Configuration, spool and programs are in a folder of its own;
nothing of the host's CUPS is read or touched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final, Self

from support.ports import free_port
from support.processes import Child, http_get

QUEUE: Final = "a4"
_TOOLS = ("cupsd", "lpadmin", "cupsdisable", "cupsenable")
_FILES = """
SystemGroup root
ServerRoot {c}/etc
RequestRoot {c}/spool
TempDir {c}/spool/tmp
CacheDir {c}/cache
StateDir {c}/state
ServerBin {c}/bin
DataDir {c}/share
ErrorLog {c}/log/error
AccessLog {c}/log/access
PageLog {c}/log/page
Printcap {c}/printcap
"""
_CONF = """
LogLevel info
Listen 127.0.0.1:{port}
Listen {c}/state/cups.sock
Browsing No
DefaultAuthType None
WebInterface No
ErrorPolicy retry-job
JobRetryInterval 1
DirtyCleanInterval 0
<Location />
Order allow,deny
Allow localhost
</Location>
<Location /admin>
Order allow,deny
Allow localhost
</Location>
<Policy default>
<Limit All>
Order allow,deny
Allow localhost
</Limit>
</Policy>
"""


class CupsQueue:
    """A queue named `a4` in front of a printer; use as an async context manager."""

    def __init__(self, device_uri: str) -> None:
        """Print to this address. Filters run as `lp`, who may not look into the folder of a test: it has its own."""
        folder = self.folder = Path(tempfile.mkdtemp(prefix="kiosk-cups-"))
        self.port = free_port()
        self._device_uri = device_uri
        argv = ["cupsd", "-f", "-c", str(folder / "cupsd.conf"), "-s", str(folder / "cups-files.conf")]
        self._child = Child("cupsd", argv, folder / "cupsd.log")

    @property
    def address(self) -> str:
        """What a kiosk's settings say of it."""
        return f"ipp://127.0.0.1:{self.port}/printers/{QUEUE}"

    async def disable(self) -> None:
        """Pause the queue, as somebody at the machine does."""
        await self._tool("cupsdisable", QUEUE)

    async def enable(self) -> None:
        """Let it go on."""
        await self._tool("cupsenable", QUEUE)

    async def kill(self) -> None:
        """End cupsd and its filters and back-ends without goodbye."""
        await asyncio.to_thread(self._child.kill9)
        self._child.close()

    async def restart(self) -> None:
        """Start it again; queues and open jobs are on its disk."""
        self._child.start()
        await self._child.ready(self._answers, timeout_s=20.0, what="cupsd to answer")

    def log(self) -> str:
        """Its error log."""
        return (self.folder / "log/error").read_text(encoding="utf-8", errors="replace")

    async def __aenter__(self) -> Self:
        """Start it and make the queue."""
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None and not Path("/usr/sbin", tool).exists()]
        assert not missing, f"missing: {', '.join(missing)} (cups-daemon, cups-client, cups-filters)"
        await asyncio.to_thread(self._prepare)
        await self.restart()
        try:
            await self._tool("lpadmin", "-p", QUEUE, "-E", "-v", self._device_uri, "-m", "everywhere")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it with everything it started."""
        self._child.send(signal.SIGTERM)
        self._child.close()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        c = self.folder
        c.chmod(0o755)
        for name in ("etc/ppd", "spool/tmp", "cache", "state/certs", "log"):
            (c / name).mkdir(parents=True)
        (c / "bin").symlink_to("/usr/lib/cups")
        (c / "share").symlink_to("/usr/share/cups")
        (c / "cups-files.conf").write_text(_FILES.format(c=c))
        (c / "cupsd.conf").write_text(_CONF.format(c=c, port=self.port))
        shutil.chown(c / "spool", "root", "lp")
        shutil.chown(c / "spool/tmp", "root", "lp")
        (c / "spool").chmod(0o710)
        (c / "spool/tmp").chmod(0o1770)

    async def _tool(self, *argv: str) -> None:
        environ = {**os.environ, "CUPS_SERVER": str(self.folder / "state/cups.sock")}
        process = await asyncio.create_subprocess_exec(
            *argv, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(30.0):
            said, _ = await process.communicate()
        assert process.returncode == 0, f"{argv[0]}: {said.decode(errors='replace')}\n{self._child.log()}"

    async def _answers(self) -> bool:
        try:
            return (await http_get(f"http://127.0.0.1:{self.port}/", timeout_s=1.0)).status < 500
        except (OSError, TimeoutError):
            return False
