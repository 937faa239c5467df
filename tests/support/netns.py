"""Network namespaces joined by cables: pull one out, limit its rate, put it back (real components, 3.11).

Needs root and iproute2. Delay and loss are not here: the test kernel has no netem; `support.proxy` delays and
corrupts one TCP service. Names carry the process id, so that two test runs do not meet.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

_NAME_LIMIT = 15
_counter = itertools.count(1)


class NoNamespacesError(AssertionError):
    """Namespaces cannot be made here; the text says why."""


def _ip(*args: str) -> str:
    """Run one ip command.

    Raises:
        NoNamespacesError: it was refused; with its own words.
    """
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoNamespacesError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair between two namespaces."""

    namespace_a: str
    device_a: str
    address_a: str
    namespace_b: str
    device_b: str
    address_b: str

    def pull_out(self) -> None:
        """Take the far end away: silence, no error at the near end."""
        _ip("-n", self.namespace_b, "link", "set", self.device_b, "down")

    def plug_in(self) -> None:
        """Put it back."""
        _ip("-n", self.namespace_b, "link", "set", self.device_b, "up")

    def limit_rate(self, kbit_per_s: int) -> None:
        """Let no more than this go from A to B.

        Raises:
            NoNamespacesError: the kernel has no tbf, or the rate is limited already.
        """
        argv = ["tc", "qdisc", "add", "dev", self.device_a, "root", "tbf", "rate", f"{kbit_per_s}kbit"]
        argv += ["burst", "16kb", "latency", "400ms"]
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace_a, *argv], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NoNamespacesError(f"tbf: {done.stderr.strip()}")


@dataclass(slots=True)
class NetLab:
    """`with NetLab() as lab:` makes namespaces and cables and removes them all at the end.

    Raises:
        NoNamespacesError: at entry, when not root, without iproute2, or refused by the kernel.
    """

    _namespaces: dict[str, str] = field(default_factory=dict)
    _cables: int = 0

    def __enter__(self) -> Self:
        """Check that namespaces can be made at all."""
        if shutil.which("ip") is None:
            raise NoNamespacesError("ip is missing: apt-get install --no-install-recommends iproute2")
        if os.getuid() != 0:
            raise NoNamespacesError("network namespaces need root")
        return self

    def namespace(self, name: str) -> str:
        """Make a namespace with a working loopback and return its name on this machine."""
        full = f"kt{os.getpid()}n{next(_counter)}-{name}"
        _ip("netns", "add", full)
        self._namespaces[name] = full
        _ip("-n", full, "link", "set", "lo", "up")
        return full

    def cable(self, a: str, b: str) -> Cable:
        """Join two namespaces of this lab, by their short names, with addresses 10.99.N.1 and 10.99.N.2."""
        self._cables += 1
        stem = f"v{os.getpid()}x{next(_counter)}"[: _NAME_LIMIT - 1]
        cable = Cable(
            self._namespaces[a],
            f"{stem}a",
            f"10.99.{self._cables}.1",
            self._namespaces[b],
            f"{stem}b",
            f"10.99.{self._cables}.2",
        )
        _ip(
            *("link", "add", cable.device_a, "netns", cable.namespace_a, "type", "veth"),
            *("peer", "name", cable.device_b, "netns", cable.namespace_b),
        )
        for namespace, device, address in (
            (cable.namespace_a, cable.device_a, cable.address_a),
            (cable.namespace_b, cable.device_b, cable.address_b),
        ):
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
        return cable

    def inside(self, name: str, argv: Sequence[str]) -> list[str]:
        """Command that runs `argv` in a namespace of this lab; its pid is that of `argv` itself."""
        return ["ip", "netns", "exec", self._namespaces[name], *argv]

    def __exit__(self, *_: object) -> None:
        """Remove everything; processes still inside keep their namespace until they end."""
        for full in self._namespaces.values():
            _ip("netns", "delete", full)
        self._namespaces.clear()
