"""structlog for every process: events `noun.verb` with fields, and the one processor that redacts.

Redaction is the last line of defence, not a licence to log identities: values under telling keys are
replaced, and identity numbers, phones, bank cards, private keys and credentials inside any text are masked.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TextIO

# structlog's renderer for developers loads rich wherever that is installed: 5 MiB that no process of ours uses.
_without_rich = "rich" not in sys.modules
if _without_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python spells "not importable"
import structlog  # noqa: E402 - see above

if _without_rich:
    del sys.modules["rich"]

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
        "full_name",
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
    r"(?<!\d)[1-9]\d{5}[ -]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[\dXx](?!\d)"
)
_RESIDENT_OLD: Final = re.compile(
    r"(?<![0-9A-Za-z])(?<!\d\.)[1-9]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?![0-9A-Za-z]|\.\d)"
)
_PHONE: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d\.)(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![0-9A-Za-z]|\.\d)")
_CARD: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d\.)\d(?:[ -]?\d){12,18}(?![0-9A-Za-z]|\.\d)")
_CARD_NUMBER: Final = re.compile(r"[3-69]\d{15,18}")
"""A bare number is taken for a card only when it begins like one: clocks count in numbers of this length."""
_SECRET_HINT: Final = re.compile(r"passw|secret|token|totp|authoriz|cookie|bearer|://|PRIVATE KEY", re.IGNORECASE)
_SECRET_TEXTS: Final = (
    (_PEM, MASK),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), MASK),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (
        re.compile(
            r"((?:password|passwd|passphrase|secret|token|totp|authorization|cookie)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)
_DIGIT_RUN: Final = re.compile(r"\d[\d -]{9}")
_FULL_WIDTH: Final = {ord("０") + digit: ord("0") + digit for digit in range(10)} | {ord("Ｘ"): "X", ord("ｘ"): "x"}
_LUHN_DOUBLE_LIMIT: Final = 9

Event = MutableMapping[str, Any]


def redactor(secret_keys: Iterable[str] = ()) -> Callable[[object, str, Event], Event]:
    """The redaction processor: masks values under telling keys and identities inside any text.

    Args:
        secret_keys: more keys whose values are never shown, lower case, whole names.
    """
    keys = _SECRET_KEYS | frozenset(secret_keys)

    def redact_event(_logger: object, _method: str, event: Event) -> Event:
        for key, value in event.items():
            event[key] = _masked(str(key), value, keys)
        return event

    return redact_event


redact = redactor()
"""The processor without keys of a process's own."""


def mask_text(text: str) -> str:
    """Replace identity numbers, phones, bank cards, private keys and written-out credentials inside `text`."""
    if _SECRET_HINT.search(text) is not None:
        for pattern, mask in _SECRET_TEXTS:
            text = pattern.sub(mask, text)
    if _DIGIT_RUN.search(text) is None:  # `\\d` takes full-width digits too
        return text
    text = text if text.isascii() else text.translate(_FULL_WIDTH)
    for pattern in (_RESIDENT, _RESIDENT_OLD):
        text = pattern.sub(MASK, text)
    text = _CARD.sub(lambda found: MASK if _passes_luhn(found.group()) else found.group(), text)
    return _PHONE.sub(MASK, text)


def _masked(key: str, value: object, keys: frozenset[str]) -> object:
    lower = key.lower()
    if lower not in _SAFE_KEYS and (lower in keys or any(word in lower for word in _SECRET_WORDS)):
        return MASK
    match value:
        case bool() | float() | None:
            return value
        case int():
            return _masked_number(value)
        case Mapping():
            return {mask_text(str(inner)): _masked(str(inner), item, keys) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked("", item, keys) for item in value]
        case _:
            return mask_text(str(value))


def _masked_number(value: int) -> int | str:
    """A bare number is masked when it is built like a resident number or a bank card."""
    text = str(value)
    if _RESIDENT.fullmatch(text) or (_CARD_NUMBER.fullmatch(text) and _passes_luhn(text)):
        return MASK
    return value


def _passes_luhn(text: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed([int(character) for character in text if character.isdecimal()])):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - _LUHN_DOUBLE_LIMIT if doubled > _LUHN_DOUBLE_LIMIT else doubled
    return total % 10 == 0


def configure(
    process: str,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    json: bool = True,
    secret_keys: Iterable[str] = (),
) -> None:
    """Set up logging for this process, once, at its start; the standard library's loggers join in.

    Args:
        process: names the process in every line.
        level: debug, info, warning or error.
        stream: standard error by default.
        json: one JSON object a line; otherwise lines for people.
        secret_keys: more keys whose values are never shown, see `redactor`.

    Raises:
        ValueError: no such level.
    """
    out = stream if stream is not None else sys.stderr
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no such log level: {level}")
    shared: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _stamp(process),
        redactor(secret_keys),
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
