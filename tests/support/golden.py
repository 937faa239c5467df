"""Golden frames: `tests/golden/frames/NAME.hex`, one frame a line, comments name their public source."""

from __future__ import annotations

from support.tree import ROOT


def golden_frames(name: str) -> list[bytes]:
    """The frames of a file in their order."""
    lines = (ROOT / "tests/golden/frames" / f"{name}.hex").read_text(encoding="ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if line.strip() and not line.startswith("#")]
