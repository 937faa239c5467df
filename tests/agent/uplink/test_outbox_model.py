"""Outbox, pump and receipts against a model: what was stored comes out, once, whatever the order of events.

The machine draws appends, crashes, restarts, lost, late and repeated receipts, closed gates and passing time. At the
end everything is drained and judged: every P0 that was acknowledged and every P1 that was flushed arrived exactly
once; nothing arrived that was not produced.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.settings import UplinkSettings
from agent.uplink.pump import Pump
from kit.clock import ManualClock
from kit.mqtt import NotConnected
from support.kiosk_outbox import Kiosk, start_kiosk
from support.uplink_server import UplinkServer
from wire.uplink import EventRecord, RecordClass

T = TypeVar("T")
MEMORY = Path("/dev/shm")
TOPIC = "kiosk/v1/kiosk-001/up/log"
SETTINGS = UplinkSettings(batch_records=5, window_batches=2, backfill_per_s=50.0)


class OutboxMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="kiosk-model-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = ManualClock()
        self.server = UplinkServer()
        self.answers: list[bytes] = []
        self.old_answers: list[bytes] = []
        self.is_down = False
        self.produced = 0
        self.must_arrive: set[int] = set()
        self.may_arrive: set[int] = set()
        self.buffered: set[int] = set()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.kiosk: Kiosk = self.do(start_kiosk(self.directory, self.clock))
        self.pump = Pump(self.kiosk.outbox, self.kiosk.reporter, SETTINGS, self.clock, random.Random(3))

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, timeout_s: float = 10.0) -> None:
        """The link the pump sees."""
        assert (topic, qos) == (TOPIC, 1)
        assert timeout_s > 0
        if self.is_down:
            raise NotConnected("down")
        answer = self.server.take(payload)
        assert answer is not None
        self.answers.append(answer)

    @rule(count=st.integers(1, 8), record_class=st.sampled_from([RecordClass.P0, RecordClass.P1]))
    def append(self, count: int, record_class: RecordClass) -> None:
        for _ in range(count):
            number, self.produced = self.produced, self.produced + 1
            seq = self.do(
                self.kiosk.outbox.append(
                    record_class, "event", {"component": "host", "name": "thing.happened", "fields": {"n": number}}
                )
            )
            self.may_arrive.add(number)
            if record_class is RecordClass.P0:
                assert seq is not None
                self.must_arrive |= {number, *self.buffered}
                self.buffered.clear()
            else:
                self.buffered.add(number)

    @rule()
    def flush(self) -> None:
        self.do(self.kiosk.outbox.flush())
        self.must_arrive |= self.buffered
        self.buffered.clear()

    @rule(seconds=st.sampled_from([0.0, 0.5, 25.0, 130.0, 3_700.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-86_400.0 * 400, -3_600.0, 3_600.0, 86_400.0 * 400]))
    def jump(self, seconds: float) -> None:
        self.clock.jump_wall(seconds)

    @rule(is_open=st.booleans(), is_down=st.booleans())
    def change_link(self, *, is_open: bool, is_down: bool) -> None:
        self.is_down = is_down
        if is_open:
            self.pump.open_gate(TOPIC, self, None)
        else:
            self.pump.close_gate()

    @rule()
    def step(self) -> None:
        self.do(self.pump.step())

    @rule()
    def deliver(self) -> None:
        self.old_answers += self.answers
        while self.answers:
            self.do(self.pump.take_receipt(self.answers.pop(0)))

    @rule()
    def lose_receipts(self) -> None:
        self.old_answers += self.answers
        self.answers.clear()

    @rule(data=st.data())
    def repeat_an_old_receipt(self, data: st.DataObject) -> None:
        if self.old_answers:
            self.do(self.pump.take_receipt(data.draw(st.sampled_from(self.old_answers))))

    @rule()
    def maintain(self) -> None:
        self.do(self.kiosk.upkeep.maintain())

    @rule(is_clean=st.booleans())
    def restart(self, *, is_clean: bool) -> None:
        if is_clean:
            self.must_arrive |= self.buffered
        else:
            self.kiosk.outbox._buffer.clear()
            self.do(self.kiosk.outbox._disk.give_up())
        self.buffered.clear()
        self.do(self.kiosk.outbox.close())
        self.start()

    @invariant()
    def nothing_arrives_twice_or_from_nowhere(self) -> None:
        arrived = self.arrived()
        assert len(arrived) == len(set(arrived))
        assert set(arrived) <= self.may_arrive

    def arrived(self) -> list[int]:
        return [int(record.fields["n"] or 0) for record in self.server.records if isinstance(record, EventRecord)]

    def teardown(self) -> None:
        try:
            if hasattr(self, "kiosk"):
                self.drain()
                assert self.must_arrive <= set(self.arrived()), self.must_arrive - set(self.arrived())
                for epoch in self.server.ledgers:
                    self.server.check_chain(epoch)
        finally:
            if hasattr(self, "kiosk"):
                self.do(self.kiosk.outbox.close())
            self.loop.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def drain(self) -> None:
        self.flush()
        self.change_link(is_open=False, is_down=False)
        self.change_link(is_open=True, is_down=False)
        for _ in range(200):
            self.clock.advance(1.0)
            self.step()
            self.deliver()
            depth = self.kiosk.outbox.depth()
            if depth.p0 + depth.p1 == 0:
                break


OutboxMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestOutboxModel = pytest.mark.timeout(120)(OutboxMachine.TestCase)
