"""The registry's duties in a running server: clones on a real broker, revocation from the API to the cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet_server.app import FleetServer
from fleet_server.registry.model import KioskState, QuarantineReason
from fleet_server.registry.provisioning import lab_identities
from fleet_server.settings import Role
from kit.clock import SystemClock
from kit.mqtt import MqttClient, MqttSettings
from support.registry import Site
from support.waiting import wait_for
from wire.envelope import encode
from wire.faults import Fault
from wire.presence import Birth, HostFacts
from wire.topics import Channel, topic

pytestmark = [pytest.mark.timeout(60), pytest.mark.system]
CLOCK = SystemClock()
KID = "zzj-001"


@pytest.fixture
async def server(site: Site, tmp_path: Path) -> AsyncIterator[FleetServer]:
    """A whole fleet server with one enrolled kiosk."""
    await lab_identities(site.settings, site.authority, CLOCK, [KID], tmp_path / "ids")
    server = await asyncio.to_thread(FleetServer, site.settings, frozenset(Role), CLOCK)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop=stop), name="server")
        await wait_for(lambda: server.core.registry.accepts(KID), timeout_s=10.0, what="the registry to be read")
        yield server
        stop.set()


class Machine:
    """A machine with the kiosk's disk: same key, same id, own boot."""

    def __init__(self, site: Site, ids: Path, boot: str) -> None:
        self.boot = boot
        self.ended = 0
        self.client = MqttClient(
            MqttSettings(
                host="127.0.0.1",
                port=site.settings.broker.port,
                client_id=KID,
                ca_file=site.installation.ca_file,
                cert_file=ids / KID / "cert.pem",
                key_file=ids / KID / "key.pem",
                retry_base_s=0.05,
                retry_cap_s=0.2,
            ),
            clock=CLOCK,
            on_disconnected=self._note,
        )

    def _note(self, _code: int | None, _reason: str) -> None:
        self.ended += 1

    async def lives(self, session: int) -> None:
        """Connect, say hello with this session number, and go away."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.client.run(), name=self.boot)
            await wait_for(lambda: self.client.is_connected, timeout_s=10.0, what=f"{self.boot} to connect")
            birth = Birth(
                session=session,
                boot=self.boot,
                at=CLOCK.utc(),
                agent_version="0.1.0",
                epoch="e1",
                host=HostFacts(hostname="kiosk", fingerprint="board"),
            )
            await self.client.publish(topic(KID, Channel.BIRTH), encode(birth), retain=True)
            task.cancel()


async def test_a_cloned_disk_is_quarantined_and_it_is_an_alarm(server: FleetServer, site: Site, tmp_path: Path) -> None:
    registry = server.core.registry
    for boot, session in (("boot-a", 7), ("boot-b", 7), ("boot-a", 8)):
        await Machine(site, tmp_path / "ids", boot).lives(session)
        if registry.accepts(KID):

            async def is_known(boot: str = boot) -> bool:
                clones = server.parts.clones
                return clones is not None and any(item.boot == boot for item in clones.history(KID))

            await wait_for(is_known, timeout_s=20.0, what=f"the birth of {boot} to be heard")
    await wait_for(lambda: not registry.accepts(KID), timeout_s=10.0, what="the quarantine")
    detail = await registry.detail(KID)
    assert (detail.state, detail.quarantine) == (KioskState.QUARANTINED, QuarantineReason.CLONED)

    async def is_alarm() -> bool:
        alarms = await server.core.alerts.open_alarms()
        return KID in alarms

    await wait_for(is_alarm, timeout_s=10.0, what=f"the alarm {Fault.KIOSK_CLONED}")


async def test_a_revocation_reaches_the_live_connection(server: FleetServer, site: Site, tmp_path: Path) -> None:
    machine = Machine(site, tmp_path / "ids", "boot-a")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(machine.client.run(), name="machine")
        await wait_for(lambda: machine.client.is_connected, timeout_s=10.0, what="the kiosk to connect")
        started_s = CLOCK.monotonic()
        await server.core.registry.revoke(KID, "stolen", actor="lead")
        await wait_for(lambda: machine.ended, timeout_s=30.0, what="the connection to end")
        await wait_for(
            lambda: "certificate" in (machine.client.last_error or ""), timeout_s=10.0, what="a refused retry"
        )
        assert CLOCK.monotonic() - started_s < 60
        assert not machine.client.is_connected
        await machine.client.close()
        task.cancel()
