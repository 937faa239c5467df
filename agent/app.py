"""The agent's composition root: the only place that constructs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent.description import Description
from agent.health.components import ComponentBook
from agent.health.disk_wear import DiskWatch
from agent.health.machine import host_facts
from agent.health.monitor import HealthMonitor
from agent.health.power import PowerGuard, PowerState
from agent.health.sampler import HostSampler
from agent.health.usb_tree import UsbWatch
from agent.local_api.auth import LocalToken
from agent.local_api.feed import Feed
from agent.local_api.help_call import check_in_verbs, help_call_of, help_verbs
from agent.local_api.lease import SessionLease, verbs
from agent.local_api.metrics import MetricsPage, Reading
from agent.local_api.server import LocalParts, build_server
from agent.recorder.shelf import FOLDER, Shelf, ShelfLimits
from agent.settings import Settings
from agent.uplink.enrolment import Enrolment
from agent.uplink.files import write_whole
from agent.uplink.fleet_api import FleetApi
from agent.uplink.identity import IdentityStore
from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.pump import Pump
from agent.uplink.report import OutboxReporter
from agent.uplink.service import Uplink
from agent.uplink.session import About, Parts
from agent.uplink.session_numbers import SessionNumbers
from agent.uplink.upkeep import Upkeep
from kit.clock import Clock, ServerTime, ulid
from kit.supervise import SdNotifier, Service, Supervised, serve
from wire import __version__
from wire.device_api import AgentState, AlarmView, ComponentHealth, EnrolmentView, HealthView, LinkState
from wire.faults import FACTS, Fault
from wire.presence import Activity
from wire.profile import Capability

if TYPE_CHECKING:
    from agent.devices.manager import DeviceManager
    from agent.devices.profiles import Place
    from agent.devices.recording import DeviceRecording
    from agent.firmware.service import Firmware
    from agent.health.capabilities import Capabilities
    from agent.health.devices import DeviceNews
    from agent.local_api.dialogue import Command
    from agent.local_api.late import Late
    from agent.local_api.previews import Previews
    from agent.maintenance.service import Maintenance
    from agent.patient.side import PatientSide
    from agent.printing.spool import PrintSpool

PRIVATE = 0o700
_FAULTS = {fault.value: fault for fault in Fault}


class AgentView:
    """What the local API shows, gathered from the parts."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def kiosk(self) -> str:
        """How this kiosk is called: its id once it has one, the serial number on its plate before."""
        identity = self._agent.uplink.identity
        return (self._agent.settings.serial or "") if identity is None else identity.kid

    def state(self) -> AgentState:
        """See `StateSource`."""
        agent = self._agent
        identity = agent.uplink.identity
        return AgentState(
            kid=None if identity is None else identity.kid,
            agent_version=__version__,
            boot=agent.outbox.boot,
            started_at=agent.started_at,
            uptime_s=round(agent.clock.monotonic() - agent.started_s, 1),
            activity=agent.description.activity(),
            uplink=agent.uplink.view(),
            clock_offset_s=agent.server_time.offset_s,
            certificate_expires_at=agent.uplink.certificate_expires_at,
            components=agent.components.views(),
            alarms=[
                AlarmView(
                    component=alarm.component,
                    code=alarm.code,
                    severity=alarm.severity,
                    since=alarm.since,
                    title=FACTS[_FAULTS[alarm.code]].zh if alarm.code in _FAULTS else alarm.code,
                )
                for alarm in agent.reporter.open_alarms()
            ],
            metrics=dict(agent.health.latest),
            functions=agent.description.functions(),
            consumables=agent.description.consumables(),
        )

    def health(self) -> HealthView:
        """See `StateSource`."""
        reasons = [f"{part.name}_{part.health}" for part in self._agent.components.views() if part.health is _SILENT]
        reasons += [] if self._agent.outbox.is_disk_good else ["disk_refuses_records"]
        return HealthView(status=ComponentHealth.DEGRADED if reasons else ComponentHealth.OK, reasons=reasons)

    def enrolment(self) -> EnrolmentView:
        """See `StateSource`."""
        return self._agent.uplink.enrolment()

    def measure(self) -> Mapping[str, float]:
        """What the other parts add to each host sample."""
        agent = self._agent
        depth = agent.outbox.depth()
        rows = depth.p0 + depth.p1 + depth.p2
        values = {
            "outbox_rows": float(rows),
            "outbox_bytes": float(depth.bytes),
            "outbox_oldest_age_s": depth.oldest_age_s,
        }
        offset_s = agent.server_time.offset_s
        if offset_s is not None:
            values["clock_offset_s"] = round(offset_s, 3)
        return values

    def gauges(self) -> Iterator[Reading]:
        """See `Gauges`."""
        agent = self._agent
        depth = agent.outbox.depth()
        for record_class, count in (("p0", depth.p0), ("p1", depth.p1), ("p2", depth.p2)):
            yield "kiosk_agent_outbox_rows", {"record_class": record_class}, float(count)
        yield "kiosk_agent_outbox_oldest_age_s", {}, depth.oldest_age_s
        yield "kiosk_agent_connected", {}, float(agent.uplink.view().state is LinkState.CONNECTED)
        yield "kiosk_agent_alarms", {}, float(len(agent.reporter.open_alarms()))
        for metric, value in agent.health.latest.items():
            yield "kiosk_agent_sample", {"metric": metric}, value


