"""Parameters of a call, read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulators.his.model import Code, Refused

Parameters = Mapping[str, Any]  # Any: a JSON document
Data = dict[str, Any]  # Any: a JSON document
_TEXT_MAX: Final = 200
"""Longer than any number."""
_TEXTS_MAX: Final = 100
"""More bills than any patient has."""


def text(parameters: Parameters, name: str) -> str:
    """A text that must be there."""
    value = parameters.get(name)
    if not isinstance(value, str) or not value or len(value) > _TEXT_MAX:
        raise Refused(Code.PARAMETER, f"缺少参数 {name}")
    return value


def whole(parameters: Parameters, name: str) -> int:
    """A number from zero on; the SOAP interface has it as a text."""
    value = parameters.get(name)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused(Code.PARAMETER, f"参数 {name} 错误")
    return value


def texts(parameters: Parameters, name: str) -> list[str]:
    """Several texts."""
    value = parameters.get(name)
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= _TEXTS_MAX
        or not all(isinstance(one, str) for one in value)
    ):
        raise Refused(Code.PARAMETER, f"参数 {name} 错误")
    return value
