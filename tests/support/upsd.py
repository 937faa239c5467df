"""`UpsService`: Debian's real upsd with a UPS made of a file (dummy-ups), on a free port."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Self

from support.ports import free_port
from support.processes import Child
from support.waiting import wait_for

_LIB = Path("/lib/nut")


class UpsService:
    """A UPS called `k`; use as an async context manager. `folder` must be reachable for upsd's account."""

    def __init__(self, folder: Path, *, max_age_s: int = 15) -> None:
        self.port = free_port()
        self._folder = folder
        self._max_age_s = max_age_s
        environ = {"NUT_CONFPATH": str(folder), "NUT_STATEPATH": str(folder / "state")}
        log = folder / "nut.log"
        self.driver = Child("dummy-ups", [str(_LIB / "dummy-ups"), "-a", "k", "-u", "root", "-D"], log, env=environ)
        self.service = Child("upsd", [str(_LIB / "upsd"), "-u", "root", "-D"], log, env=environ)

    def says(self, status: str, **more: str) -> None:
        """Let the UPS have this `ups.status`; seen after its driver's next look, up to 4 s."""
        rows = {"ups.status": status, "battery.charge": "100", **{k.replace("_", "."): v for k, v in more.items()}}
        text = "".join(f"{name}: {value}\n" for name, value in rows.items())
        (self._folder / "k.dev").write_text(text)

    def freeze(self) -> None:
        """Stop the driver, so that the data becomes stale after `max_age_s`."""
        self.driver.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the driver go on."""
        self.driver.send(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        """Start both; ready when upsd listens."""
        assert (_LIB / "upsd").exists(), "missing: upsd and dummy-ups (nut-server)"
        (self._folder / "state").mkdir()
        (self._folder / "ups.conf").write_text('[k]\n  driver = dummy-ups\n  port = k.dev\n  desc = "kiosk UPS"\n')
        (self._folder / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\nMAXAGE {self._max_age_s}\n")
        (self._folder / "upsd.users").write_text("")
        for path in self._folder.iterdir():
            path.chmod(0o700 if path.is_dir() else 0o600)
        self.says("OL")
        self.driver.start()
        try:
            await wait_for(lambda: list((self._folder / "state").glob("dummy-ups-k*")), what="dummy-ups")
            self.service.start()
            await self.service.ready(lambda: self.service.listens_on(self.port), what="upsd to listen")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End both."""
        self.service.close()
        self.driver.close()
