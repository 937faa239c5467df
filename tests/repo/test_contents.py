"""What no file of this repository may contain: secrets, places of one machine, names of registries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from support.tree import text_files

# Written in parts, because the whole words must not stand in the tree.
_REGISTRIES = re.compile(
    "|".join(
        (
            r"files\.python" + r"hosted\.org",
            r"py" + r"pi\.org",
            r"registry\.npm" + r"js\.org",
            r"npm" + r"mirror\.com",
            r"deb\.deb" + r"ian\.org",
            r"tuna\.tsing" + r"hua\.edu",
            r"--(extra-)?index" + r"-url[ =]",
            r'"reso' + r'lved":\s*"http',
        )
    )
)
_MACHINE_PATHS = re.compile(r"(?<![\w.-])/(work|root|home/(?!kiosk\b)[a-z]\w*|Users|tmp/design)/")
_SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(?:[A-Za-z0-9+/=]{40,}\s+)"),
    "an access key": re.compile(r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|xox[abprs]-[A-Za-z0-9-]{20,})\b"),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}\b"),
    "a TOTP secret": re.compile(r"otpauth://totp/\S+secret=[A-Z2-7]{16,}"),
    "a password in an address": re.compile(r"\b(?:postgresql|mqtts?|https?|amqps?)(?:\+\w+)?://\w+:[^\s@/{}<>$]{4,}@"),
}
_MADE_UP_IN_TESTS = {"a password in an address", "a TOTP secret"}
_PII = re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


def _hits(pattern: re.Pattern[str]) -> Iterator[str]:
    for path, text in text_files():
        for match in pattern.finditer(text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}"


def test_no_registry_is_named() -> None:
    assert list(_hits(_REGISTRIES)) == []


def test_no_path_of_one_machine() -> None:
    assert list(_hits(_MACHINE_PATHS)) == []


def test_no_secret() -> None:
    for what, pattern in _SECRETS.items():
        found = [hit for hit in _hits(pattern) if what not in _MADE_UP_IN_TESTS or not hit.startswith("tests/")]
        assert found == [], what


def _could_be_a_person(number: str) -> bool:
    """Whether the check digit of GB 11643 holds; region 000000 to 109999 and test regions do not exist."""
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11] == number[17].upper()


def test_no_resident_id_that_could_be_real() -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        for path, text in text_files()
        for match in _PII.finditer(text)
        if path.parts[0] != "tests" and _could_be_a_person(match.group())
    ]
    assert found == []
