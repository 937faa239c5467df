"""What a profile may say of a receipt printer, in `capabilities` and `quirks`; an unknown key is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.receipt_printer.chinese import Charset
from agent.devices.receipt_printer.frames_page import Cut
from agent.devices.receipt_printer.layout import PageFormat
from wire.faults import Fault
from wire.profile import DeviceProfile

_BITS_PER_BYTE = 10  # with start and stop bit


class Dialect(StrEnum):
    """The `dialect` of a profile."""

    EPSON = "escpos"
    CUSTOM = "escpos_custom"


class Clear(StrEnum):
    """How a half-sent receipt is got rid of, so that it never prints in front of the next patient.

    `dle_dc4` is answered. `padding` ends an unfinished command with NULs; what was whole before it still prints.
    """

    DLE_DC4 = "dle_dc4"
    PADDING = "padding"


class Options(BaseModel):
    """Numbers and habits of a model; everything a manual does not settle has its place here."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    columns: Annotated[int, Field(ge=16, le=120)] = 48
    charset: Charset = Charset.GB18030
    cut: Cut = Cut.PARTIAL
    qr: bool = True
    near_end: bool = False
    process_id: bool = False
    fence: bool = False
    asb: bool = False
    identity: bool = False
    presenter: bool = False
    ejector_status: bool = False
    retract: bool = False
    retract_bin_capacity: Annotated[int, Field(ge=0, le=1_000)] = 0
    speed_mm_s: Annotated[int, Field(ge=20, le=600)] = 150
    dots_per_mm: Annotated[float, Field(ge=5, le=24)] = 8.0

    clear: Clear = Clear.PADDING
    chinese_large: bool = False
    information_header: Annotated[int, Field(ge=0, le=127)] | None = None
    model_answer: str | None = None
    mechanical_means: Fault = Fault.DEVICE_ERROR
    cut_s: Annotated[float, Field(ge=0, le=10)] = 1.5
    chunk_bytes: Annotated[int, Field(ge=16, le=16_384)] = 1_024
    answer_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    poll_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    present_steps: Annotated[int, Field(ge=1, le=255)] = 128
    take_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    retract_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    grace_s: Annotated[float, Field(ge=0, le=30)] = 1.0
    patience_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    write_s: Annotated[float, Field(gt=0, le=120)] = 10.0

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a receipt printer does not know.
        """
        both = profile.capabilities.keys() & profile.quirks.keys()
        if both:
            raise ValueError(f"profile {profile.vendor}-{profile.model} says these twice: {', '.join(sorted(both))}")
        return cls.model_validate({**profile.capabilities, **profile.quirks})

    def page_format(self) -> PageFormat:
        """What the layout needs of this."""
        return PageFormat(self.columns, self.charset, self.cut, qr=self.qr, chinese_large=self.chinese_large)

    def print_s(self, data_bytes: int, height_dots: int, baud: int | None) -> float:
        """About how long a receipt takes, from its first byte to the cut."""
        line_s = data_bytes * _BITS_PER_BYTE / baud if baud else 0.0
        return line_s + height_dots / self.dots_per_mm / self.speed_mm_s + self.cut_s
