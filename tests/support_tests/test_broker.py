"""The real broker: its persistence is lost by a kill and kept by an orderly stop, as the reference measured."""

from __future__ import annotations

import asyncio
import getpass
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support.broker import BROKER_USER, BrokerProcess, free_port
from support.processes import ChildFailed
from support.waiting import wait_for

MESSAGES = 50


@pytest.fixture
async def broker() -> AsyncIterator[BrokerProcess]:
    """A plain broker."""
    async with BrokerProcess() as running:
        yield running


class Client:
    """A bare MQTT 5 client with a session that outlives its connection."""

    def __init__(self, port: int, client_id: str) -> None:
        self.got: list[bytes] = []
        self.session_present = False
        self._ready = threading.Event()
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self._mqtt.on_connect = self._on_connect
        self._mqtt.on_message = lambda _client, _data, message: self.got.append(bytes(message.payload))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
        properties.SessionExpiryInterval = 300
        self._mqtt.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._mqtt.loop_start()
        assert self._ready.wait(5)

    def _on_connect(self, client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, *_: object) -> None:
        self.session_present = flags.session_present
        client.subscribe("queue", qos=1)
        self._ready.set()

    def publish_all(self, count: int) -> None:
        sent = [self._mqtt.publish("queue", b"%d" % number, qos=1) for number in range(count)]
        for each in sent:
            each.wait_for_publish(5)
            assert each.is_published()

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


async def queued(broker: BrokerProcess) -> None:
    """Leave acknowledged messages in the queue of a client that is away."""
    away = await asyncio.to_thread(Client, broker.port, "away")
    await asyncio.to_thread(away.close)
    writer = await asyncio.to_thread(Client, broker.port, "writer")
    await asyncio.to_thread(writer.publish_all, MESSAGES)
    await asyncio.to_thread(writer.close)


async def test_an_orderly_restart_keeps_port_and_queue(broker: BrokerProcess) -> None:
    await queued(broker)
    port, pid = broker.port, broker.pid
    await broker.restart()
    assert broker.port == port
    assert broker.pid != pid
    client = await asyncio.to_thread(Client, broker.port, "away")
    await wait_for(lambda: len(client.got) == MESSAGES)
    await asyncio.to_thread(client.close)


async def test_kill9_loses_acknowledged_messages_with_default_persistence(broker: BrokerProcess) -> None:
    await queued(broker)
    broker.kill9()
    assert not broker.is_running
    await broker.start()
    client = await asyncio.to_thread(Client, broker.port, "away")
    assert not client.session_present
    assert client.got == []
    await asyncio.to_thread(client.close)


async def test_a_frozen_broker_is_silent_and_wakes_up(broker: BrokerProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    broker.freeze()
    writer.write(bytes([0x10, 14]) + b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(4)
    broker.thaw()
    assert await reader.read(4) == b"\x20\x02\x00\x00"
    writer.close()


async def test_a_wrong_configuration_fails_with_the_brokers_own_words() -> None:
    broker = BrokerProcess(conf="listener {port} 127.0.0.1\nno_such_option true\n")
    with pytest.raises(ChildFailed, match="no_such_option"):
        await broker.start()
    directory = broker.directory
    broker.close()
    assert not directory.exists()


async def test_a_configuration_file_is_used_as_it_lies_and_left_alone(service_dir: Path) -> None:
    port = free_port()
    conf = service_dir / "own.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n", encoding="utf-8")
    async with BrokerProcess(conf_path=conf, port=port) as broker:
        client = await asyncio.to_thread(Client, port, "own")
        await asyncio.to_thread(client.close)
        assert broker.is_running
    assert conf.exists()


def test_a_configuration_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="port"):
        BrokerProcess(conf="allow_anonymous true\n")


async def test_a_chosen_port_that_got_taken_is_changed() -> None:
    async with BrokerProcess() as first:
        second = BrokerProcess()
        second.port = first.port
        async with second:
            assert second.port != first.port


async def test_the_broker_does_not_run_as_root(broker: BrokerProcess) -> None:
    assert Path(f"/proc/{broker.pid}").owner() == (BROKER_USER if os.getuid() == 0 else getpass.getuser())
