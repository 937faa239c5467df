"""Entry point of the patient platform, which is not part of this release (README, "What is in this release").

Exit codes: 0 after `--help` or `--version`, 2 for wrong arguments, 69 (EX_UNAVAILABLE of sysexits.h) for
everything else, so that a supervisor sees a stable reason instead of a crash.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

_TEXT = (
    "患者服务平台尚未包含在本版本中。",
    "The patient platform is not yet available in this release.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Say that the platform is not available yet and leave with exit code 69.

    Raises:
        SystemExit: always.
    """
    parser = argparse.ArgumentParser(
        prog="patient-platform",
        description=" ".join(_TEXT),
        epilog="退出码 (exit codes): 0 --help/--version, 2 参数错误 (usage), 69 尚未提供 (not available)",
    )
    release = version("hospital-kiosk-platform")
    parser.add_argument("--version", action="version", version=release, help="显示版本 (version)")
    parser.parse_args(arguments)
    print(f"patient-platform {release}", *_TEXT, sep="\n", file=sys.stderr)
    raise SystemExit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main()
