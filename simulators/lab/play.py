"""Playing a scenario to a lab that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kit.clock import Clock
from simulators.lab.device import FactValue
from simulators.lab.scenario import Planned

_POLL_S = 0.1


class StepFailed(Exception):
    """A step was refused or its expectation did not come true; the text is for the tester."""


class Stage(Protocol):
    """A lab, from outside."""

    async def act(self, step: Planned) -> None:
        """Do the step's action.

        Raises:
            StepFailed: the lab refused.
        """

    async def facts(self, kiosk: str, device: str) -> Mapping[str, FactValue]:
        """The device now: its facts, its `model`, and whether it is `plugged`."""


async def play(
    steps: Sequence[Planned], stage: Stage, clock: Clock, *, speed: float, tell: Callable[[Planned], None]
) -> None:
    """Do one step after the other, each at its time divided by `speed`; waiting for what is expected is never cut.

    Raises:
        StepFailed: a step failed; none after it was done.
    """
    start_s = clock.monotonic()
    for step in steps:
        late_s = clock.monotonic() - start_s
        await asyncio.sleep(max(0.0, step.at_s / speed - late_s))
        tell(step)
        if step.action is None:
            await _expect(step, stage, clock)
        else:
            await stage.act(step)


async def _expect(step: Planned, stage: Stage, clock: Clock) -> None:
    end_s = clock.monotonic() + step.within_s
    while True:
        facts = await stage.facts(step.kiosk, step.device)
        wrong = {name: facts.get(name) for name, value in step.expect.items() if facts.get(name) != value}
        if not wrong:
            return
        if clock.monotonic() >= end_s:
            raise StepFailed(f"与期望不符 · expected {dict(step.expect)}, found {wrong}")
        await asyncio.sleep(_POLL_S)
