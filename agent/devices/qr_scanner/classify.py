"""What a code may be: what the screen waits for comes first, then the rules; several answers are never guessed away.

A WeChat code has 18 digits and begins with 10 to 15, like resident numbers of five northern provinces: without
knowing what the screen asked for, both are right. Lengths of vouchers and hospital codes are the hospital's matter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from agent.devices.qr_scanner.types import CodeKind

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_MODULUS = 11
_PATTERN_LIMIT = 200

RULES: Mapping[CodeKind, re.Pattern[str]] = MappingProxyType(
    {
        CodeKind.WECHAT_PAY: re.compile(r"1[0-5][0-9]{16}"),
        CodeKind.ALIPAY_PAY: re.compile(r"(?:2[5-9]|30)[0-9]{14,22}"),
        CodeKind.UNIONPAY_PAY: re.compile(r"62[0-9]{17}"),
        CodeKind.HEALTH_CARD: re.compile(r"[0-9A-Fa-f]{64}:[0-9](?::.{1,64})?"),
        CodeKind.INSURANCE_VOUCHER: re.compile(r"[0-9]{28}"),
        CodeKind.RESIDENT_ID: re.compile(r"[1-9][0-9]{16}[0-9Xx]"),
    }
)


def rules(patterns: Mapping[CodeKind, str]) -> Mapping[CodeKind, re.Pattern[str]]:
    """The rules with a hospital's own patterns in their places.

    Raises:
        ValueError: a pattern cannot be compiled.
    """
    own = {}
    for kind, pattern in patterns.items():
        try:
            own[kind] = re.compile(pattern[:_PATTERN_LIMIT])
        except re.error as error:
            raise ValueError(f"pattern of {kind}: {error}") from error
    return MappingProxyType({**RULES, **own})


def classify(
    text: str, expect: Collection[CodeKind], known: Mapping[CodeKind, re.Pattern[str]] = RULES
) -> tuple[CodeKind, ...]:
    """Everything the code may be among what is expected (all kinds when nothing is), in the order of the rules."""
    return tuple(
        kind
        for kind, pattern in known.items()
        if (not expect or kind in expect)
        and pattern.fullmatch(text)
        and (kind is not CodeKind.RESIDENT_ID or _check_holds(text))
    )


def _check_holds(number: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(number[:-1], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % _MODULUS] == number[-1].upper()
