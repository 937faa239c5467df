"""What NUT's variables mean: `ups.status` is a list of flags, the rest are numbers as text."""

from __future__ import annotations

from collections.abc import Mapping

from agent.devices.ups.options import Options
from agent.devices.ups.types import PowerReport, PowerSource
from wire.envelope import Scalar
from wire.faults import Fault

POWER_FAULTS = frozenset({Fault.ON_BATTERY, Fault.BATTERY_LOW, Fault.BATTERY_WORN})
"""What stays up while nothing is heard: silence is no recovery."""

_TROUBLES: Mapping[str, str] = {"OVER": "overloaded", "OFF": "output off", "BYPASS": "bypassed, no protection"}
_DETAIL_CHARACTERS = 80


def flags_of(variables: Mapping[str, str]) -> frozenset[str]:
    """The flags of `ups.status`."""
    return frozenset(variables.get("ups.status", "").split())


def power_of(variables: Mapping[str, str], options: Options) -> PowerReport:
    """What the kiosk runs on, and for how long."""
    flags = flags_of(variables)
    source = PowerSource.UNKNOWN
    for flag, meant in (("OL", PowerSource.MAINS), ("OB", PowerSource.BATTERY), ("OFF", PowerSource.OFF)):
        if flag in flags:
            source = meant
    charge, runtime = _number(variables, "battery.charge"), _number(variables, "battery.runtime")
    is_low = "LB" in flags
    is_low |= charge is not None and charge <= options.charge_low_percent
    is_low |= runtime is not None and runtime <= options.runtime_low_s
    load = _number(variables, "ups.load")
    return PowerReport(
        source=source,
        must_shut_down="FSD" in flags or (source is PowerSource.BATTERY and is_low),
        charge_percent=round(charge) if charge is not None else None,
        runtime_s=round(runtime) if runtime is not None else None,
        load_percent=round(load) if load is not None else None,
        input_v=_number(variables, "input.voltage"),
    )


def faults_of(variables: Mapping[str, str], power: PowerReport) -> dict[Fault, str]:
    """The conditions that are up."""
    flags, found = flags_of(variables), dict[Fault, str]()
    if power.source is PowerSource.BATTERY:
        found[Fault.ON_BATTERY] = ""
    if power.must_shut_down:
        found[Fault.BATTERY_LOW] = f"{power.charge_percent} %" if power.charge_percent is not None else ""
    if "RB" in flags or variables.get("ups.test.result", "").lower().startswith(("fail", "bad battery")):
        found[Fault.BATTERY_WORN] = ""
    troubles = [text for flag, text in _TROUBLES.items() if flag in flags]
    if "ALARM" in flags:
        troubles.append(variables.get("ups.alarm", "alarm")[:_DETAIL_CHARACTERS])
    if troubles:
        found[Fault.DEVICE_ERROR] = "; ".join(troubles)
    return found


def words_of(power: PowerReport) -> dict[str, Scalar]:
    """The status for the local API; what is not known is left out."""
    words: dict[str, Scalar] = {"power": power.source.value}
    numbers = {
        "battery_percent": power.charge_percent,
        "runtime_s": power.runtime_s,
        "load_percent": power.load_percent,
        "input_v": power.input_v,
    }
    return words | {name: number for name, number in numbers.items() if number is not None}


def _number(variables: Mapping[str, str], name: str) -> float | None:
    """A number that a supply can mean; `nan` and what is out of all bounds is none."""
    try:
        number = float(variables[name])
    except (KeyError, ValueError):
        return None
    return number if 0 <= number < 10**7 else None
