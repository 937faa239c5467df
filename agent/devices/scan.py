"""`kiosk-agent devices scan`: looks around, says which component is where, and writes ports when asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.devices.discovery import Discovery, discover, load_known
from agent.devices.ports_file import write_ports
from agent.devices.profiles import INSTALLED, find_kiosk, load_kiosk
from agent.devices.scan_report import ports_to_set, report_document, report_lines
from agent.links.census import card_reader_names, is_reachable, take_census
from agent.links.node import DEV
from agent.links.usb_nodes import SYS
from agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; a test names other places."""

    sys: Path = SYS
    dev: Path = DEV
    card_readers: Callable[[], list[str] | None] = field(default=card_reader_names)
    reach: Callable[[str, int], bool] = field(default=is_reachable)


def look(settings: Settings, machine: Machine | None = None) -> Discovery:
    """What is where. Blocking.

    Raises:
        ProfileError: the kiosk's profile cannot be used.
    """
    here = machine if machine is not None else Machine()
    chosen = settings.devices
    folder = settings.profile_dir or INSTALLED
    places = []
    if chosen.kiosk_profile is not None:
        places = load_kiosk(find_kiosk(chosen.kiosk_profile, settings.profile_dir), chosen.ports)
    census = take_census(here.sys, here.dev, here.card_readers())
    return discover(census, places, load_known(folder), here.reach)


def scan(settings: Settings, config: Path, *, as_json: bool, is_writing: bool, machine: Machine | None = None) -> bool:
    """Show it; whether everything is there.

    Raises:
        ProfileError: see `look`.
        PortsFileError: the settings cannot be written.
    """
    found = look(settings, machine)
    ports = ports_to_set(found)
    if is_writing and ports:
        write_ports(config, ports)
    if as_json:
        document = report_document(found) | {"written": ports if is_writing else {}}
        print(json.dumps(document, ensure_ascii=False, indent=2))  # noqa: T201 - a command line talks to its user
        return found.is_whole
    for line in report_lines(found):
        print(line)  # noqa: T201 - the same
    if ports:
        says = "已写入" if is_writing else "可用 --write 写入"
        print(f"\n{says} ({'written to' if is_writing else '--write writes to'}) {config}:")  # noqa: T201 - the same
        for name, port in ports.items():
            print(f"  {name} = {port}")  # noqa: T201 - the same
    return found.is_whole
