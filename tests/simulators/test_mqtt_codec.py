"""The simulators' MQTT 5 codec against bytes written out by hand from the standard (OASIS MQTT 5.0, section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.mqtt.codec import (
    CodecError,
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Will,
    encode_connect,
    encode_disconnect,
    encode_puback,
    encode_publish,
    encode_subscribe,
)

# Each row: what the standard's tables give for these fields, byte by byte.
SENT = {
    "connect": (
        encode_connect(Connect("ab", keepalive_s=20, clean_start=True, session_expiry_s=10, receive_maximum=100)),
        "10 17  00 04 4d 51 54 54 05  02  00 14  08 11 00 00 00 0a 21 00 64  00 02 61 62",
    ),
    "connect with a retained will": (
        encode_connect(Connect("ab", keepalive_s=0, will=Will("t", b"x", qos=1, retain=True, delay_s=5))),
        (
            "10 23  00 04 4d 51 54 54 05  2c  00 00  08 11 00 00 00 00 21 00 64  00 02 61 62  05 18 00"
            "00 00 05  00 01 74  00 01 78"
        ),
    ),
    "publish at QoS 0": (encode_publish(Publish("a/b", b"hi")), "30 08  00 03 61 2f 62  00  68 69"),
    "publish at QoS 1, retained": (
        encode_publish(Publish("a/b", b"hi", qos=1, retain=True, packet_id=10)),
        "33 0a  00 03 61 2f 62  00 0a  00  68 69",
    ),
    "puback": (encode_puback(258), "40 02 01 02"),
    "subscribe": (encode_subscribe(1, [("a", 1)]), "82 07  00 01  00  00 01 61  01"),
    "disconnect": (encode_disconnect(), "e0 00"),
    "disconnect with will": (encode_disconnect(4), "e0 01 04"),
}

RECEIVED: dict[str, tuple[str, Packet]] = {
    "connack with properties": ("20 06  01 00  03 21 00 14", Connack(session_present=True, reason=0)),
    "connack refused": ("20 03  00 87 00", Connack(session_present=False, reason=0x87)),
    "publish with an expiry": (
        "32 0f  00 03 61 2f 62  00 07  05 02 00 00 00 3c  68 69",
        Publish("a/b", b"hi", qos=1, packet_id=7, properties={0x02: 60}),
    ),
    "publish with a user property": (
        "30 0d  00 01 74  07 26 00 01 6b 00 01 76  79 79",
        Publish("t", b"yy", properties={0x26: "k=v"}),
    ),
    "short puback": ("40 02 00 05", Puback(5)),
    "puback not authorized": ("40 04 00 05 87 00", Puback(5, 0x87)),
    "suback": ("90 05  00 01 00 01 87", Suback(1, (1, 0x87))),
    "pingresp": ("d0 00", Pingresp()),
    "disconnect taken over": ("e0 02 8e 00", Disconnect(0x8E)),
}


@pytest.mark.parametrize("case", SENT)
def test_what_is_sent_has_the_bytes_of_the_standard(case: str) -> None:
    sent, golden = SENT[case]
    assert sent == bytes.fromhex(golden)


@pytest.mark.parametrize("case", RECEIVED)
def test_what_is_received_is_understood(case: str) -> None:
    golden, packet = RECEIVED[case]
    assert Decoder().feed(bytes.fromhex(golden)) == [packet]


def test_packets_are_found_however_the_stream_is_cut() -> None:
    stream = b"".join(bytes.fromhex(golden) for golden, _ in RECEIVED.values())
    decoder = Decoder()
    found = [packet for at in range(len(stream)) for packet in decoder.feed(stream[at : at + 1])]
    assert found == [packet for _, packet in RECEIVED.values()]


def test_a_long_message_uses_a_longer_length_field() -> None:
    message = Publish("t", b"x" * 20_000)
    assert Decoder().feed(encode_publish(message)) == [message]


@pytest.mark.parametrize(
    "broken",
    [
        "34 05 00 01 74 00 01 00",  # QoS 2
        "30 03 00 09 74",  # the topic runs past the packet
        "30 05 00 01 ff 00 00",  # not UTF-8
        "30 05 00 01 74 01 99",  # unknown property
        "20 ff ff ff ff 01",  # five length bytes
        "10 00",  # a server's packet is not expected
        "30 80 80 80 01",  # 2 MiB
    ],
)
def test_a_broken_stream_is_refused(broken: str) -> None:
    with pytest.raises(CodecError):
        Decoder().feed(bytes.fromhex(broken))


@given(st.binary(max_size=200))
def test_garbage_never_does_anything_but_refuse(garbage: bytes) -> None:
    decoder = Decoder()
    try:
        decoder.feed(garbage)
    except CodecError:
        return
    assert len(decoder._rest) <= len(garbage)
