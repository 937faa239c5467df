"""Reads `firmware_profiles/`: which devices a kiosk has and how to speak to them. Errors name the file and the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.errors import ProfileError
from wire.profile import DeviceProfile, KioskDevice, KioskProfile

M = TypeVar("M", bound=BaseModel)
FILE_BYTES_MAX = 64 * 1_024
INSTALLED = Path(__file__).resolve().parents[2] / "firmware_profiles"
"""Where a bundle puts them: beside the packages."""


@dataclass(frozen=True, slots=True)
class Place:
    """One device in its place: what the kiosk's profile says of the place, and the device's own profile."""

    place: KioskDevice
    profile: DeviceProfile
    port: str | None


def find_kiosk(chosen: Path, folder: Path | None = None) -> Path:
    """The file of a kiosk model: a path as it is, a name below `folder` or the profiles that came with the agent."""
    if len(chosen.parts) > 1 or chosen.suffix:
        return chosen
    return (folder or INSTALLED) / "kiosks" / f"{chosen}.yaml"


def load_kiosk(file: Path, ports: Mapping[str, str] | None = None) -> list[Place]:
    """The devices of a kiosk model; `ports` says where a component is on this machine.

    Device profiles are found beside the kiosk's: `../devices/NAME.yaml`.

    Raises:
        ProfileError: a file is missing or wrong, or a port is given for a component that the kiosk does not have.
    """
    kiosk = load(file, KioskProfile)
    given = dict(ports or {})
    found: list[Place] = []
    for place in kiosk.devices:
        if place.component in {other.place.component for other in found}:
            raise ProfileError(f"{file}: devices.component: {place.component!r} is there twice")
        device = load(file.parent.parent / "devices" / f"{place.device}.yaml", DeviceProfile)
        found.append(Place(place, device, given.pop(place.component, place.port)))
    if given:
        raise ProfileError(f"{file}: devices.component: no {', '.join(sorted(given))}, but a port is set for it")
    return found


def check(file: Path) -> str:
    """Whether a device's or a kiosk's profile can be used, and what it is for.

    Raises:
        ProfileError: see `load`; or nothing speaks its dialect, or its link cannot be what it says.
    """
    from agent.devices.registry import check_link, driver_of  # noqa: PLC0415 - the registry needs this module

    if "capability" in _document(file):
        profile = load(file, DeviceProfile)
        driver_of(profile)
        check_link(profile, None)
        return f"{profile.capability} {profile.vendor} {profile.model}"
    places = load_kiosk(file)
    for place in places:
        driver_of(place.profile)
        check_link(place.profile, place.port)
    return f"{len(places)} 个设备 (devices)"


def load(file: Path, model: type[M]) -> M:
    """One profile.

    Raises:
        ProfileError: unreadable, no YAML mapping, an unknown key or a wrong value.
    """
    document = _document(file)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{file}: {key}: {first['msg']}") from None


def _document(file: Path) -> dict[str, object]:
    import yaml  # noqa: PLC0415 - only while profiles are read, see tests/agent/test_footprint.py

    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise ProfileError(f"{file}: larger than {FILE_BYTES_MAX} bytes")
        document = yaml.safe_load(text)
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ProfileError(f"{file}: {where}no YAML") from None
    if not isinstance(document, dict):
        raise ProfileError(f"{file}: no mapping of keys to values")
    return document
