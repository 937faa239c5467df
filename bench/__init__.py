"""Benchmarks: ours and a bare baseline in turn within one run, judged by their ratio.

`python -m bench [NAME ...]` prints a table and writes `bench/results.json`. Absolute figures depend on the
machine and its neighbours; the ratios are what later changes are compared with. Real peers (broker, PostgreSQL)
and children are started with the tools of the tests, `tests/support`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "bench"
"""What is kept between runs: other programs to compare with."""
sys.path.append(str(ROOT / "tests"))
