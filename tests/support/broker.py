"""A real Mosquitto for one test: free port, own directory, killed and restarted at will.

The recipe and its traps are those of the reference on real components, section 3.1: the broker drops to user
`mosquitto` when it is started as root, so everything it reads must be readable for that user. Tests never
fall back to another broker.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.ports import free_port
from support.processes import Child, ChildFailed

__all__ = ["BROKER_USER", "BrokerProcess", "free_port", "give_to_broker", "plain_conf"]

BROKER_USER = "mosquitto"
_STARTS = 5


def _executable() -> str:
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ChildFailed("mosquitto is missing: apt-get install --no-install-recommends mosquitto")
    return found


def _user() -> str | None:
    """The account the broker runs under: its own when we are root, otherwise ours (None)."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(BROKER_USER)
    except KeyError:
        return None
    return BROKER_USER


def give_to_broker(*paths: Path) -> None:
    """Let the broker's account own these files or whole directories; nothing to do when we are not root."""
    user = _user()
    if user is None:
        return
    for path in paths:
        for each in (path, *(path.rglob("*") if path.is_dir() else ())):
            shutil.chown(each, user, user)


def plain_conf(port: int, data_dir: Path, *, persistence: bool = True, extra: str = "") -> str:
    """Configuration of a broker without TLS and without accounts, with Mosquitto's default persistence."""
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        f"persistence {'true' if persistence else 'false'}",
        f"persistence_location {data_dir}/",
        "max_inflight_messages 100",
        "max_queued_messages 100000",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type all",
        extra,
    ]
    return "\n".join(lines) + "\n"


def _takes_sighup(pid: int) -> bool:
    """Whether it would read its settings again; it listens a moment before that, and until then a SIGHUP ends it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) & 1 << (signal.SIGHUP - 1))


@dataclass(slots=True)
class BrokerProcess:
    """One Mosquitto. `async with BrokerProcess() as broker:` gives an open one on `broker.port`.

    `conf` is the text of a whole configuration that listens on 127.0.0.1:`port` (then `port` is required);
    `{data_dir}` and `{port}` in it are replaced. Without it the broker is plain, see `plain_conf`. With
    `conf_path` that file is used as it lies, and is the caller's: nothing of it is copied or removed.
    """

    conf: str | None = None
    conf_path: Path | None = None
    port: int = 0
    persistence: bool = True
    extra: str = ""
    directory: Path = field(init=False)
    _child: Child | None = field(default=None, init=False, repr=False)
    _chosen_here: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a configuration whose port nobody named."""
        if (self.conf or self.conf_path) and not self.port and "{port}" not in (self.conf or ""):
            raise ValueError("a given broker configuration needs its port, or {port} in its text")
        self._chosen_here = not self.port
        self.port = self.port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="kiosk-broker-"))
        self.directory.chmod(0o755)
        self.data_dir.mkdir()
        give_to_broker(self.directory)

    @property
    def data_dir(self) -> Path:
        """Where the broker keeps what it persists; survives `kill9` and `restart`."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """Address for people and logs."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the broker itself."""
        return self._running_child().pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.is_running

    def log(self) -> str:
        """Everything the broker has written since it was first started."""
        return self._child.log() if self._child is not None else ""

    def _running_child(self) -> Child:
        if self._child is None:
            raise ChildFailed("the broker was never started")
        return self._child

    def _write_conf(self) -> Path:
        if self.conf_path is not None:
            return self.conf_path
        text = self.conf or plain_conf(self.port, self.data_dir, persistence=self.persistence, extra=self.extra)
        text = text.replace("{data_dir}", str(self.data_dir)).replace("{port}", str(self.port))
        path = self.directory / "mosquitto.conf"
        path.write_text(text, encoding="utf-8")
        give_to_broker(path)
        return path

    async def _start_once(self) -> None:
        conf = self._write_conf()
        log_path = self.directory / "broker.log"
        argv = [_executable(), "-c", str(conf)]
        child = Child("mosquitto", argv, log_path, user=_user(), cwd=self.directory).start()
        self._child = child
        await child.ready(
            lambda: child.listens_on(self.port) and _takes_sighup(child.pid), what=f"a listener on port {self.port}"
        )

    async def start(self) -> Self:
        """Start the broker and return when its port answers; a port chosen here is changed when taken.

        Raises:
            ChildFailed: it refused its configuration or did not open; with its log.
        """
        for _ in range(_STARTS - 1):
            try:
                await self._start_once()
            except ChildFailed as failed:
                if not self._chosen_here or "Address already in use" not in str(failed):
                    raise
                self.port = free_port()
            else:
                self._chosen_here = False
                return self
        await self._start_once()
        return self

    def reload(self) -> None:
        """Make it read its ACL, CRL and password files again (SIGHUP); connections stay."""
        self._running_child().send(signal.SIGHUP)

    def freeze(self) -> None:
        """Hang it: connections stay open and nothing answers."""
        self._running_child().send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Wake it after `freeze`."""
        self._running_child().send(signal.SIGCONT)

    def kill9(self) -> None:
        """End it as a power cut would: what was not yet saved is lost."""
        self._running_child().kill9()

    def stop(self) -> None:
        """End it in order (SIGTERM): it saves its database."""
        self._running_child().terminate()

    async def restart(self) -> None:
        """Start it again on the same port and data, ending it in order first when it still runs."""
        if self.is_running:
            self.stop()
        await self.start()

    def close(self) -> None:
        """End it and remove its directory."""
        if self._child is not None:
            self._child.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        """Start it; nothing is left behind when that fails."""
        try:
            return await self.start()
        except BaseException:
            self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        """End it and remove its directory."""
        self.close()
