"""The agent's settings: `agent.toml`, overridden by `KIOSK_SECTION__KEY` variables; an unknown key is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kit.settings import load
from wire.envelope import ShortText, Text
from wire.presence import HEARTBEAT_S, KEEPALIVE_S, WILL_DELAY_S
from wire.telemetry import SAMPLE_INTERVAL_S

ENV_PREFIX = "KIOSK_"
MIB = 1_048_576


class Section(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FleetSettings(Section):
    """The way to the fleet server's kiosk API."""

    enrol_url: Annotated[str, Field(pattern=r"^https://[^/\s]+$")] | None = Field(
        default=None, description="https://host:port of the kiosk API, no path"
    )
    ca_file: Path | None = Field(
        default=None, description="CA certificates the server's certificate is checked against"
    )
    timeout_s: float = Field(default=15.0, gt=0.0, le=120.0)
    poll_s: float = Field(default=3.0, gt=0.0, le=60.0, description="how often a pending enrolment is asked for")
    retry_base_s: float = Field(default=5.0, gt=0.0)
    retry_cap_s: float = Field(default=300.0, gt=0.0)


class BrokerSettings(Section):
    """Set only when the broker is reached in another way than the enrolment said."""

    host: ShortText | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)


class LocalApiSettings(Section):
    """The local API; it is meant for this machine alone."""

    host: ShortText = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65_535)
    kiosk_page: Path | None = Field(
        default=None,
        description="folder with the built page for patients (kiosk_ui/dist), served at /kiosk/; None: none",
    )


class PlatformSettings(Section):
    """The way to the patient platform."""

    url: (
        Annotated[str, Field(pattern=r"^(https://[^/\s]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)$")] | None
    ) = Field(
        default=None, description="https://host:port, no path; plain http for this machine only. None: no platform"
    )
    ca_file: Path | None = Field(
        default=None, description="whom its certificate is checked against; default: the CA of the identity"
    )


class SamplingSettings(Section):
    """How often the host is looked at."""

    telemetry_s: float = Field(default=SAMPLE_INTERVAL_S, ge=1.0, le=3_600.0)
    health_s: float = Field(default=5.0, ge=0.5, le=600.0)
    disk_path: Path | None = Field(
        default=None, description="file system that is measured; default: the data directory's"
    )


class OutboxSettings(Section):
    """Limits of the records that wait for the server."""

    cap_bytes: int = Field(default=512 * MIB, ge=MIB)
    reserve_free_percent: float = Field(default=5.0, ge=0.0, le=50.0)
    ballast_bytes: int = Field(default=16 * MIB, ge=0)
    group_rows: int = Field(default=100, ge=1, le=1_000)
    group_s: float = Field(default=1.0, gt=0.0, le=10.0)
    memory_rows: int = Field(default=2_000, ge=10, description="records kept in memory while the disk takes none")
    p1_keep_s: float = Field(default=7 * 86_400.0, gt=0.0)
    p2_raw_s: float = Field(default=3_600.0, gt=0.0)
    p2_minute_s: float = Field(default=86_400.0, gt=0.0)
    p2_keep_s: float = Field(default=14 * 86_400.0, gt=0.0)
    quarantine_files: int = Field(default=3, ge=1, le=20)
    maintain_s: float = Field(default=10.0, gt=0.0)


class UplinkSettings(Section):
    """How records travel."""

    heartbeat_s: float = Field(default=HEARTBEAT_S, gt=0.0)
    keepalive_s: int = Field(default=KEEPALIVE_S, ge=2, le=600)
    will_delay_s: int = Field(default=WILL_DELAY_S, ge=0, le=600)
    reconnect_base_s: float = Field(default=1.0, gt=0.0)
    reconnect_cap_s: float = Field(default=30.0, gt=0.0)
    window_batches: int = Field(default=4, ge=1, le=64)
    batch_records: int = Field(default=100, ge=1, le=500)
    batch_bytes: int = Field(default=65_536, ge=1_024, le=200_000)
    resend_s: float = Field(default=20.0, gt=0.0)
    resend_cap_s: float = Field(default=120.0, gt=0.0)
    backfill_per_s: float = Field(default=20.0, gt=0.0, le=10_000.0)
    hist_after_s: float = Field(default=60.0, gt=0.0, description="a record older than this is backlog")
    publish_timeout_s: float = Field(default=10.0, gt=0.0)


UsbId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$")]


class DevicesSettings(Section):
    """Which devices this kiosk has."""

    kiosk_profile: Path | None = Field(default=None, description="name of a kiosk model, or its file; none: no devices")
    ports: dict[ShortText, Text] = Field(
        default_factory=dict, description="component -> port here, best a name below /dev/serial/by-id; * is allowed"
    )
    retry_cap_s: float = Field(default=30.0, gt=0.0, le=60.0)
    usb_allowed: list[UsbId] | None = Field(
        default=None,
        description="USB ids (vvvv:pppp) this kiosk may have; any other is an alarm. None: only storage is",
    )
    firmware_dir: Path | None = Field(
        default=None, description="folder with firmware images for devices; default: firmware in the data directory"
    )
    switch_off_command: list[Text] = Field(
        default_factory=list, description="run when the UPS will not last, e.g. systemctl poweroff; none: nothing"
    )


class DiskSettings(Section):
    """How worn the disks may be."""

    folder: Path = Field(default=Path("/run/kiosk-disk-wear"), description="where the timer leaves smartctl's words")
    look_s: float = Field(default=3_600.0, ge=1.0, le=86_400.0)
    kept_s: float = Field(default=93_600.0, ge=3_600.0, description="older words count for nothing")
    wear_raise_percent: float = Field(default=90.0, gt=0.0, le=255.0, description="of its life, worn from here on")
    wear_clear_percent: float = Field(default=85.0, gt=0.0, le=255.0, description="not worn below; a new disk")
    media_errors: int = Field(default=10, ge=1, description="so many that could not be corrected are an alarm")


class RecorderSettings(Section):
    """The flight recorder: what devices said before a fault, without what is a person's."""

    minutes: float = Field(default=10.0, gt=0.0, le=60.0, description="so much of every device is kept in memory")
    bytes_per_device: int = Field(default=131_072, ge=65_536, le=4 * MIB, description="at most, for that")
    interval_s: float = Field(default=60.0, ge=0.0, description="a component makes one recording in this time")
    files: int = Field(default=40, ge=1, le=1_000, description="recordings on disk; the oldest go")
    total_bytes: int = Field(default=20 * MIB, ge=MIB)


class Settings(Section):
    """Everything the agent can be told."""

    data_dir: Path = Path("/var/lib/kiosk-agent")
    serial: ShortText | None = Field(default=None, description="serial number on the machine's plate")
    model: ShortText | None = None
    profile: ShortText | None = None
    profile_dir: Path | None = Field(
        default=None, description="folder with devices/ and kiosks/; default: the profiles that came with the agent"
    )
    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"
    log_json: bool = True
    fleet: FleetSettings = Field(default_factory=FleetSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    local_api: LocalApiSettings = Field(default_factory=LocalApiSettings)
    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    outbox: OutboxSettings = Field(default_factory=OutboxSettings)
    uplink: UplinkSettings = Field(default_factory=UplinkSettings)
    devices: DevicesSettings = Field(default_factory=DevicesSettings)
    disks: DiskSettings = Field(default_factory=DiskSettings)
    recorder: RecorderSettings = Field(default_factory=RecorderSettings)


def load_settings(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: unreadable, unknown key, or a value out of its range; names file or variable and key.
    """
    return load(Settings, file=file, env_prefix=ENV_PREFIX, environ=environ)
