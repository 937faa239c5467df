"""Thousands of replayable worlds full of lost answers, late payments and power cuts: nobody ever pays twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patient_platform.payment.model import Money, Order
from patient_platform.payment.service import Payments
from support.payment_world import World

STEPS = 50


def live(seed: int, payments: type[Payments] = Payments) -> list[str]:
    world = World(seed, payments)
    for _ in range(STEPS):
        world.step()
    world.settle()
    return world.faults()


@pytest.mark.parametrize("block", range(8))
def test_whatever_happens_everything_paid_is_posted_or_returned(block: int) -> None:
    for seed in range(block * 250, block * 250 + 250):
        faults = live(seed)
        assert not faults, f"seed {seed}: " + "; ".join(faults)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(20))
def test_whatever_happens_at_length(block: int) -> None:
    for seed in range(10_000 + block * 1_000, 11_000 + block * 1_000):
        faults = live(seed)
        assert not faults, f"seed {seed}: " + "; ".join(faults)


class PaysAgainAfterATimeOut(Payments):
    """The classic mistake: no answer is taken for "not paid", and the patient may try again."""

    def _may_pay(self, order: Order) -> None:
        leg = order.leg
        if leg is not None and leg.state in {Money.UNKNOWN, Money.REVERSING, Money.REVERSE_UNKNOWN}:
            order = order.with_leg(replace(leg, state=Money.FAILED))
        super()._may_pay(order)


def test_a_double_submission_after_a_time_out_is_found() -> None:
    found = []
    for seed in range(300):
        try:
            faults = live(seed, PaysAgainAfterATimeOut)
        except Exception as error:  # noqa: BLE001 - an illegal transition shows the mistake as well
            faults = [repr(error)]
        found += [seed] if faults else []
    assert len(found) >= 3, found
