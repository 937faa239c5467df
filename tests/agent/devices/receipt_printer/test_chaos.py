"""Many printers, each with faults at any line: what is called printed is on paper whole, once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agent.devices.receipt_printer.types import PrintState, ReceiptJob, Rule, Text
from simulators.devices.receipt_page import PrintedLine
from simulators.devices.receipt_printer import PrinterFault
from support.receipt_rig import CUSTOM, EPSON, QUICK, Bench, Transport, load_profile, printing

LINES = 12
KINDS = {
    "epson-tm-t88vi": EPSON,
    "custom-kpm150h": CUSTOM,
    "generic-escpos80": replace(EPSON, columns=48, charset="gb2312", knows_process_id=False, has_near_end=False),
}


def whole(bench: Bench, name: str) -> int:
    """How many pieces of paper hold this receipt from its first line to its last, and nothing else."""
    wanted = [name, *(f"第 {number} 行" for number in range(LINES))]
    pieces = [
        [item.text for item in receipt if isinstance(item, PrintedLine) and not item.text.startswith("-")]
        for receipt in bench.core.receipts
    ]
    return pieces.count(wanted)


def printed_lines(bench: Bench) -> list[str]:
    pieces = [*bench.core.receipts, bench.core.page]
    return [item.text for piece in pieces for item in piece if isinstance(item, PrintedLine)]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(60))
async def test_printed_means_printed_whole_and_once(seed: int) -> None:
    chance = random.Random(seed)
    kind = chance.choice(list(KINDS))
    profile = load_profile(kind, **{**QUICK, "patience_s": 0.5})
    model = replace(KINDS[kind], cool_s=0.2, dots_per_s=chance.choice([5e3, 2e4, 1e6]))
    async with printing(profile, model, chance.choice(list(Transport))) as bench:
        for number in range(4):
            name = f"测试 {seed}-{number}"
            lines = tuple(Text(f"第 {line} 行") for line in range(LINES))
            if (fault := chance.choice([None, *PrinterFault])) is not None:
                bench.core.script(fault, after=chance.randrange(16))
            outcome = await bench.driver.print_receipt(ReceiptJob("job", (Text(name), Rule(), *lines)))
            assert outcome.state is not PrintState.PRINTED or whole(bench, name) == 1
            assert outcome.was_sent or name not in printed_lines(bench)
            assert whole(bench, name) <= 1
            bench.core.repair()
            bench.core.take()
            if bench.running.done():
                break
