"""structlog for every process: events `noun.verb` with fields, and the one processor that redacts.

Redaction is the last line of defence, not a licence to log identities: values under telling keys are
replaced, and identity numbers, phones, bank cards and private keys inside any text are masked.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

MASK: Final = "***"
_SECRET_WORDS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "totp",
    "authorization",
    "cookie",
    "private_key",
    "pairing_code",
    "pin_block",
)
_SECRET_KEYS: Final = frozenset(
    {
        "pin",
        "otp",
        "code_verifier",
        "csr",
        "photo",
        "face",
        "id_number",
        "id_card",
        "phone",
        "mobile",
        "patient_name",
        "card_number",
        "pan",
    }
)
_SAFE_KEYS: Final = frozenset({"token_file", "password_file", "secret_file"})
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_RESIDENT: Final = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![0-9A-Za-z])"
)
_RESIDENT_OLD: Final = re.compile(
    r"(?<![0-9A-Za-z.])[1-9]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?![0-9A-Za-z.])"
)
_PHONE: Final = re.compile(r"(?<![0-9A-Za-z.])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![0-9A-Za-z.])")
_CARD: Final = re.compile(r"(?<![0-9A-Za-z.])\d(?:[ -]?\d){12,18}(?![0-9A-Za-z.])")
_DIGIT_RUN: Final = re.compile(r"\d[\d -]{9}")
_LUHN_DOUBLE_LIMIT: Final = 9

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """The redaction processor: masks values under telling keys and identities inside any text."""
    for key, value in event.items():
        event[key] = _masked(str(key), value)
    return event


def mask_text(text: str) -> str:
    """Replace identity numbers, phones, bank cards and private keys inside `text`."""
    if "PRIVATE KEY" in text:
        text = _PEM.sub(MASK, text)
    if _DIGIT_RUN.search(text) is None:
        return text
    for pattern in (_RESIDENT, _RESIDENT_OLD):
        text = pattern.sub(MASK, text)
    text = _CARD.sub(lambda found: MASK if _passes_luhn(found.group()) else found.group(), text)
    return _PHONE.sub(MASK, text)


def _masked(key: str, value: object) -> object:
    lower = key.lower()
    if lower not in _SAFE_KEYS and (lower in _SECRET_KEYS or any(word in lower for word in _SECRET_WORDS)):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, int | float | bool) or value is None:
        return value if not isinstance(value, int) or isinstance(value, bool) else _masked_number(value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item) for item in value]
    return mask_text(str(value))


def _masked_number(value: int) -> int | str:
    """A bare number is masked when it can only be an identity: a resident number with its eighteen digits."""
    return MASK if _RESIDENT.fullmatch(str(value)) else value


def _passes_luhn(text: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed([int(character) for character in text if character.isdigit()])):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - _LUHN_DOUBLE_LIMIT if doubled > _LUHN_DOUBLE_LIMIT else doubled
    return total % 10 == 0


def configure(
    process: str,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    json: bool = True,
) -> None:
    """Set up logging for this process, once, at its start; the standard library's loggers join in.

    Args:
        process: names the process in every line.
        level: debug, info, warning or error.
        stream: standard error by default.
        json: one JSON object a line; otherwise lines for people.
    """
    out = stream if stream is not None else sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _stamp(process),
        redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # lines are rare, and a cached logger would outlive its configuration
    )
    _join_standard_library(number)


def _stamp(process: str) -> Callable[[object, str, Event], Event]:
    def add(_logger: object, _method: str, event: Event) -> Event:
        event["process"] = process
        return event

    return add


class _Forward(logging.Handler):
    """Hands records of the standard library to structlog, where they are redacted like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).log(
            record.levelno,
            "library.message",
            message=record.getMessage(),
            library=record.name,
            exc_info=record.exc_info or None,
        )


def _join_standard_library(number: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(number, logging.WARNING))


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `module=name`; may be called at import time."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger
