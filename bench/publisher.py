"""The sending side of the ingest bench: `python -m bench.publisher PLAN EPOCH receipts|acks`.

20 raw TLS sockets in 20 threads, each sends its batches at QoS 1 in windows. Prints `ready`, waits for a line, then
prints when it began and when the last PUBACK and the last receipt came, on the monotonic clock of the machine.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from bench.messages import EPOCH_MARK, Plan, load
from simulators.mqtt.codec import (
    Connack,
    Connect,
    Decoder,
    Puback,
    Publish,
    Suback,
    encode_connect,
    encode_puback,
    encode_publish,
    encode_subscribe,
)
from wire.topics import Channel, topic
from wire.uplink import Receipt

WINDOW = 5
TIMEOUT_S = 120.0
WARM_UP_EVERY_S = 1.0


class Sender:
    """One connection."""

    def __init__(self, plan: Plan, number: int, epoch: bytes) -> None:
        self.kid, certificate, key = plan.sender_files[number]
        self.epoch = epoch.decode()
        self.through_seq = 0
        self.acked = 0
        self.acked_s = self.receipt_s = 0.0
        log = topic(self.kid, Channel.LOG)
        self.last_seq = 1 + 50 * len(plan.payloads[number])
        packets = [
            encode_publish(Publish(log, payload.replace(EPOCH_MARK, epoch, 1), qos=1, packet_id=place + 10))
            for place, payload in enumerate(plan.payloads[number])
        ]
        self.windows = [b"".join(packets[at : at + WINDOW]) for at in range(0, len(packets), WINDOW)]
        self.sizes = [len(packets[at : at + WINDOW]) for at in range(0, len(packets), WINDOW)]
        self.warm_up = encode_publish(Publish(log, plan.warm_up.replace(EPOCH_MARK, epoch, 1), qos=1, packet_id=9))
        context = ssl.create_default_context(cafile=plan.ca_file)
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection((plan.host, plan.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname="localhost")
        self._decoder = Decoder()
        self._connected = self._subscribed = False
        self._open()

    def _open(self) -> None:
        self._socket.sendall(encode_connect(Connect(self.kid, 60, clean_start=True)))
        while not self._connected:
            self.read()
        self._socket.sendall(encode_subscribe(1, [(topic(self.kid, Channel.RECEIPT), 1)]))
        while not self._subscribed:
            self.read()

    def read(self, timeout_s: float = TIMEOUT_S) -> None:
        """Take what comes, acknowledge receipts."""
        self._socket.settimeout(timeout_s)
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError(f"{self.kid}: the broker closed the connection")
        for packet in self._decoder.feed(data):
            match packet:
                case Puback(reason=reason):
                    assert reason < 0x80, hex(reason)
                    self.acked += 1
                    self.acked_s = monotonic()
                case Publish():
                    self._socket.sendall(encode_puback(packet.packet_id))
                    receipt = Receipt.model_validate_json(packet.payload)
                    if receipt.epoch == self.epoch:
                        self.through_seq = receipt.through_seq
                        self.receipt_s = monotonic()
                case Connack(reason=reason):
                    assert reason == 0, hex(reason)
                    self._connected = True
                case Suback():
                    self._subscribed = True
                case _:
                    pass

    def warm(self) -> None:
        """Send record 1 until its receipt is there: then the server listens."""
        while self._is_cold():
            self._socket.sendall(self.warm_up)
            until_s = monotonic() + WARM_UP_EVERY_S
            with suppress(TimeoutError):
                while monotonic() < until_s and self._is_cold():
                    self.read(WARM_UP_EVERY_S)
        self.acked = 0

    def _is_cold(self) -> bool:
        return self.through_seq == 0

    def run(self, *, has_receipts: bool) -> None:
        """Send everything; with receipts wait for the last one."""
        sent = 0
        for window, size in zip(self.windows, self.sizes, strict=True):
            self._socket.sendall(window)
            sent += size
            while self.acked < sent:
                self.read()
        while has_receipts and self.through_seq < self.last_seq:
            self.read()


def _together(senders: Sequence[Sender], **options: bool) -> None:
    threads = [threading.Thread(target=sender.run, kwargs=options) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Entry point."""
    path, epoch, mode = sys.argv[1:]
    plan, has_receipts = load(path), mode == "receipts"
    senders = [Sender(plan, number, epoch.encode()) for number in range(len(plan.payloads))]
    if has_receipts:
        for sender in senders:
            sender.warm()
    print("ready", flush=True)
    sys.stdin.readline()
    started_s = monotonic()
    _together(senders, has_receipts=has_receipts)
    done = {
        "started_s": started_s,
        "acked_s": max(sender.acked_s for sender in senders),
        "receipt_s": max(sender.receipt_s for sender in senders),
        "is_complete": all(sender.acked == sum(sender.sizes) for sender in senders),
    }
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
