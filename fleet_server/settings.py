"""Settings of the fleet server: `fleet.toml` in the data directory, overridden by `FLEET_…` variables.

Relative paths are taken from the working directory. Every default is safe for one machine; a section
belongs to the feature of its name.
"""

from __future__ import annotations

from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, field_validator, model_validator

from wire.faults import Severity

ENV_PREFIX = "FLEET"
SETTINGS_FILE = "fleet.toml"

Port = Annotated[int, Field(ge=0, le=65_535)]
"""0 lets the system choose; only useful in tests."""
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
CommandPart = Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^\x00]+$")]
TargetName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
ON_DUTY = "on_duty:"
StepTarget = Annotated[str, Field(pattern=r"^(on_duty:)?[a-z0-9_-]{1,40}$")]
"""A target, or `on_duty:` and a line of the roster: whoever is on duty there."""
CRITICAL_WAYS = 2
WorkerName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}$")]


class Role(StrEnum):
    """What a process of the fleet server does; any number of processes may share a role."""

    INGEST = "ingest"
    API = "api"
    DUTIES = "duties"


class DutyLine(StrEnum):
    """A line of the duty roster."""

    ONSITE = "onsite"
    """驻场."""
    SECOND = "second"
    """二线."""


class Section(BaseModel):
    """One part of the settings; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(Section):
    """The operators' server: REST, live WebSocket, dashboard."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    certificate_file: Path | None = None
    """With `key_file`: serve TLS here; without: only behind a proxy or on loopback."""
    key_file: Path | None = None
    allowed_hosts: tuple[Host, ...] = ("localhost", "127.0.0.1")
    """Names browsers may use; requests for other hosts are refused (DNS rebinding)."""
    dashboard_dir: Path | None = None
    """The built web page; by default `dashboards/fleet/dist` beside the packages when it is there."""
    metrics_token_file: Path | None = None
    """With a token, `/metrics` answers others than loopback too."""


class KioskApiSettings(Section):
    """The kiosks' server: enrolment, renewal, time; TLS with the fleet CA."""

    host: Host = "0.0.0.0"  # noqa: S104 - kiosks come from other machines
    port: Port = 8443
    public_host: Host = "localhost"


