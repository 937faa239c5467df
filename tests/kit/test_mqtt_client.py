"""The client against a real Mosquitto."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import pytest
from structlog.testing import capture_logs

from kit.clock import ManualClock, SystemClock
from kit.mqtt import (
    Congested,
    ConnectRefused,
    Message,
    MqttClient,
    MqttSettings,
    NotConnected,
    PublishRefused,
    PublishTimeout,
    Will,
)
from support.broker import BrokerProcess, give_to_broker
from support.mqtt import Quick, connected, is_connected, started, take
from support.ports import free_port
from support.proxy import Blackhole, FaultProxy
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(30)
NOT_AUTHORIZED = 0x87
TOO_LARGE = 0x95
BURST = 20_000


@pytest.fixture
async def broker() -> AsyncIterator[BrokerProcess]:
    async with BrokerProcess(persistence=False) as process:
        yield process


class Parts(TypedDict, total=False):
    """What a test may want to give to a client."""

    will: Callable[[], Will | None]
    on_connected: Callable[[], Awaitable[None]]
    on_disconnected: Callable[[int | None, str], None]
    backoff: Quick
    queue_limit: int
    publish_limit: int


def settings(port: int, name: str, **more: int) -> MqttSettings:
    return MqttSettings.model_validate(
        {"host": "127.0.0.1", "port": port, "client_id": name, "tls": False, "connect_timeout_s": 5.0, **more}
    )


def client(own: MqttSettings, *filters: str, qos: int = 1, **parts: Unpack[Parts]) -> MqttClient:
    parts.setdefault("backoff", Quick())
    return MqttClient(own, clock=SystemClock(), subscriptions=[(item, qos) for item in filters], **parts)


async def reconnected(one: MqttClient, backoff: Quick) -> None:
    """Wait for the second connection: the time between two may be too short to be seen."""
    await wait_for(lambda: backoff.resets >= 2 and one.is_connected, what="the second connection")


async def test_what_is_published_arrives_with_its_attributes(broker: BrokerProcess) -> None:
    clock = ManualClock()
    receiver = MqttClient(settings(broker.port, "receiver"), clock=clock, subscriptions=[("a/#", 1)])
    sender = client(settings(broker.port, "sender"))
    async with connected(receiver, sender):
        await sender.publish("a/b", "楼层".encode(), expiry_s=60)
        await sender.publish("a/c", b"", qos=0)
        first, second = await take(receiver, 2)
    assert first == Message(
        "a/b", "楼层".encode(), 1, retain=False, expiry_s=60, content_type=None, received_mono_s=clock.monotonic()
    )
    assert (second.topic, second.payload, second.qos, second.expiry_s) == ("a/c", b"", 0, None)


async def test_a_retained_message_says_so(broker: BrokerProcess) -> None:
    sender = client(settings(broker.port, "sender"))
    async with connected(sender):
        await sender.publish("state", b"on", retain=True)
    receiver = client(settings(broker.port, "receiver"), "state")
    async with connected(receiver):
        (message,) = await take(receiver, 1)
        assert message.retain


async def test_an_expired_message_is_not_delivered(broker: BrokerProcess) -> None:
    receiver = client(settings(broker.port, "receiver", session_expiry_s=60), "a/#")
    sender = client(settings(broker.port, "sender"))
    async with connected(sender):
        async with connected(receiver):
            pass
        await sender.publish("a/short", b"x", expiry_s=1)
        await sender.publish("a/long", b"y", expiry_s=60)
        await asyncio.sleep(2.1)  # the broker's clock cannot be moved
        again = client(settings(broker.port, "receiver", session_expiry_s=60), "a/#")
        async with connected(again):
            assert again.session_present
            assert [item.topic for item in await take(again, 1)] == ["a/long"]


async def test_on_connected_comes_after_the_subscriptions_and_in_the_event_loop(broker: BrokerProcess) -> None:
    threads: list[str] = []

    async def announce() -> None:
        threads.append(threading.current_thread().name)
        await one.publish("echo", b"hello")

    one = client(settings(broker.port, "one"), "echo", on_connected=announce)
    async with connected(one):
        (message,) = await take(one, 1)
    assert message.payload == b"hello"
    assert threads == ["MainThread"]


async def test_it_comes_back_after_a_broker_restart_and_logs_the_edges_only(broker: BrokerProcess) -> None:
    ends: list[tuple[int | None, str]] = []
    backoff = Quick()
    one = client(
        settings(broker.port, "one"),
        "a",
        backoff=backoff,
        on_disconnected=lambda code, reason: ends.append((code, reason)),
    )
    with capture_logs() as lines:
        async with connected(one):
            assert one.last_error is None
            assert one.last_connected_s is not None
            broker.kill9()
            await wait_for(lambda: backoff.waits >= 5, what="several attempts")
            assert not one.is_connected
            assert one.last_error == f"127.0.0.1:{broker.port}: Connection refused"
            assert isinstance(one.last_failure, NotConnected)
            await broker.restart()
            await is_connected(one)
            assert one.last_error is None
            assert one.last_failure is None
            await one.publish("a", b"again")
            assert [item.payload for item in await take(one, 1)] == [b"again"]
    assert backoff.resets == 2
    assert ends == [(None, "the broker closed the connection"), (None, "left by ourselves")]
    assert [line["event"] for line in lines] == [
        "mqtt.connected",
        "mqtt.disconnected",
        "mqtt.unreachable",
        "mqtt.connected",
        "mqtt.disconnected",
    ]


async def test_messages_kept_by_the_broker_arrive_after_a_broken_connection(broker: BrokerProcess) -> None:
    receiver = client(settings(broker.port, "receiver", session_expiry_s=60), "a/#")
    sender = client(settings(broker.port, "sender"))
    async with connected(receiver, sender), FaultProxy("127.0.0.1", broker.port) as link:
        away = client(settings(link.port, "away", session_expiry_s=60), "a/#")
        async with connected(away):
            assert not away.session_present
            link.set(Blackhole())
            away.drop()
            await wait_for(lambda: not away.is_connected)
            for number in range(50):
                await sender.publish("a/b", str(number).encode())
            link.heal()
            await is_connected(away)
            assert away.session_present
            assert [int(item.payload) for item in await take(away, 50)] == list(range(50))


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_burst_arrives_whole_and_in_order(broker: BrokerProcess, qos: int) -> None:
    receiver = client(settings(broker.port, "receiver"), "a/#", qos=qos, queue_limit=BURST if qos == 0 else 1_000)
    sender = client(settings(broker.port, "sender"), publish_limit=BURST)
    async with connected(receiver, sender), asyncio.TaskGroup() as group:
        taking = group.create_task(take(receiver, BURST, timeout_s=25))
        answers = [sender.publish_soon("a/b", str(number).encode(), qos=qos) for number in range(BURST)]
        found = [int(item.payload) for item in await taking]
        await wait_for(lambda: all(answer.done() for answer in answers))
    assert found == list(range(BURST))
    assert all(answer.exception() is None for answer in answers)
    assert receiver.dropped == 0


async def test_a_full_queue_holds_the_broker_back_and_loses_nothing(broker: BrokerProcess) -> None:
    receiver = client(settings(broker.port, "receiver", receive_maximum=20), "a/#", queue_limit=50)
    sender = client(settings(broker.port, "sender"))
    async with connected(receiver, sender):
        answers = [sender.publish_soon("a/b", str(number).encode()) for number in range(3_000)]
        await wait_for(lambda: all(answer.done() for answer in answers), timeout_s=15)
        await wait_for(lambda: receiver.backlog >= 50)
        assert receiver.backlog <= 100
        found = [int(item.payload) for item in await take(receiver, 3_000, timeout_s=20)]
    assert found == list(range(3_000))
    assert receiver.dropped == 0


async def test_a_full_queue_drops_what_nobody_acknowledges_and_counts_it(broker: BrokerProcess) -> None:
    receiver = client(settings(broker.port, "receiver"), "a/#", queue_limit=50)
    sender = client(settings(broker.port, "sender"))
    async with connected(receiver, sender):
        for number in range(500):
            _ = sender.publish_soon("a/b", str(number).encode(), qos=0)
        await wait_for(lambda: receiver.backlog + receiver.dropped == 500)
        assert [int(item.payload) for item in await take(receiver, 50)] == list(range(50))
        assert receiver.dropped == 450
        await sender.publish("a/b", b"later")
        assert [item.payload for item in await take(receiver, 1)] == [b"later"]


async def heard_will(heir: MqttClient) -> bool:
    """Whether the will came before a mark set now."""
    await heir.publish("end", b"")
    topics: list[str] = []
    while "end" not in topics:
        topics += [item.topic for item in await heir.messages()]
    return "will" in topics


async def test_the_will_comes_when_the_connection_is_cut(broker: BrokerProcess) -> None:
    mortal = client(settings(broker.port, "mortal"), will=lambda: Will("will", b"gone"))
    heir = client(settings(broker.port, "heir"), "will", "end")
    async with connected(heir, mortal):
        mortal.drop()
        (message,) = await take(heir, 1)
        assert (message.topic, message.payload) == ("will", b"gone")


async def test_close_says_goodbye_and_the_will_stays_unread(broker: BrokerProcess) -> None:
    mortal = client(settings(broker.port, "mortal"), will=lambda: Will("will", b"gone", retain=False))
    heir = client(settings(broker.port, "heir"), "will", "end")
    async with connected(heir):
        async with connected(mortal):
            pass
        await wait_for(lambda: "Received DISCONNECT from mortal" in broker.log())
        assert not await heard_will(heir)


async def test_a_run_that_is_cancelled_without_close_leaves_the_will_to_tell(broker: BrokerProcess) -> None:
    mortal = client(settings(broker.port, "mortal"), will=lambda: Will("will", b"gone", retain=False))
    heir = client(settings(broker.port, "heir"), "will", "end")
    async with connected(heir), asyncio.TaskGroup() as group:
        task = group.create_task(mortal.run(), name="mortal")
        await is_connected(mortal)
        task.cancel()
        (message,) = await take(heir, 1)
        assert message.topic == "will"
        await wait_for(lambda: "Received DISCONNECT from mortal" in broker.log())


async def test_each_attempt_asks_for_its_own_will(broker: BrokerProcess) -> None:
    numbers = iter(range(1, 100))
    backoff = Quick()
    mortal = client(
        settings(broker.port, "mortal"),
        will=lambda: Will("will", str(next(numbers)).encode(), retain=False),
        backoff=backoff,
    )
    heir = client(settings(broker.port, "heir"), "will")
    async with connected(heir, mortal):
        mortal.drop()
        assert [item.payload for item in await take(heir, 1)] == [b"1"]
        await reconnected(mortal, backoff)
        mortal.drop()
        assert [item.payload for item in await take(heir, 1)] == [b"2"]


async def test_a_delayed_will_is_not_sent_when_the_session_comes_back(broker: BrokerProcess) -> None:
    backoff = Quick()
    own = settings(broker.port, "mortal", session_expiry_s=60)
    mortal = client(own, will=lambda: Will("will", b"", retain=False, delay_s=30), backoff=backoff)
    heir = client(settings(broker.port, "heir"), "will", "end")
    async with connected(heir, mortal):
        mortal.drop()
        await reconnected(mortal, backoff)
        assert not await heard_will(heir)


@pytest.fixture
def acl_file(service_dir: Path) -> Path:
    path = service_dir / "acl"
    path.write_text("topic readwrite open/#\n", encoding="ascii")
    give_to_broker(path)
    return path


async def test_a_publish_the_broker_refuses_raises_with_its_reason_code(acl_file: Path) -> None:
    async with BrokerProcess(persistence=False, extra=f"acl_file {acl_file}") as broker:
        one = client(settings(broker.port, "one"))
        async with connected(one):
            with pytest.raises(PublishRefused, match=r"shut/a refused: Not authorized \(0x87\)") as caught:
                await one.publish("shut/a", b"x")
            assert caught.value.reason_code == NOT_AUTHORIZED
            await one.publish("open/a", b"x")
            assert one.is_connected


async def test_a_connection_the_broker_refuses_is_told_with_its_reason_code() -> None:
    conf = "listener {port} 127.0.0.1\nallow_anonymous false\n"
    async with BrokerProcess(conf=conf) as broker:
        one = client(settings(broker.port, "one"))
        async with started(one):
            await wait_for(lambda: one.last_failure is not None)
            assert isinstance(one.last_failure, ConnectRefused)
            assert one.last_failure.reason_code == NOT_AUTHORIZED
            assert one.last_error == "refused: Not authorized (0x87)"


async def test_a_packet_larger_than_the_broker_takes_is_refused_before_it_breaks_the_connection() -> None:
    async with BrokerProcess(persistence=False, extra="max_packet_size 1000") as broker:
        one = client(settings(broker.port, "one"), "a")
        async with connected(one):
            with pytest.raises(PublishRefused, match=r"Packet too large for the broker's 1000 bytes") as caught:
                await one.publish("a", b"x" * 1_000)
            assert caught.value.reason_code == TOO_LARGE
            await one.publish("a", b"x" * 950)
            assert len((await take(one, 1))[0].payload) == 950


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b"])
async def test_topics_nobody_can_publish_on_are_mistakes(topic: str) -> None:
    with pytest.raises(ValueError, match="cannot publish on"):
        await client(settings(1, "one")).publish(topic, b"")


async def test_quality_of_service_2_is_a_mistake(broker: BrokerProcess) -> None:
    with pytest.raises(ValueError, match="QoS 2"):
        await client(settings(1, "one")).publish("a", b"", qos=2)
    with pytest.raises(ValueError, match="QoS 0 and 1"):
        client(settings(1, "one"), "a", qos=2)


async def test_without_a_connection_nothing_is_taken(broker: BrokerProcess) -> None:
    one = client(settings(broker.port, "one"))
    with pytest.raises(NotConnected, match="a/b: not connected"):
        await one.publish("a/b", b"x")
    async with connected(one):
        pass
    with pytest.raises(NotConnected):
        _ = one.publish_soon("a/b", b"x")


async def test_what_is_on_its_way_fails_at_once_when_the_broker_dies(broker: BrokerProcess) -> None:
    one = client(settings(broker.port, "one"), publish_limit=5_000)
    async with connected(one):
        broker.freeze()
        answers = [one.publish_soon("a", b"x" * 100) for _ in range(5_000)]
        with pytest.raises(Congested, match="5000 messages wait already"):
            _ = one.publish_soon("a", b"x")
        broker.kill9()
        await wait_for(lambda: all(answer.done() for answer in answers))
    assert {type(answer.exception()) for answer in answers} == {NotConnected}


async def test_a_broker_that_does_not_answer_is_a_timeout_and_the_message_may_still_arrive(
    broker: BrokerProcess,
) -> None:
    one = client(settings(broker.port, "one"), "a")
    async with connected(one):
        broker.freeze()
        with pytest.raises(PublishTimeout, match=r"a: no acknowledgement within 0.1 s"):
            await one.publish("a", b"late", timeout_s=0.1)
        broker.thaw()
        assert [item.payload for item in await take(one, 1)] == [b"late"]


async def test_a_broker_that_hangs_is_noticed_by_its_missing_ping(broker: BrokerProcess) -> None:
    ends: list[str] = []
    one = client(settings(broker.port, "one", keepalive_s=1), on_disconnected=lambda _code, reason: ends.append(reason))
    async with connected(one):
        broker.freeze()
        await wait_for(lambda: ends != [], timeout_s=8)
        broker.thaw()
        await is_connected(one)
    assert ends[0] == "no answer to a ping for 1 s"


async def test_a_connection_taken_over_is_told(broker: BrokerProcess) -> None:
    ends: list[str] = []
    one = client(settings(broker.port, "same"), on_disconnected=lambda _code, reason: ends.append(reason))
    async with connected(one):
        async with connected(client(settings(broker.port, "same"))):
            await wait_for(lambda: ends != [])
        await is_connected(one)


async def test_a_failing_on_connected_drops_the_connection_and_tries_again(broker: BrokerProcess) -> None:
    attempts: list[int] = []

    async def announce() -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise NotConnected("not ready")

    backoff = Quick()
    one = client(settings(broker.port, "one"), on_connected=announce, backoff=backoff)
    async with started(one):
        await wait_for(lambda: len(attempts) == 3)
        await is_connected(one)
        assert backoff.resets == 1


async def test_a_mistake_in_on_connected_ends_the_component(broker: BrokerProcess) -> None:
    async def announce() -> None:
        raise KeyError("mistake")

    one = client(settings(broker.port, "one"), on_connected=announce)
    with pytest.raises(KeyError, match="mistake"):
        await one.run()
    assert not one.is_connected


async def test_close_does_not_wait_for_a_connect_that_hangs(broker: BrokerProcess) -> None:
    async with FaultProxy("127.0.0.1", broker.port, fault=Blackhole()) as link:
        one = client(settings(link.port, "one"))
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.run(), name="one")
            await wait_for(lambda: link.open_links == 1)
            began_s = loop.time()
            await one.close()
            await task
            assert loop.time() - began_s < 2


async def test_close_before_run_makes_run_return() -> None:
    one = client(settings(free_port(), "one"))
    await one.close()
    await one.run()


async def test_unknown_hosts_and_closed_ports_are_named() -> None:
    unknown = MqttClient(settings(1, "one").model_copy(update={"host": "no.such.host.invalid"}), clock=SystemClock())
    port = free_port()
    nobody = client(settings(port, "two"))
    async with started(unknown, nobody):
        await wait_for(lambda: unknown.last_error and nobody.last_error, timeout_s=15)
    assert unknown.last_error is not None
    assert unknown.last_error.startswith("the name no.such.host.invalid is not known")
    assert nobody.last_error == f"127.0.0.1:{port}: Connection refused"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mqtt_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mqtt-")]


async def test_nothing_is_left_behind(broker: BrokerProcess) -> None:
    tasks = asyncio.all_tasks()
    one = client(settings(broker.port, "one"), "a")
    async with connected(one):
        pass
    files = open_files()
    for _ in range(3):
        backoff = Quick()
        again = client(settings(broker.port, "one"), "a", backoff=backoff)
        async with connected(again):
            assert mqtt_threads() == ["mqtt-one"]
            again.drop()
            await reconnected(again, backoff)
    assert asyncio.all_tasks() == tasks
    await wait_for(lambda: mqtt_threads() == [])
    assert open_files() == files


async def test_a_process_with_more_than_1024_open_files_can_connect(broker: BrokerProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    try:
        with ExitStack() as files:
            for _ in range(1_100):
                files.callback(os.close, os.dup(0))
            one = client(settings(broker.port, "one"), "a")
            async with connected(one):
                await one.publish("a", b"x")
                assert len(await take(one, 1)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
