"""The agent's half of the check-in: a stored signature gives the golden code, without any network."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.maintenance.checkin import make_code
from agent.maintenance.service import Signature
from kit.clock import ManualClock
from support.tree import ROOT

GOLDEN = (ROOT / "tests" / "golden" / "checkin" / "zzj-001.txt").read_text(encoding="ascii").strip()
SIGNATURE = "MEQCIBodHagEyAwF1nX1XxSr4YZqLfhxr+LLVMmQsJ+m1MjxAiB+38MD6Az6+ossiG6Lhn2LpbXfKSiAeBCYsqpcQ7f1Qg=="


class StoredSigner:
    """Answers with what the key program answered once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def sign(self, text: str) -> Signature | None:
        self.asked.append(text)
        return Signature(SIGNATURE, "5eed0001")


class NobodysSigner:
    """A kiosk that was never enrolled."""

    async def sign(self, text: str) -> Signature | None:
        return None


async def test_the_code_is_the_golden_one() -> None:
    signer, clock = StoredSigner(), ManualClock(datetime(2026, 11, 24, 1, 0, 0, 900_000, tzinfo=UTC))
    code = await make_code("zzj-001", signer, clock, lambda: "01KAV2Y8Q00000000000000001")
    assert code == GOLDEN
    assert signer.asked[-1] == GOLDEN.rsplit(".", 1)[0]


async def test_each_code_is_another() -> None:
    signer, clock = StoredSigner(), ManualClock()
    assert await make_code("zzj-001", signer, clock) != await make_code("zzj-001", signer, clock)


async def test_without_an_identity_there_is_none() -> None:
    assert await make_code("zzj-001", NobodysSigner(), ManualClock()) is None
