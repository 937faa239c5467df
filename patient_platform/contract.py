"""Which pages of kiosks this release understands: the page says the version of the contract it was built for.

A release understands its own contract and the one before it, so that kiosks and platform need not be updated in the
same minute. A page of before the header says nothing, which is version 1.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kit.web import Problem

HEADER: Final = "X-Platform-Contract"
SUPPORTED: Final = frozenset({"1"})
FIRST: Final = "1"


def check_contract(request: web.Request) -> None:
    """Let only pages in that mean the same by the same words.

    Raises:
        Problem: `contract_unsupported`, before anything was looked at or changed.
    """
    spoken = request.headers.get(HEADER, FIRST)
    if spoken not in SUPPORTED:
        known = ", ".join(sorted(SUPPORTED))
        raise Problem(400, "contract_unsupported", f"The platform speaks contract {known}; update page or platform")
