"""What a board of sensors and lights is to the rest of the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol


class InputRole(StrEnum):
    """What a switch or light barrier watches; on means that the word is true."""

    PAPER_LOW = "paper_low"
    PAPER_OUT = "paper_out"
    DOOR_OPEN = "door_open"
    TAMPERED = "tampered"
    OUTPUT_FULL = "output_full"
    PERSON_NEAR = "person_near"


class LightMode(StrEnum):
    """How a guidance light shines."""

    OFF = "off"
    ON = "on"
    BLINK = "blink"


class PaperSensor(Protocol):
    """Sensors and lights of one board."""

    @property
    def levels(self) -> Mapping[InputRole, bool | None]:
        """What every wired input says, debounced; None is not known."""

    @property
    def places(self) -> Sequence[str]:
        """Where it has lights."""

    async def set_light(self, place: str, mode: LightMode) -> None:
        """Light the way to a slot.

        Raises:
            KeyError: the board has no light at this place.
            DeviceFault: the board did not confirm it.
            LinkError: the link failed.
        """
