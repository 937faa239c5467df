"""What Mosquitto never says, said by a scripted broker; the bytes follow MQTT 5.0 (OASIS), section 3."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from kit.clock import SystemClock
from kit.mqtt import ConnectRefused, MqttClient, MqttSettings, NotConnected, PublishRefused, Will
from kit.supervise import Backoff
from support.mqtt import CONNACK, DISCONNECT, PUBACK, SUBACK, SUBSCRIBE, Peer, Quick, ScriptedBroker, connected, started
from support.mqtt import take as taken
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(30)
RECEIVE_MAXIMUM = b"\x21"
PACKET_LIMIT = b"\x27"
SERVER_KEEP_ALIVE = b"\x13"
SERVER_BUSY, QUOTA_EXCEEDED, TAKEN_OVER = 0x89, 0x97, 0x8E


def client(broker: ScriptedBroker, *filters: str, **more: object) -> MqttClient:
    settings = {"host": "127.0.0.1", "port": broker.port, "client_id": "one", "tls": False, "connect_timeout_s": 0.4}
    return MqttClient(
        MqttSettings.model_validate({**settings, **more}),
        clock=SystemClock(),
        subscriptions=[(name, 1) for name in filters],
        backoff=Quick(),
    )


async def granted(peer: Peer, *codes: int) -> None:
    """Answer SUBSCRIBE."""
    body = await peer.expect(SUBSCRIBE)
    peer.send(SUBACK << 4, body[:2] + b"\0" + bytes(codes or (1,)))


async def failure_with(script: Callable[[Peer], Awaitable[None]], *filters: str) -> Exception:
    """What the client says after the first attempt."""
    async with ScriptedBroker(script) as broker:
        one = client(broker, *filters)
        async with started(one):
            await wait_for(lambda: one.last_failure is not None)
            assert one.last_failure is not None
            return one.last_failure


async def test_connect_says_what_the_settings_say() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.accept())
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = MqttClient(
            client(broker).settings.model_copy(
                update={"keepalive_s": 7, "session_expiry_s": 60, "receive_maximum": 33, "clean_start": True}
            ),
            clock=SystemClock(),
            will=lambda: Will("w", b"gone", qos=1, retain=True, delay_s=9),
        )
        async with connected(one):
            pass
    flags = 0b0010_1110  # retain, QoS 1, will, clean start
    assert (
        seen
        == [
            b"\0\4MQTT\5" + bytes([flags]) + b"\0\7"
            b"\x08\x11\0\0\0\x3c\x21\0\x21"  # session expiry, receive maximum
            b"\0\3one"
            b"\5\x18\0\0\0\x09\0\1w\0\4gone"  # will delay
        ]
    )


async def test_a_busy_broker_is_told_with_its_code() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(code=SERVER_BUSY)

    failure = await failure_with(script)
    assert isinstance(failure, ConnectRefused)
    assert (failure.reason_code, str(failure)) == (SERVER_BUSY, "refused: Server busy (0x89)")


async def test_a_refused_subscription_refuses_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer, 1, QUOTA_EXCEEDED)
        await peer.expect(DISCONNECT)

    failure = await failure_with(script, "a", "b")
    assert isinstance(failure, ConnectRefused)
    assert str(failure) == "refused: subscription b: Quota exceeded (0x97)"


async def test_a_broker_that_ends_before_connack_or_suback_is_noticed_at_once() -> None:
    async def before_connack(peer: Peer) -> None:
        await peer.packet()

    async def before_suback(peer: Peer) -> None:
        await peer.accept()
        await peer.packet()

    for script in (before_connack, before_suback):
        failure = await failure_with(script, "a")
        assert str(failure) == "the broker closed the connection"


async def test_a_broker_that_never_answers_is_given_up() -> None:
    async def no_connack(peer: Peer) -> None:
        await peer.ended()

    async def no_suback(peer: Peer) -> None:
        await peer.accept()
        await peer.ended()

    assert str(await failure_with(no_connack, "a")) == "no CONNACK within 0.8 s"
    assert str(await failure_with(no_suback, "a")) == "no SUBACK within 0.4 s"


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"\x8e\0", TAKEN_OVER, "Session taken over"),
        (b"\x8b\0", 0x8B, "Server shutting down"),
        (b"", 0, "Normal disconnection"),
    ],
)
async def test_the_brokers_reason_for_disconnecting_is_handed_on(sent: bytes, code: int, reason: str) -> None:
    ends: list[tuple[int | None, str]] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        peer.send(DISCONNECT << 4, sent)
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        base = client(broker)
        one = MqttClient(
            base.settings,
            clock=SystemClock(),
            subscriptions=[("a", 1)],
            backoff=Quick(),
            on_disconnected=lambda number, text: ends.append((number, text)),
        )
        async with started(one):
            await wait_for(lambda: ends)
    assert ends[0] == (code, reason)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 40, b"\x30\xff\xff\xff\xff\x01", b"\x40\x01\x00", b"\x30\x05\x00\xffabc", b"\x00\x00", b"\x90\x00"],
)
async def test_garbage_ends_the_connection_and_not_the_client(garbage: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        peer.writer.write(garbage)
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker, "a")
        async with started(one):
            await wait_for(lambda: broker.connections >= 3)


async def test_any_bytes_end_the_connection_and_not_the_client() -> None:
    rng = random.Random(20_260_302)
    cases = 200

    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        body = rng.randbytes(rng.randrange(60))
        if rng.random() < 0.7:  # a frame that is whole, so that the parsers behind the length are reached
            peer.send(rng.randrange(256), body)
        else:
            peer.writer.write(body)
        peer.send(DISCONNECT << 4, b"")

    async with ScriptedBroker(script) as broker:
        base = client(broker)
        backoff = Backoff(base_s=0.0, cap_s=0.0)
        one = MqttClient(base.settings, clock=SystemClock(), subscriptions=[("a", 1)], backoff=backoff)
        async with started(one):
            await wait_for(lambda: broker.connections >= cases, timeout_s=20)


async def test_a_topic_that_is_no_text_is_dropped_and_acknowledged() -> None:
    acknowledged: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        peer.deliver(b"\xff\xfe", b"bad", 7)
        acknowledged.append(await peer.expect(PUBACK))
        peer.deliver(b"a", b"good")
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker, "a")
        async with connected(one):
            assert [item.payload for item in await taken(one, 1)] == [b"good"]
    assert one.dropped == 1
    assert acknowledged == [b"\0\7"]


async def test_acknowledgements_keep_the_order_of_messages_also_while_held_back() -> None:
    acknowledged: list[int] = []
    all_sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        for number in range(1, 31):
            peer.deliver(b"a", b"", number)
        all_sent.set()
        while len(acknowledged) < 30:
            acknowledged.append(int.from_bytes((await peer.expect(PUBACK))[:2], "big"))
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = MqttClient(client(broker).settings, clock=SystemClock(), subscriptions=[("a", 1)], queue_limit=20)
        async with connected(one):
            await all_sent.wait()
            await wait_for(lambda: one.backlog == 30)
            assert len(acknowledged) < 20
            found = len(await one.messages(15))
            assert found == 15
            await wait_for(lambda: one.backlog == 15)
            await taken(one, 15)
            await wait_for(lambda: len(acknowledged) == 30)
    assert acknowledged == list(range(1, 31))


async def test_the_brokers_receive_maximum_is_kept() -> None:
    pending: list[int] = []
    most: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept(RECEIVE_MAXIMUM + b"\0\3")
        for _ in range(0, 30, 3):
            batch = [(await peer.publication())[0] for _ in range(3)]
            with pytest.raises(TimeoutError):  # nothing more may come
                async with asyncio.timeout(0.02):
                    pending.append(len(await peer.reader.read(1)))
            most.append(len(batch))
            for packet_id in batch:
                peer.acknowledge(packet_id)
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            answers = [one.publish_soon("a", b"x") for _ in range(30)]
            await wait_for(lambda: all(answer.done() for answer in answers))
    assert pending == []
    assert most == [3] * 10


async def test_a_message_taken_back_before_its_turn_is_never_sent() -> None:
    payloads: list[bytes] = []
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(RECEIVE_MAXIMUM + b"\0\1")
        for _ in range(2):
            packet_id, payload = await peer.publication()
            payloads.append(payload)
            await go_on.wait()
            peer.acknowledge(packet_id)
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            first, second, third = (one.publish_soon("a", name) for name in (b"1", b"2", b"3"))
            await wait_for(lambda: payloads)
            second.cancel()
            go_on.set()
            await first
            await third
    assert payloads == [b"1", b"3"]


async def test_refusals_and_successes_go_to_their_own_callers() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        ids = {payload: packet_id for packet_id, payload in [await peer.publication() for _ in range(3)]}
        peer.send(PUBACK << 4, ids[b"3"].to_bytes(2, "big") + b"\x97\0")
        peer.send(PUBACK << 4, ids[b"1"].to_bytes(2, "big") + b"\x10\0")  # no matching subscribers: a success
        peer.acknowledge(ids[b"2"])
        peer.acknowledge(ids[b"2"])  # once more
        peer.acknowledge(9_999)  # never sent
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            first, second, third = (one.publish_soon(name, name.encode()) for name in "123")
            await first
            await second
            with pytest.raises(PublishRefused, match=r"3 refused: Quota exceeded \(0x97\)"):
                await third
            assert one.is_connected


async def test_the_brokers_keepalive_replaces_ours() -> None:
    pinged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(SERVER_KEEP_ALIVE + b"\0\1")
        head, _ = await peer.packet()
        assert head >> 4 == 12
        peer.send(0xD0, b"")
        pinged.set()
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker, keepalive_s=3_600)
        async with connected(one), asyncio.timeout(5):
            await pinged.wait()


async def test_the_brokers_packet_limit_is_kept() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(PACKET_LIMIT + b"\0\0\0\x64")
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            with pytest.raises(PublishRefused, match="0x95"):
                _ = one.publish_soon("a", b"x" * 100)


async def test_session_present_is_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(flags=1)
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            assert one.session_present


async def test_what_was_published_before_close_is_written_before_disconnect() -> None:
    story: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        while len(story) < 4:
            story.append((await peer.packet())[0])
        await peer.ended()

    async with ScriptedBroker(script) as broker:
        one = client(broker)
        async with connected(one):
            answers = [one.publish_soon("a", b"x") for _ in range(3)]
        await wait_for(lambda: len(story) == 4)
    assert [head >> 4 for head in story] == [3, 3, 3, 14]
    assert {type(answer.exception()) for answer in answers} == {NotConnected}


async def test_a_large_message_arrives_in_small_parts() -> None:
    payload = bytes(range(256)) * 60

    async def script(peer: Peer) -> None:
        await peer.accept()
        await granted(peer)
        writer = peer.writer
        peer.writer = Slow(writer)  # type: ignore[assignment]  # writes are all it is used for
        peer.deliver(b"a", payload)
        await peer.writer.drain()
        peer.writer = writer
        await peer.ended()

    class Slow:
        def __init__(self, writer: asyncio.StreamWriter) -> None:
            self.writer = writer
            self.data = b""

        def write(self, data: bytes) -> None:
            self.data += data

        async def drain(self) -> None:
            for at in range(0, len(self.data), 997):
                self.writer.write(self.data[at : at + 997])
                await self.writer.drain()
                await asyncio.sleep(0)

    async with ScriptedBroker(script) as broker:
        one = client(broker, "a")
        async with connected(one):
            assert (await taken(one, 1))[0].payload == payload


def test_the_head_bytes_are_those_of_the_standard() -> None:
    assert (CONNACK << 4, PUBACK << 4, SUBACK << 4, DISCONNECT << 4) == (0x20, 0x40, 0x90, 0xE0)
