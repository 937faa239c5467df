"""Ports that nobody else takes between choosing and binding.

A port that the kernel hands out for `bind(0)` comes from the range of outgoing connections: while a server
is down for a restart, a client that retries may be given that very port, or even connect to itself. So the
ports here come from below that range.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_240
_FALLBACK_HIGH = 32_000
_TRIES = 200

_chooser = random.SystemRandom()
_given: set[int] = set()


def _highest() -> int:
    try:
        first_outgoing = int(_RANGE_FILE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _FALLBACK_HIGH
    return first_outgoing - 1 if first_outgoing > _LOWEST + 1_000 else _FALLBACK_HIGH


def _is_free(port: int, host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that is free now, is never used for outgoing connections, and is given once.

    Raises:
        OSError: two hundred random choices in a row were taken.
    """
    high = _highest()
    for _ in range(_TRIES):
        port = _chooser.randint(_LOWEST, high)
        if port not in _given and _is_free(port, host):
            _given.add(port)
            return port
    raise OSError(f"no free port between {_LOWEST} and {high} in {_TRIES} tries")
