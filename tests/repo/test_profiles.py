"""Profiles are data: each file fits its schema, and kiosk models name devices that exist."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from support.tree import ROOT, files
from wire.profile import Capability, DeviceProfile, KioskProfile

M = TypeVar("M", bound=BaseModel)


def _load(path: Path) -> Any:  # noqa: ANN401 - a YAML document
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _profiles(folder: str, model: type[M]) -> dict[str, M]:
    paths = [path for path in files() if path.parent == Path("firmware_profiles") / folder and path.suffix == ".yaml"]
    return {path.stem: model.model_validate(_load(path)) for path in paths}


def test_devices_fit_the_schema_and_their_file_name() -> None:
    for name, device in _profiles("devices", DeviceProfile).items():
        assert name == f"{device.vendor}-{device.model}".lower()


def test_each_kind_of_device_has_at_least_two_models() -> None:
    """Whoever reads the second sees what is a model's and what is the dialect's. A host is the machine itself."""
    models = Counter(device.capability for device in _profiles("devices", DeviceProfile).values())
    assert {kind for kind in Capability if models[kind] < 2} == {Capability.HOST}


def test_kiosk_models_name_devices_that_exist() -> None:
    devices = _profiles("devices", DeviceProfile)
    for name, kiosk in _profiles("kiosks", KioskProfile).items():
        assert name == kiosk.model.lower()
        assert {place.device for place in kiosk.devices} <= devices.keys()
        components = [place.component for place in kiosk.devices]
        assert len(components) == len(set(components))


def test_an_unknown_key_in_a_profile_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        KioskProfile.model_validate({"model": "k1", "title_zh": "一型", "title_en": "One", "colour": "blue"})
