"""Keeps libraries from loading at import what no kiosk uses: 4 MiB, and much of the time to start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_VARIABLES = {
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
    "FROZENLIST_NO_EXTENSIONS": "1",
    "PYTHONTZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
}


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import within it; afterwards everything is as it was.

    - aiohttp reads the machine's certificate authorities for connections that name none; all of ours do.
    - frozenlist brings the C++ library for lists of a few elements.
    - aiohttp takes the functions that find a machine's proxies from `urllib.request`; a kiosk uses none.
    - zoneinfo asks how Python was built to learn where time zones are, which brings all of its build settings.
    - pydantic looks for plugins with `importlib.metadata`, which brings zipfile, csv and email; a kiosk has none.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    absent = {name: module for name, module in _stand_ins().items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name, module in absent.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _stand_ins() -> dict[str, ModuleType]:
    """What is enough of them while others are imported."""
    request, metadata = ModuleType("urllib.request"), ModuleType("importlib.metadata")
    request.__dict__.update(getproxies=dict, proxy_bypass=lambda _host: False)
    metadata.__dict__.update(entry_points=lambda **_: ())
    return {module.__name__: module for module in (request, metadata)}
