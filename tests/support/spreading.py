"""How tests are spread over workers: those that may take long come first, and the longest are nobody's neighbours.

pytest-xdist hands out whole files, those with the most tests first. The few long tests of a file would begin last and
one worker would end minutes after the others. What a test may take is known: its `timeout` mark.
"""

from __future__ import annotations

import pytest

FIRST_S = 60
"""A file with a test that may take this long begins before the others."""
ALONE_S = 100
"""A test that may take this long is handed out by itself, the others of its file go together."""


def limit_s(item: pytest.Item) -> float:
    """What a test may take: its nearest `timeout` mark, or the limit for all, which counts as nothing."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


def spread(items: list[pytest.Item]) -> None:
    """Put files with long tests first and mark what pytest-xdist (`--dist loadgroup`) has to keep together."""
    longest: dict[str, float] = {}
    for item in items:
        longest[item.path.as_posix()] = max(limit_s(item), longest.get(item.path.as_posix(), 0.0))
        if limit_s(item) < ALONE_S:
            item.add_marker(pytest.mark.xdist_group(item.path.name))

    def begins(item: pytest.Item) -> tuple[float, float]:
        of_file = longest[item.path.as_posix()]
        return (-of_file, -limit_s(item)) if of_file >= FIRST_S else (0.0, 0.0)

    items.sort(key=begins)
