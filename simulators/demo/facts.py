"""`demo.json`: URLs, ports, one-time credentials and one entry per kiosk, so that scripts can bind to a demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Part of `demo.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerFacts(Facts):
    """How to reach the broker; kiosks need a certificate of the same CA."""

    host: str
    port: int
    ca_file: str


class StaffFacts(Facts):
    """The demo's administrator; made at the first start, valid for this folder only."""

    username: str
    password: str
    totp_secret: str
    totp_uri: str


class KioskFacts(Facts):
    """One kiosk of the demo."""

    kid: str
    kind: Literal["full", "light"]
    local_api_url: str | None
    token_file: str | None
    cert_file: str
    key_file: str
    bench: str | None = None
    """Its name in the lab."""


class LabFacts(Facts):
    """The bench where testers put cards, take paper away and break things."""

    bench_url: str
    control_url: str
    token: str


class PlatformFacts(Facts):
    """The patient platform and the outside systems around it."""

    url: str
    data_dir: str
    notify_url: str
    payments_url: str
    """Testers' page of the wallets; `phone` below it is a phone that pays."""
    his_url: str
    """Testers' page of the HIS."""


class DemoFacts(Facts):
    """The whole file."""

    version: int = 1
    started_at: str
    dashboard_url: str
    fleet_api_url: str
    kiosk_api_url: str
    metrics_url: str
    control_url: str
    database_url: str
    mqtt: BrokerFacts
    staff: StaffFacts
    lab: LabFacts
    platform: PlatformFacts
    kiosks: list[KioskFacts]
    pids: dict[str, int]


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only."""
    scratch = path.with_suffix(".new")
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
