"""`IppEvePrinter`: CUPS's own IPP Everywhere printer, with a bus and an avahi of its own in a network namespace.

Needs root (or user namespaces), cups-ipp-utils, dbus and avahi-daemon. A forwarder leads from a port of ours to the
printer in its namespace, so that nothing of the host's bus, avahi or ports is touched.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Self

from support.ports import free_port
from support.processes import Child, http_get

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*"/></policy></busconfig>
"""
_AVAHI = "[server]\nallow-interfaces=lo\n[publish]\n[reflector]\n[rlimits]\n"
_TOOLS = ("unshare", "dbus-daemon", "avahi-daemon", "ippeveprinter", "python3")
# The namespace has no way out but files: a unix socket is one, and the printer's port is behind it.
_FORWARD = """
import asyncio, os, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve(reader, writer):
    try:
        far_reader, far_writer = await asyncio.open_connection("localhost", int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
async def main():
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    await server.serve_forever()
asyncio.run(main())
"""
_INSIDE = """
set -e
ip link set lo up
mkdir -p /run/dbus /run/avahi-daemon
mount -t tmpfs t /run/dbus
mount -t tmpfs t /run/avahi-daemon
dbus-daemon --config-file="$1/dbus.conf" --nofork --nopidfile &
while [ ! -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
avahi-daemon --no-drop-root --no-chroot -f "$1/avahi.conf" &
while [ ! -S /run/avahi-daemon/socket ]; do sleep 0.05; done
python3 "$1/forward.py" "$1/printer.sock" 8631 &
exec ippeveprinter -r off -p 8631 -n localhost -c "$1/command" -d "$1/spool" -f application/pdf "Kiosk A4"
"""
# What the printer does with a document: says how far it is, one page after the other.
_COMMAND = """#!/bin/sh
pages=$(cat "{folder}/pages")
n=0
while [ "$n" -lt "$pages" ]; do
  n=$((n + 1))
  sleep 0.05
  echo "ATTR: job-impressions-completed=$n" >&2
done
cp "$1" "{folder}/printed/$(basename "$1")"
"""
BOTH_EMPTY = "size1=iso_a4_210x297mm&type1=stationery&level1=0&size3=iso_a5_148x210mm&type3=stationery&level3=0"
BOTH_LOW = BOTH_EMPTY.replace("level1=0", "level1=5").replace("level3=0", "level3=5")
BOTH_FULL = BOTH_EMPTY.replace("level1=0", "level1=250").replace("level3=0", "level3=250")


class IppEvePrinter:
    """A printer on 127.0.0.1:`port`; use as an async context manager."""

    def __init__(self, folder: Path, *, pages: int) -> None:
        """Count so many impressions for every document."""
        self.folder = folder
        self.port = free_port()
        self._pages = pages
        self._server: asyncio.Server | None = None
        argv = ["unshare", "-n", "-m", "sh", "-c", _INSIDE, "ippeve", str(folder)]
        self._child = Child("ippeveprinter", argv, folder / "ippeveprinter.log")

    @property
    def printed(self) -> list[Path]:
        """Documents that came out."""
        return sorted((self.folder / "printed").iterdir())

    async def media(self, form: str) -> None:
        """Say how much paper the trays hold, through the printer's web page."""
        reply = await http_get(f"http://127.0.0.1:{self.port}/media?{form}")
        assert reply.status == 200, reply.text

    async def supplies(self, form: str) -> None:
        """Say how much toner is left."""
        reply = await http_get(f"http://127.0.0.1:{self.port}/supplies?{form}")
        assert reply.status == 200, reply.text

    async def __aenter__(self) -> Self:
        """Start it; ready when it answers."""
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None and not Path("/usr/sbin", tool).exists()]
        assert not missing, f"missing: {', '.join(missing)} (cups-ipp-utils, dbus, avahi-daemon)"
        for name in ("spool", "printed"):
            (self.folder / name).mkdir()
        (self.folder / "dbus.conf").write_text(_BUS)
        (self.folder / "avahi.conf").write_text(_AVAHI)
        (self.folder / "forward.py").write_text(_FORWARD)
        (self.folder / "pages").write_text(str(self._pages))
        command = self.folder / "command"
        command.write_text(_COMMAND.format(folder=self.folder))
        command.chmod(0o755)
        self._child.start()
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        try:
            await self._child.ready(self._answers, timeout_s=20.0, what="ippeveprinter to answer")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it with its bus and its avahi."""
        if self._server is not None:
            self._server.close()
        self._child.close()

    async def _answers(self) -> bool:
        try:
            return (await http_get(f"http://127.0.0.1:{self.port}/", timeout_s=1.0)).status == 200
        except (OSError, TimeoutError):
            return False

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self.folder / "printer.sock")
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, far_writer))
            group.create_task(_pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
