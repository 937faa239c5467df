"""What a demo is made of: sizes, places on disk, ports; read from the environment."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

KIOSKS_DEFAULT = 100
FULL_DEFAULT = 3
FULL_LIMIT = 10
KIOSKS_LIMIT = 5_000


class PlanError(ValueError):
    """A setting of the demo is wrong; the text names it and says what it takes."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one demo."""

    dashboard: int
    kiosk_api: int
    broker: int
    control: int
    lab: int
    platform: int
    notify: int
    payments: int
    his: int
    local_apis: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One demo."""

    folder: Path
    kiosks: int
    full: int
    seconds: float | None
    ports: Ports
    seed: int = 1

    @property
    def fleet_dir(self) -> Path:
        """Data directory of the fleet server."""
        return self.folder / "fleet"

    @property
    def agents_dir(self) -> Path:
        """Data directories of the full agents."""
        return self.folder / "agents"

    @property
    def lab_dir(self) -> Path:
        """Where the simulated devices of the full kiosks are."""
        return self.folder / "lab"

    @property
    def page_dir(self) -> Path:
        """The kiosks' page for patients."""
        return self.folder / "kiosk_page"

    @property
    def platform_dir(self) -> Path:
        """Data directory of the patient platform."""
        return self.folder / "patient"

    @property
    def payments_dir(self) -> Path:
        """Keys and books of the simulated wallets."""
        return self.folder / "payments"

    @property
    def his_dir(self) -> Path:
        """Where the simulated HIS is."""
        return self.folder / "his"

    @property
    def identities_dir(self) -> Path:
        """Certificates of the light kiosks."""
        return self.folder / "identities"

    @property
    def facts_file(self) -> Path:
        """What scripts read."""
        return self.folder / "demo.json"


def read_plan(environ: Mapping[str, str]) -> Plan:
    """The plan the environment asks for.

    Variables: DEMO_DIR, DEMO_KIOSKS (1 to 5,000), DEMO_FULL (how many of them with simulated devices, 1 to 10),
    DEMO_SECONDS (stop by itself), DEMO_SEED, DEMO_PORT (the dashboard's; the others are free ones).

    Raises:
        PlanError: a value is not of its kind or out of bounds.
    """
    seconds = _number(environ, "DEMO_SECONDS", 0, 0, 10_000_000)
    kiosks = _number(environ, "DEMO_KIOSKS", KIOSKS_DEFAULT, 1, KIOSKS_LIMIT)
    full = min(kiosks, _number(environ, "DEMO_FULL", FULL_DEFAULT, 1, FULL_LIMIT))
    return Plan(
        folder=Path(environ.get("DEMO_DIR", "var/demo")).absolute(),
        kiosks=kiosks,
        full=full,
        seconds=float(seconds) if seconds else None,
        ports=_ports(_number(environ, "DEMO_PORT", 8080, 1, 65_535), full),
        seed=_number(environ, "DEMO_SEED", 1, 0, 2**31),
    )


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise PlanError(f"{name}={text!r}: a whole number from {low} to {high} is wanted")
    return int(text)


def _ports(dashboard: int, full: int) -> Ports:
    """The wished dashboard port when it is free, otherwise a free one, and free ones for the rest."""
    with _Reserved() as reserved:
        return Ports(
            dashboard=reserved.take(dashboard),
            kiosk_api=reserved.take(8443),
            broker=reserved.take(8883),
            control=reserved.take(8090),
            lab=reserved.take(8091),
            platform=reserved.take(8543),
            notify=reserved.take(8544),
            payments=reserved.take(8092),
            his=reserved.take(8093),
            local_apis=tuple(reserved.take(8601 + number) for number in range(full)),
        )


class _Reserved:
    """Holds ports while others are chosen, so that none is handed out twice."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, wished: int) -> int:
        for port in (wished, 0):
            held = socket.socket()
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                held.close()
                continue
            self._held.append(held)
            return int(held.getsockname()[1])
        raise PlanError("no free port on 127.0.0.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._held:
            held.close()


def entry_point(name: str) -> str:
    """The command of this installation called `name`.

    Raises:
        PlanError: it is not installed beside this Python.
    """
    path = Path(sys.executable).parent / name
    if not path.is_file():
        raise PlanError(f"{path} is missing: run `make setup` first")
    return str(path)
