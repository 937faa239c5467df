"""Scenarios: what testers do to kiosks one after the other, as a YAML file that is checked before anything is done.

A step does an `action` on a `device`, or waits until the device is as its `expect` says. `at` counts seconds from the
start, `after` from the step before; `[2, 5]` is a time drawn between. An argument `{between: [1, 90]}` or
`{one_of: [a, b]}` is drawn too; the same seed draws the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from simulators.lab.device import Device, FactValue
from simulators.lab.errors import LabError

_FILE_BYTES_MAX = 1_000_000
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Value = str | bool | int | float


class _Loader(yaml.SafeLoader):
    """As YAML 1.2 has it: `on`, `off`, `yes` and `no` are words, for `on` is the name of an argument."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads it from the class
        letter: [(tag, pattern) for tag, pattern in rows if not tag.endswith(":bool")]
        for letter, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


class ScenarioError(LabError):
    """A scenario is wrong; one line for each mistake, as file:line."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Between(_Part):
    """A whole number drawn from a range, both ends included."""

    between: tuple[int, int]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.between[0] > self.between[1]:
            raise PydanticCustomError("order", "范围应从小到大 · the smaller number comes first")
        return self


class OneOf(_Part):
    """One of several values."""

    one_of: Annotated[list[Value], Field(min_length=1, max_length=100)]


class Step(_Part):
    """One line of a scenario."""

    at: Seconds | None = None
    after: Seconds | tuple[Seconds, Seconds] | None = None
    kiosk: str | None = None
    device: str
    action: str | None = None
    arguments: dict[str, Value | Between | OneOf] = Field(default_factory=dict)
    expect: dict[str, FactValue] | None = None
    within: Annotated[float, Field(gt=0, le=600)] = 5.0

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.action is None) == (self.expect is None):
            raise PydanticCustomError("one", "每步要么 action，要么 expect · a step has either action or expect")
        if self.at is not None and self.after is not None:
            raise PydanticCustomError("one", "at 与 after 只能写一个 · a step has at or after, not both")
        if isinstance(self.after, tuple) and self.after[0] > self.after[1]:
            raise PydanticCustomError("order", "范围应从小到大 · the smaller number comes first")
        return self


class Title(_Part):
    """What the scenario is, for people."""

    zh: str
    en: str


class Scenario(_Part):
    """A whole file."""

    title: Title
    seed: int = 1
    steps: Annotated[list[Step], Field(min_length=1, max_length=10_000)]


@dataclass(frozen=True, slots=True)
class Planned:
    """A step with everything drawn; `at_s` counts from the start."""

    line: int
    at_s: float
    kiosk: str
    device: str
    action: str | None
    arguments: Mapping[str, Value]
    expect: Mapping[str, FactValue]
    within_s: float


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario and the line each step begins at."""

    file: Path
    scenario: Scenario
    lines: tuple[int, ...]

    def planned(self, kiosk: str, seed: int | None = None) -> tuple[Planned, ...]:
        """All steps in order; `kiosk` is meant where a step names none."""
        rng = random.Random(self.scenario.seed if seed is None else seed)
        at_s = 0.0
        steps = []
        for line, step in zip(self.lines, self.scenario.steps, strict=True):
            after = step.after or 0.0
            wait_s = rng.uniform(*after) if isinstance(after, tuple) else after
            at_s = at_s + wait_s if step.at is None else max(at_s, step.at)
            arguments = {name: _draw(value, rng) for name, value in step.arguments.items()}
            place = step.kiosk or kiosk
            steps.append(
                Planned(line, at_s, place, step.device, step.action, arguments, step.expect or {}, step.within)
            )
        return tuple(steps)

    def check(self, steps: Sequence[Planned], kinds: Mapping[tuple[str, str], type[Device]]) -> None:
        """Compare with the devices there are, by kiosk and component.

        Raises:
            ScenarioError: it names a device, an action, an argument or a fact that does not exist.
        """
        wrong = [f"{self.file}:{step.line}: {text}" for step in steps for text in _mistakes(step, kinds)]
        if wrong:
            raise ScenarioError("\n".join(wrong))


def _draw(value: Value | Between | OneOf, rng: random.Random) -> Value:
    match value:
        case Between():
            return rng.randint(*value.between)
        case OneOf():
            return rng.choice(value.one_of)
        case _:
            return value


def _mistakes(step: Planned, kinds: Mapping[tuple[str, str], type[Device]]) -> list[str]:
    kind = kinds.get((step.kiosk, step.device))
    if kind is None:
        return [f"没有这个设备 · no such device: {step.kiosk} {step.device}"]
    facts = {fact.name for fact in kind.facts} | {"plugged", "model"}
    if step.action is None:
        strange = sorted(set(step.expect) - facts)
        return [f"没有这个状态 · no such fact: {', '.join(strange)}; {', '.join(sorted(facts))}"] if strange else []
    row = kind.actions.get(step.action)
    if row is None:
        return [f"没有这个操作 · no such action: {step.action}; {', '.join(sorted(kind.actions))}"]
    try:
        row.arguments.model_validate(step.arguments)
    except ValidationError as wrong:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in wrong.errors(include_url=False)]
    return []


def read(file: Path) -> Script:
    """A scenario from its file.

    Raises:
        ScenarioError: it cannot be read or is not a scenario.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(_FILE_BYTES_MAX + 1)
        if len(text) > _FILE_BYTES_MAX:
            raise ScenarioError(f"{file}: 文件过大 · larger than {_FILE_BYTES_MAX} bytes")
        node = _Loader(text.decode("utf-8")).get_single_node()
        content = _Loader(text).get_single_data()
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{file}: 不是 UTF-8 · not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise ScenarioError(f"{file}:{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise ScenarioError(f"{file}: 不是 YAML · not YAML") from None
    try:
        scenario = Scenario.model_validate(content)
    except ValidationError as wrong:
        told = dict.fromkeys(
            f"{file}:{_line(node, item['loc'])}: {'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in wrong.errors(include_url=False, include_input=False)
        )
        raise ScenarioError("\n".join(told)) from None
    lines = tuple(_line(node, ("steps", at)) for at in range(len(scenario.steps)))
    return Script(file, scenario, lines)


def _line(node: Any, path: Sequence[str | int]) -> int:  # noqa: ANN401 - nodes of PyYAML have no types
    """Where the part at `path` begins, or the nearest part around it."""
    if node is None:
        return 1
    line = int(node.start_mark.line) + 1
    for name in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
        elif isinstance(node, yaml.MappingNode):
            found = [value for key, value in node.value if key.value == name]
            if not found:
                break
            node = found[0]
        else:
            break
        line = int(node.start_mark.line) + 1
    return line