_SILENT = ComponentHealth.SILENT


class Agent:
    """One kiosk's agent, built but not started; building reads no network and opens no device."""

    def __init__(self, settings: Settings, clock: Clock, host_boot: str) -> None:
        data = settings.data_dir
        self.is_open = False
        """Whether records are taken."""
        self.settings = settings
        self.clock = clock
        self.started_at: datetime = clock.utc()
        self.started_s = clock.monotonic()
        self.server_time = ServerTime(clock)
        self.power = PowerState()
        self.lease = SessionLease(clock, self.power)
        self.feed = Feed()
        self.components = ComponentBook(clock)
        run = RunIdentity(boot=ulid(clock), host_boot=host_boot)
        self.outbox = Outbox(settings.outbox, data / "outbox", run, clock, self.server_time)
        self.reporter = OutboxReporter(self.outbox)
        self.host_boot = host_boot
        self.help = help_call_of(self.reporter, self.feed)
        kept = ShelfLimits(settings.recorder.files, settings.recorder.total_bytes)
        self.shelf = Shelf(data / FOLDER, kept)
        self.capabilities: Capabilities | None = None
        self.guard: PowerGuard | None = None
        self.places: list[Place] = []
        self.devices = self._devices()
        self.firmware = None if self.devices is None else self._firmware(self.devices, data)
        self.spool = None if self.devices is None else self._spool(self.devices, data / "print")
        self.description = Description(host_facts(), self.lease, self.devices, self.capabilities)
        self.view = AgentView(self)
        self.uplink = self._uplink(data)
        self.maintenance = None if self.devices is None else self._maintenance(self.devices, data)
        sampling = settings.sampling
        self.health = HealthMonitor(
            HostSampler(sampling.disk_path or data, clock).sample,
            extra=self.view.measure,
            reporter=self.reporter,
            components=self.components,
            settings=sampling,
            clock=clock,
        )
        self.previews = self._previews()
        self._engineers_commands: dict[str, Command] = {}
        self.patients = self._patients(data)
        self.token = LocalToken.create(data / "token")
        self.local_api = build_server(
            settings.local_api,
            LocalParts(
                source=self.view,
                metrics=MetricsPage(self.view),
                commands=self._commands(),
                feed=self.feed,
                token=self.token,
                shelf=self.shelf,
                previews=self.previews,
                platform=None if self.patients is None else self.patients.proxy,
            ),
        )

    async def run(self, *, notifier: SdNotifier | None = None, stop: asyncio.Event | None = None) -> None:
        """Serve until stopped, then say goodbye to the fleet.

        Raises:
            OutboxBusy: another agent uses the data directory.
            ListenError: the local API's port is taken.
        """
        await self.outbox.open()
        await self.reporter.load()
        self.help.load()
        self.is_open = True
        try:
            if self.patients is not None:
                await self.patients.orders.load()  # before anybody asks whether the kiosk may be interrupted
            if notifier is not None:
                notifier.ready()
            await serve(self._services(), notifier=notifier, stop=stop)
        finally:
            self.is_open = False
            await self.outbox.close()

    def _services(self) -> list[Service]:
        optional = {
            "devices": self.devices,
            "capabilities": self.capabilities,
            "power": self.guard,
            "print-spool": self.spool,
            "previews": self.previews,
            "firmware": self.firmware,
            "maintenance": self.maintenance,
            "orders": self.patients,
        }
        return [
            self.local_api,
            Supervised("outbox", Upkeep(self.outbox, self.reporter).run),
            Supervised("health", self.health.run),
            Supervised("usb-tree", UsbWatch(self.reporter, self.settings.devices.usb_allowed).run),
            Supervised("disk-wear", DiskWatch(self.reporter, self.settings.disks, self.clock).run),
            Supervised("help", self.help.run),
            Supervised("uplink", self.uplink.run),
            *(Supervised(name, part.run) for name, part in optional.items() if part is not None),
        ]

    def _devices(self) -> DeviceManager | None:
        """The devices of this kiosk's profile; without one nothing of them is loaded.

        Raises:
            ProfileError: the profile cannot be used.
        """
        chosen = self.settings.devices
        if chosen.kiosk_profile is None:
            return None
        from agent.devices.manager import DeviceManager, fitted  # noqa: PLC0415 - half a MiB
        from agent.devices.profiles import find_kiosk, load_kiosk  # noqa: PLC0415 - the same
        from agent.health.devices import DeviceNews  # noqa: PLC0415 - the same
        from agent.local_api.device_news import PageNews  # noqa: PLC0415 - the same

        profile = find_kiosk(chosen.kiosk_profile, self.settings.profile_dir)
        places = self.places = load_kiosk(profile, chosen.ports)
        news = DeviceNews(self.reporter, self.components)
        for place in places:
            kind, silent_after_s = place.profile.capability, place.place.silent_after_s
            news.expect(place.place.component, kind, silent_after_s=silent_after_s)
        self.capabilities = self._capabilities(profile, places, news)
        command = chosen.switch_off_command
        self.guard = PowerGuard(self.power, self.capabilities, self.reporter, self.lease.activity, command)
        sink = PageNews(self.feed, self.guard)
        watch = self._recording()
        devices = fitted(places, watch.wrapped)
        return DeviceManager(devices, sink, self.clock, cap_s=chosen.retry_cap_s, watch=watch)

    def _firmware(self, devices: DeviceManager, data: Path) -> Firmware | None:
        """For kiosks whose profiles name an update."""
        if not any(place.profile.firmware.updates for place in self.places):
            return None
        from agent.firmware.note import FOLDER as NOTES  # noqa: PLC0415 - most kiosks need none of it
        from agent.firmware.note import Notes  # noqa: PLC0415 - the same
        from agent.firmware.service import Firmware, Surroundings, targets_of  # noqa: PLC0415 - the same
        from agent.uplink.files import sync_directory  # noqa: PLC0415 - the same

        around = Surroundings(
            devices=devices,
            images=self.settings.devices.firmware_dir or data / "firmware",
            notes=Notes(data / NOTES, write_whole, sync_directory),
            reporter=self.reporter,
            clock=self.clock,
            is_on_mains=lambda: not self.power.is_on_battery,
        )
        return Firmware(targets_of(self.places), around)

    def _recording(self) -> DeviceRecording:
        from agent.devices.recording import DeviceRecording  # noqa: PLC0415 - as in `_devices`
        from agent.recorder.recorder import Limits, Recorder  # noqa: PLC0415 - the same

        chosen = self.settings.recorder
        limits = Limits(60.0 * chosen.minutes, chosen.bytes_per_device, chosen.interval_s)
        return DeviceRecording(Recorder(self.clock, limits, self.shelf.put))

    def _capabilities(self, kiosk_profile: Path, places: Sequence[Place], rest: DeviceNews) -> Capabilities:
        from agent.health.capabilities import Capabilities, Outlets, plan_of  # noqa: PLC0415 - as in `_devices`
        from agent.local_api.device_news import capability_news  # noqa: PLC0415 - the same

        pages = capability_news(self.feed)
        outlets = Outlets(self.reporter, self.components, pages, write_whole, self.clock)
        return Capabilities(plan_of(kiosk_profile, places), rest, outlets, self.settings.data_dir / "consumables.json")

    def _spool(self, devices: DeviceManager, directory: Path) -> PrintSpool:
        from agent.local_api.verbs.printers import JobNews  # noqa: PLC0415 - a kiosk without devices needs none of it
        from agent.printing.printers import desks  # noqa: PLC0415 - the same
        from agent.printing.spool import PrintSpool, SpoolParts  # noqa: PLC0415 - the same

        news = JobNews(self.feed, self.reporter)
        return PrintSpool(SpoolParts(directory, self.clock, self.host_boot, news.changed, news.damaged), desks(devices))

    def _commands(self) -> dict[str, Command]:
        """What pages may ask for."""
        commands: dict[str, Command] = {
            **verbs(self.lease),
            **help_verbs(self.help),
            **check_in_verbs(self._check_in, self.clock),
        }
        if self.devices is not None and self.spool is not None:
            from agent.local_api.verbs import device_verbs  # noqa: PLC0415 - a kiosk without devices needs none of it

            commands |= device_verbs(self.devices, self.spool)
        if self.devices is not None and self.previews is not None:
            from agent.local_api.verbs import camera_verbs  # noqa: PLC0415 - the same

            commands |= camera_verbs(self.devices, self.previews, self._in_session)
        if self.maintenance is not None:
            from agent.local_api.late import ENGINEERS, LateCommand  # noqa: PLC0415 - the same

            commands |= {name: LateCommand(name, self._engineers) for name in ENGINEERS}
        return commands

    async def _check_in(self) -> str | None:
        """The code by which an engineer proves to stand here."""
        from agent.maintenance.checkin import make_code  # noqa: PLC0415 - once a visit
        from agent.uplink.signing import KioskSigner  # noqa: PLC0415 - the same

        return await make_code(self.view.kiosk(), KioskSigner(lambda: self.uplink.identity), self.clock)

    def _engineers(self) -> Mapping[str, Command]:
        """The commands of the maintenance page, loaded when the first of them is asked for."""
        if not self._engineers_commands:
            from agent.local_api import consumables, maintenance  # noqa: PLC0415 - no kiosk needs it every day

            assert self.devices is not None  # noqa: S101 - as these three come together
            assert self.capabilities is not None  # noqa: S101 - the same
            assert self.maintenance is not None  # noqa: S101 - the same
            made = self.maintenance.get()
            self._engineers_commands |= maintenance.verbs(made, self.devices)
            self._engineers_commands |= consumables.verbs(self.capabilities, made)
        return self._engineers_commands

    def _in_session(self) -> bool:
        return self.lease.activity() is not Activity.IDLE

    def _previews(self) -> Previews | None:
        """For kiosks with a camera."""
        seen = () if self.devices is None else self.devices.seen()
        if not any(one.capability is Capability.FACE_CAMERA for one in seen):
            return None
        from agent.local_api.previews import Previews  # noqa: PLC0415 - most kiosks have no camera

        return Previews(self.clock, self._in_session)

    def _maintenance(self, devices: DeviceManager, data: Path) -> Late[Maintenance]:
        """Made when an engineer first comes."""
        from agent.local_api.late import Late  # noqa: PLC0415 - as in `_devices`

        def make() -> Maintenance:
            from agent.maintenance.access import FILE, CodeFile  # noqa: PLC0415 - see `_engineers`
            from agent.maintenance.service import Maintenance, Surroundings  # noqa: PLC0415 - the same
            from agent.uplink.signing import KioskSigner  # noqa: PLC0415 - the same

            return Maintenance(
                Surroundings(
                    devices=devices,
                    codes=CodeFile(data / FILE, self.host_boot),
                    activity=self.lease.activity,
                    reporter=self.reporter,
                    signer=KioskSigner(lambda: self.uplink.identity),
                    clock=self.clock,
                    kiosk=self.view.kiosk,
                    refilled=None if self.capabilities is None else self.capabilities.refilled,
                    firmware=self.firmware,
                    told=told,
                )
            )

        def told() -> None:
            if is_open():
                self.help.answered()
            self.feed.status("maintenance", {"kind": "maintenance", "is_open": is_open()})

        def is_open() -> bool:
            return late.made is not None and late.made.is_open

        late = Late(make)
        self.lease.barred = is_open
        return late

    def _patients(self, data: Path) -> PatientSide | None:
        """For kiosks with a patient platform."""
        if self.settings.platform.url is None:
            return None
        from agent.local_api.device_news import ORDERS  # noqa: PLC0415 - kiosks without a platform need none of it
        from agent.patient.side import PatientSide  # noqa: PLC0415 - the same

        side = PatientSide(
            self.settings.platform,
            data,
            identity=lambda: self.uplink.identity,
            lease=lambda: self.lease.state().lease,
            told=lambda orders: self.feed.fact(ORDERS, orders.model_dump(mode="json", exclude_none=True)),
            reporter=self.reporter,
            write=write_whole,
            clock=self.clock,
        )
        self.lease.held = lambda: side.orders.is_moving
        return side

    def _uplink(self, data: Path) -> Uplink:
        settings, clock = self.settings, self.clock
        fleet = settings.fleet
        enrolment = Enrolment(
            settings,
            IdentityStore(data / "identity"),
            None if fleet.enrol_url is None else FleetApi(fleet.enrol_url, fleet.timeout_s),
            reporter=self.reporter,
            clock=clock,
            server_time=self.server_time,
            agent_version=__version__,
        )
        parts = Parts(
            outbox=self.outbox,
            reporter=self.reporter,
            pump=Pump(self.outbox, self.reporter, settings.uplink, clock),
            numbers=SessionNumbers(data / "session", clock),
            server_time=self.server_time,
            description=self.description,
            about=About(__version__, self.started_at, self.started_s, settings.serial, settings.profile),
            clock=clock,
            settings=settings.uplink,
        )
        return Uplink(parts, enrolment, settings.broker)


def prepare(data_dir: Path) -> None:
    """Make the data directory, for its owner only."""
    data_dir.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
