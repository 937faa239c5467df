"""The network thread by itself, also on paho without our read buffer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import paho.mqtt.client as paho
import pytest

from kit.clock import SystemClock
from kit.mqtt.buffered import ReadBuffer, pending_bytes
from kit.mqtt.inbox import Inbox, Message
from kit.mqtt.network import Ended, Network, Opened, Outgoing, Report, Settled, Subscribed
from kit.mqtt.settings import MqttSettings
from support.broker import BrokerProcess
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(30)


class PlainNetwork(Network):
    """As with a release of paho that has no `_create_socket`."""

    client_type = paho.Client


def message(number: int) -> Message:
    return Message("a", b"", number, retain=False, expiry_s=None, content_type=None, received_mono_s=0.0)


@pytest.fixture
async def broker() -> AsyncIterator[BrokerProcess]:
    async with BrokerProcess(persistence=False) as process:
        yield process


@pytest.mark.parametrize("network_type", [Network, PlainNetwork])
async def test_it_connects_subscribes_carries_and_leaves(broker: BrokerProcess, network_type: type[Network]) -> None:
    reports: list[Report] = []
    inbox = Inbox(1_000)
    settings = MqttSettings(host="127.0.0.1", port=broker.port, client_id="one", tls=False)
    network = network_type(settings, will=None, inbox=inbox, clock=SystemClock(), tell=reports.append)
    network.start()
    await wait_for(lambda: any(isinstance(report, Opened) for report in reports))
    network.subscribe([("a", 1)])
    await wait_for(lambda: any(isinstance(report, Subscribed) for report in reports))
    loop = asyncio.get_running_loop()
    sent = [
        Outgoing("a", str(number).encode(), 1, retain=False, expiry_s=60, answer=loop.create_future())
        for number in range(500)
    ]
    for outgoing in sent:
        network.send(outgoing)
    found: list[bytes] = []
    while len(found) < 500:
        found += [message.payload for message in await inbox.take(1_000)]
    assert found == [outgoing.payload for outgoing in sent]
    await wait_for(lambda: sum(isinstance(report, Settled) for report in reports) == 500)
    assert network.backlog == 0
    network.stop(with_will=False)
    await wait_for(lambda: isinstance(reports[-1], Ended))
    assert reports[-1] == Ended(None, "left by ourselves", None)
    network.send(sent[0])
    assert network.unsettled() == [sent[0]]


async def test_a_failure_nobody_foresaw_is_reported_and_not_lost(broker: BrokerProcess) -> None:
    class BrokenNetwork(Network):
        def _serve(self) -> None:
            raise ZeroDivisionError("a mistake")

    reports: list[Report] = []
    settings = MqttSettings(host="127.0.0.1", port=broker.port, client_id="one", tls=False)
    network = BrokenNetwork(settings, will=None, inbox=Inbox(1), clock=SystemClock(), tell=reports.append)
    network.start()
    await wait_for(lambda: reports)
    (end,) = reports
    assert isinstance(end, Ended)
    assert isinstance(end.failure, ZeroDivisionError)


class FakeSocket:
    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.asked: list[int] = []

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        if not self.parts:
            raise BlockingIOError
        return self.parts.pop(0)

    def send(self, _data: bytes) -> int:
        raise ConnectionResetError("gone")

    def fileno(self) -> int:
        return 7

    def getpeername(self) -> str:
        return "peer"


def test_the_read_buffer_asks_the_kernel_once_for_many_small_reads() -> None:
    raw = FakeSocket(b"abcdef", b"g")
    link = ReadBuffer(raw)
    assert [link.recv(1), link.recv(2), pending_bytes(link), link.recv(100)] == [b"a", b"bc", 3, b"def"]
    assert raw.asked == [65_536]
    assert pending_bytes(link) == 0
    assert link.recv(1) == b"g"
    with pytest.raises(BlockingIOError):
        link.recv(1)
    assert link.failure is None
    assert (link.fileno(), link.getpeername()) == (7, "peer")


def test_the_end_of_the_stream_stays_the_end() -> None:
    link = ReadBuffer(FakeSocket(b"", b""))
    assert [link.recv(1), link.recv(1)] == [b"", b""]


def test_the_read_buffer_remembers_why_it_failed() -> None:
    link = ReadBuffer(FakeSocket())
    with pytest.raises(ConnectionResetError):
        link.send(b"x")
    assert str(link.failure) == "gone"


def test_a_socket_without_a_buffer_has_nothing_pending() -> None:
    assert pending_bytes(FakeSocket()) == 0


async def test_the_inbox_wakes_a_waiting_consumer_once_and_hands_out_in_order() -> None:
    inbox = Inbox(10)
    rooms: list[int] = []
    inbox.on_room = lambda: rooms.append(len(inbox))
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(inbox.take(2), name="take")
        await asyncio.sleep(0)
        for number in range(3):
            inbox.put(message(number))
        assert [item.qos for item in await taking] == [0, 1]
    assert [item.qos for item in await inbox.take(5)] == [2]
    assert rooms == [1, 0]


async def test_a_cancelled_consumer_loses_nothing() -> None:
    inbox = Inbox(10)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(inbox.take(2), name="take")
        await asyncio.sleep(0)
        taking.cancel()
    inbox.put(message(1))
    assert len(await inbox.take(5)) == 1


def test_an_inbox_says_when_it_is_full_and_when_it_is_more_than_that() -> None:
    inbox = Inbox(2)
    seen = []
    for number in range(4):
        inbox.put(message(number))
        seen.append((inbox.is_full, inbox.is_choked))
    assert seen == [(False, False), (True, False), (True, False), (True, True)]
