"""Actions of devices as a table: a row is a button of the page, arguments of the command line, a call of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulators.lab.errors import BadArguments

D = TypeVar("D")
A = TypeVar("A", bound="Arguments")


class Group(StrEnum):
    """Where an action stands on the page."""

    PATIENT = "patient"
    """What a patient does."""
    STAFF = "staff"
    """What staff does: refill, close, repair."""
    WEAR = "wear"
    """What happens to the device by itself."""
    LINK = "link"
    """What happens on the way to the host."""


class Arguments(BaseModel):
    """Arguments of one action; each field has labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArguments(Arguments):
    """For actions that need none."""


def labelled(default: Any, zh: str, en: str, **limits: Any) -> Any:  # noqa: ANN401 - a pydantic field stands for any type
    """A field with its labels; without a default pass `...`."""
    return Field(default, json_schema_extra={"zh": zh, "en": en}, **limits)


@dataclass(frozen=True, slots=True)
class Action(Generic[D]):
    """One thing that can be done to a device."""

    name: str
    zh: str
    en: str
    group: Group
    arguments: type[Arguments]
    work: Callable[[D, Any], Awaitable[None]]  # Any: the arguments of this action, see `action`

    async def perform(self, device: D, given: Mapping[str, object]) -> None:
        """Do it.

        Raises:
            BadArguments: `given` is not what it takes; nothing was done.
            ActionRefused: it makes no sense now.
        """
        try:
            arguments = self.arguments.model_validate(given)
        except ValidationError as wrong:
            found = wrong.errors(include_url=False, include_context=False, include_input=False)
            known = self.arguments.model_fields
            raise BadArguments([_error(item["loc"], item["type"], item["msg"], known) for item in found]) from None
        await self.work(device, arguments)


def action(
    name: str, zh: str, en: str, group: Group, arguments: type[A], work: Callable[[D, A], Awaitable[None]]
) -> Action[D]:
    """A row of a device's table."""
    return Action(name, zh, en, group, arguments, work)


def table(*rows: Iterable[Action[D]]) -> dict[str, Action[D]]:
    """The actions by name; a later row replaces an earlier one of the same name."""
    return {row.name: row for part in rows for row in part}


def _error(where: tuple[int | str, ...], code: str, message: str, known: Mapping[str, object]) -> dict[str, str]:
    first = str(where[0]) if where and where[0] in known else "*"
    return {"location": f"arguments.{first}", "code": code, "message": message}


class ArgumentKind(StrEnum):
    """Which control the page shows."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    SWITCH = "switch"
    CHOICE = "choice"


class ArgumentRow(BaseModel):
    """One argument, for people and programs."""

    name: str
    zh: str
    en: str
    kind: ArgumentKind
    required: bool
    default: str | float | bool | None = None
    choices: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None


class ActionRow(BaseModel):
    """One action, for people and programs."""

    name: str
    zh: str
    en: str
    group: Group
    arguments: list[ArgumentRow]


_KINDS = {
    "string": ArgumentKind.TEXT,
    "integer": ArgumentKind.WHOLE,
    "number": ArgumentKind.NUMBER,
    "boolean": ArgumentKind.SWITCH,
}


def describe(row: Action[Any]) -> ActionRow:  # Any: of whatever device
    """What the page and the command line show of an action."""
    schema = row.arguments.model_json_schema()
    required = set(schema.get("required", ()))
    return ActionRow(
        name=row.name,
        zh=row.zh,
        en=row.en,
        group=row.group,
        arguments=[
            _argument(name, part, schema.get("$defs", {}), is_required=name in required)
            for name, part in schema.get("properties", {}).items()
        ],
    )


def _argument(name: str, part: Mapping[str, Any], defs: Mapping[str, Any], *, is_required: bool) -> ArgumentRow:
    """From the JSON Schema of one field; `part` is as pydantic writes it."""
    reference = part.get("$ref", "").rpartition("/")[2]
    choices = defs[reference]["enum"] if reference else part.get("enum")
    return ArgumentRow(
        name=name,
        zh=part["zh"],
        en=part["en"],
        kind=ArgumentKind.CHOICE if choices else _KINDS[part["type"]],
        required=is_required,
        default=part.get("default"),
        choices=choices,
        minimum=part.get("minimum", part.get("exclusiveMinimum")),
        maximum=part.get("maximum", part.get("exclusiveMaximum")),
    )
