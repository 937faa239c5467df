"""Settings: a TOML file, overridden by environment variables, secrets by reference to files.

Own loader on `tomllib` and pydantic: the settings library costs a small process more memory than the two rules
here need.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

M = TypeVar("M", bound=BaseModel)
_SEPARATOR = "__"
_SECRET_LIMIT_BYTES = 65_536
_FILE_LIMIT_BYTES = 1_048_576


class SettingsError(Exception):
    """The settings cannot be used; the text names file or variable, key and rule, never a value."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A reference to a secret: a file that only its owner may read. In settings it is written as a path."""

    path: Path

    def read(self) -> str:
        """The secret, without surrounding white space.

        Raises:
            SettingsError: missing, empty, not text, readable by others, or too large.
        """
        try:
            with self.path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if stat.S_IMODE(facts.st_mode) & 0o077:
                    raise SettingsError(f"{self.path} may be read by others: run chmod 600 on it")
                if facts.st_size > _SECRET_LIMIT_BYTES:
                    raise SettingsError(f"{self.path} is too large for a secret")
                secret = file.read(_SECRET_LIMIT_BYTES).decode().strip()
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path} is no UTF-8 text") from None
        if not secret:
            raise SettingsError(f"{self.path} is empty")
        return secret

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic makes one: from a path, kept when it is one already."""
        return core_schema.no_info_before_validator_function(
            lambda given: given.path if isinstance(given, SecretFile) else given,
            core_schema.no_info_after_validator_function(cls, handler(Path)),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: str(value.path)),
        )


def load(
    model: type[M],
    *,
    file: Path | None = None,
    env_prefix: str,
    environ: Mapping[str, str] | None = None,
) -> M:
    """Read settings: defaults of the model, then the file, then `PREFIX_SECTION__KEY` variables.

    A file that is None or does not exist counts as empty. A variable that holds a list or a section
    is written as in TOML (`["a", "b"]`, `{port = 5}`), every other one as plain text.

    Raises:
        SettingsError: unreadable or not TOML, unknown key, wrong value; names every one of them.
        TypeError: a part of the model would swallow unknown keys.
    """
    _insist_on_strictness(model)
    document = _read_file(file)
    origins: dict[str, str] = {}
    found = os.environ if environ is None else environ
    prefix = env_prefix if env_prefix.endswith("_") else f"{env_prefix}_"
    for name, text in sorted(found.items()):
        if name.startswith(prefix) and name != prefix:
            keys = name[len(prefix) :].lower().split(_SEPARATOR)
            if "" in keys:
                raise SettingsError(f"{name}: not the name of a setting")
            _put(document, keys, _parse(text, model, keys), name)
            origins[".".join(keys)] = name
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise SettingsError("; ".join(_explain(item, file, origins) for item in problems)) from None


def _insist_on_strictness(model: type[BaseModel]) -> None:
    """Unknown keys are only found where every part forbids them."""
    if model.model_config.get("extra") != "forbid":
        raise TypeError(f"{model.__name__} must be declared with extra='forbid' to be read as settings")
    for item in model.model_fields.values():
        for part in _models_in(item.annotation):
            _insist_on_strictness(part)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation there is
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        with file.open("rb") as source:
            content = source.read(_FILE_LIMIT_BYTES + 1)
        if len(content) > _FILE_LIMIT_BYTES:
            raise SettingsError(f"{file} is larger than {_FILE_LIMIT_BYTES} bytes")
        return tomllib.loads(content.decode())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is no UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error


def _parse(text: str, model: type[BaseModel], keys: list[str]) -> object:
    """The value of a variable: lists and sections are TOML, everything else pydantic reads from the text."""
    if not text.lstrip().startswith(("[", "{")) or _wants_text(_annotation(model, keys)):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _annotation(model: type[BaseModel], keys: list[str]) -> Any:  # noqa: ANN401 - any annotation there is
    annotation: Any = model
    for key in keys:
        fields = getattr(annotation, "model_fields", {})
        if key not in fields:
            return None
        annotation = fields[key].annotation
    return annotation


def _wants_text(annotation: Any) -> bool:  # noqa: ANN401 - the same
    if get_origin(annotation) in {Union, UnionType, Annotated}:
        return any(_wants_text(part) for part in get_args(annotation))
    return annotation is str


def _put(document: dict[str, Any], keys: list[str], value: object, name: str) -> None:
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{name}: {key} is not a section")
        document = inner
    document[keys[-1]] = value


def _explain(item: ErrorDetails, file: Path | None, origins: Mapping[str, str]) -> str:
    dotted = ".".join(str(part) for part in item["loc"])
    origin = next(
        (name for key, name in origins.items() if f"{dotted}.".startswith(f"{key}.") or key.startswith(f"{dotted}.")),
        None,
    )
    where = origin if origin is not None else f"{file if file is not None else 'settings'}: {dotted}"
    what = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
    return f"{where}: {what}"
