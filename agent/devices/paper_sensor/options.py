"""What a profile may say of a board: how it is wired, and its numbers; an unknown key is refused.

Wiring is one key per contact: `input_0: paper_low`, `input_3: "!door_open"` for a contact that is closed in the good
state, `light_1: receipt_printer`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.paper_sensor.types import InputRole
from wire.profile import DeviceProfile

_Seconds = Annotated[float, Field(gt=0, le=60)]
_Address = Annotated[int, Field(ge=0, le=0xFFFF)]
_Channel = Annotated[int, Field(ge=0, le=255)]
_Place = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")]
_INPUT, _LIGHT = "input_", "light_"


class Dialect(StrEnum):
    """The `dialect` of a profile."""

    RTU = "modbus_rtu"
    TCP = "modbus_tcp"


class InputWiring(BaseModel):
    """One input; `is_inverted` when the contact is open while the word is true."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    channel: _Channel
    role: InputRole
    is_inverted: bool = False


class Options(BaseModel):
    """Wiring and numbers of a board."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    inputs: tuple[InputWiring, ...] = ()
    lights: dict[_Place, _Channel] = Field(default_factory=dict)
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    read_function: Literal[1, 2] = 2
    first_input: _Address = 0
    first_light: _Address = 0
    model_answer: str | None = None
    """What its identification must hold; set only for a board that has one. None: nobody asks."""
    poll_s: _Seconds = 0.2
    debounce_s: _Seconds = 0.05
    answer_s: _Seconds = 0.5
    blink_s: _Seconds = 0.5

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a board does not know, or wires one thing twice.
        """
        name = f"profile {profile.vendor}-{profile.model}"
        both = profile.capabilities.keys() & profile.quirks.keys()
        if both:
            raise ValueError(f"{name} says these twice: {', '.join(sorted(both))}")
        plain: dict[str, object] = {}
        inputs: list[dict[str, object]] = []
        lights: dict[str, object] = {}
        for key, value in {**profile.capabilities, **profile.quirks}.items():
            if key.startswith(_INPUT):
                word = str(value)
                contact = {"channel": key.removeprefix(_INPUT), "role": word.removeprefix("!")}
                inputs.append({**contact, "is_inverted": word.startswith("!")})
            elif key.startswith(_LIGHT):
                if str(value) in lights:
                    raise ValueError(f"{name} wires {value} twice")
                lights[str(value)] = key.removeprefix(_LIGHT)
            else:
                plain[key] = value
        found = cls.model_validate({**plain, "inputs": inputs, "lights": lights})
        if len({wiring.role for wiring in found.inputs}) != len(found.inputs):
            raise ValueError(f"{name} wires one input twice")
        return found