class BrokerSettings(Section):
    """Where the broker is for us, and how it is told to read its files again."""

    host: Host = "127.0.0.1"
    port: Port = 8883
    public_host: Host = "localhost"
    """What kiosks are told to connect to."""
    listen: IPvAnyAddress | None = None
    """The address Mosquitto binds; every one by default."""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] | None = None
    """The account Mosquitto runs as when root starts it."""
    pid_file: Path | None = None
    """Its process gets SIGHUP; by default `broker/mosquitto.pid` in the data directory."""
    reload_command: tuple[CommandPart, ...] = ()
    """Instead of the signal, for a broker of another account: program with its whole path and arguments, no shell.

    For example `["/usr/bin/systemctl", "reload", "mosquitto.service"]`; docs/runbooks/revocation.md.
    """
    reload_timeout_s: float = Field(default=10.0, gt=0.0, le=60.0)
    """The command is killed after this time."""
    max_connections: int = Field(default=5_200, ge=10, le=200_000)

    @field_validator("reload_command")
    @classmethod
    def _whole_path(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not command[0].startswith("/"):
            raise ValueError("the program of the reload command needs its whole path, e.g. /usr/bin/systemctl")
        return command


class EnrolmentSettings(Section):
    """Limits of what strangers may ask for."""

    pending_max: int = Field(default=200, ge=1, le=10_000)
    per_source: int = Field(default=30, ge=1, le=10_000)
    """Requests one address may make in `per_source_window_s`."""
    per_source_window_s: float = Field(default=600.0, gt=0.0)


class CertificateSettings(Section):
    """How long certificates live, in days."""

    kiosk_days: int = Field(default=365, ge=1, le=825)
    server_days: int = Field(default=1_826, ge=1, le=3_650)
    crl_days: int = Field(default=90, ge=2, le=365)


class RetentionSettings(Section):
    """How long rows are kept, in days."""

    telemetry_days: int = Field(default=30, ge=1, le=3_650)
    events_days: int = Field(default=400, ge=1, le=3_650)
    presence_days: int = Field(default=400, ge=1, le=3_650)


class PagingTarget(Section):
    """One way to a person or a group. The address is in a file, because who has it can speak in our name."""

    kind: Literal["webhook", "apprise"]
    url_file: Path
    """One line: where our signed webhook goes, or an address of apprise (wecombot://…, dingtalk://…, mailtos://…)."""
    secret_file: Path | None = None
    """For the webhook's signature."""


class PagingStep(Section):
    """One rung of a ladder."""

    after_s: float = Field(default=0.0, ge=0.0, le=86_400.0)
    targets: tuple[StepTarget, ...] = Field(min_length=1)


class PagingLadder(Section):
    """Who is told of incidents of one severity, in which order."""

    steps: tuple[PagingStep, ...] = Field(min_length=1, max_length=10)
    repeat_s: float = Field(default=900.0, ge=60.0, le=86_400.0)

    @field_validator("steps")
    @classmethod
    def _upwards(cls, steps: tuple[PagingStep, ...]) -> tuple[PagingStep, ...]:
        if [step.after_s for step in steps] != sorted(step.after_s for step in steps):
            raise ValueError("the steps of a ladder come in the order of their times")
        return steps


class QuietHours(Section):
    """Hours of the week in which incidents of one severity wait."""

    days: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(default=(1, 2, 3, 4, 5, 6, 7), min_length=1)
    """1 is Monday; the day on which the hours begin."""
    begins: time
    ends: time
    """On the next day when it is not after `begins`."""

    @model_validator(mode="after")
    def _not_the_whole_day(self) -> QuietHours:
        if self.begins == self.ends or self.begins.tzinfo is not None or self.ends.tzinfo is not None:
            raise ValueError("quiet hours are local times, and not a whole day: then leave the ladder out")
        return self


class PagingSettings(Section):
    """Who is told; nobody while there are no ladders."""

    targets: dict[TargetName, PagingTarget] = {}
    ladders: dict[Severity, PagingLadder] = {}
    """By severity; one without a ladder of its own follows the next one below that has."""
    zone: str = "Asia/Shanghai"
    """In which the hours of shifts and quiet hours are meant."""
    quiet: dict[Severity, QuietHours] = {}
    """By severity, each on its own; never for `critical`."""

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; for example Asia/Shanghai") from None
        return zone

    @model_validator(mode="after")
    def _complete(self) -> PagingSettings:
        known = {*self.targets, *(f"{ON_DUTY}{line.value}" for line in DutyLine)}
        for severity, ladder in self.ladders.items():
            missing = sorted({name for step in ladder.steps for name in step.targets} - known)
            if missing:
                raise ValueError(f"ladders.{severity.value}: there is no target {', '.join(missing)}")
            if all(name.startswith(ON_DUTY) for name in ladder.steps[-1].targets):
                raise ValueError(
                    f"ladders.{severity.value}: the last step needs a target of its own, for when nobody is on duty"
                )
        if Severity.CRITICAL in self.quiet:
            raise ValueError("quiet.critical: what is critical never waits")
        # Whoever is on duty has ways of their own, which the settings do not know: the roster warns about them.
        if self.critical_ways < CRITICAL_WAYS and not self.critical_lines and Severity.CRITICAL in self.ladders:
            raise ValueError(
                "ladders.critical: the first step needs two different targets, for when one channel is down"
            )
        return self

    @property
    def critical_ways(self) -> int:
        """How many targets the first step of `critical` names itself."""
        return len({name for name in self._first_of_critical if not name.startswith(ON_DUTY)})

    @property
    def critical_lines(self) -> frozenset[DutyLine]:
        """Lines of the roster in the first step of `critical`."""
        return frozenset(line for line in DutyLine if f"{ON_DUTY}{line.value}" in self._first_of_critical)

    @property
    def _first_of_critical(self) -> tuple[str, ...]:
        ladder = self.ladders.get(Severity.CRITICAL)
        return () if ladder is None else ladder.steps[0].targets

    @property
    def duty_lines(self) -> frozenset[DutyLine]:
        """Lines of the roster that a ladder names."""
        names = {name for ladder in self.ladders.values() for step in ladder.steps for name in step.targets}
        return frozenset(line for line in DutyLine if f"{ON_DUTY}{line.value}" in names)


class BackupSettings(Section):
    """Where the server sees that its store was saved."""

    stamp_file: Path | None = None
    """Whatever saves the store touches this file when it succeeded; without one nobody watches the backup's age."""


class UplinkSettings(Section):
    """What one kiosk may send, and how batches are taken."""

    records_per_s: float = Field(default=50.0, ge=10.0)
    """Below ten a kiosk that only sends its window again, as it must, would never look quiet."""
    burst_records: int = Field(default=2_000, ge=1_000)
    """Less than the largest batch and a new stream would shut a well-behaved kiosk out."""
    quiet_release_s: float = Field(default=600.0, gt=0.0)
    backfill_per_s: float | None = Field(default=None, gt=0.0, le=10_000.0)


class Settings(Section):
    """Everything."""

    data_dir: Path = Path("var/fleet")
    database_url: str | None = None
    """`postgresql+psycopg://…`; by default SQLite in the data directory."""
    public_url: str | None = None
    """Where people find the dashboard; the origin browsers send."""
    names: tuple[Host, ...] = ("localhost", "127.0.0.1")
    """DNS names and addresses of this server in its certificate."""
    lab: bool = False
    """Allows bulk identities for simulators; never in a hospital."""
    worker: WorkerName = "main"
    """This process's name among fleet servers; each has its own broker certificates."""
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    http: HttpSettings = HttpSettings()
    kiosk_api: KioskApiSettings = KioskApiSettings()
    broker: BrokerSettings = BrokerSettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()
    certificates: CertificateSettings = CertificateSettings()
    retention: RetentionSettings = RetentionSettings()
    uplink: UplinkSettings = UplinkSettings()
    paging: PagingSettings = PagingSettings()
    backup: BackupSettings = BackupSettings()

    @property
    def store_url(self) -> str:
        """The database this process uses."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'fleet.db'}"

    @property
    def first_admin_token_file(self) -> Path:
        """The one-time token with which the first administrator signs up; removed when it is used."""
        return self.data_dir / "first-admin.token"

    @property
    def broker_pid_file(self) -> Path:
        """The file with the broker's process id."""
        return self.broker.pid_file or self.data_dir / "broker" / "mosquitto.pid"
