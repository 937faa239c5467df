"""What is loaded when it is first asked for: the engineer's part, which a kiosk does without for months."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel

from agent.local_api.dialogue import Command, Json, Progress

ENGINEERS: Final = (
    "Maintenance.State", "Maintenance.Open", "Maintenance.Close", "Maintenance.Test", "Maintenance.Confirm",
    "Maintenance.Firmware", "Maintenance.UpdateFirmware", "Maintenance.BeginPaper", "Maintenance.Paper",
    "Maintenance.MovePaper", "Maintenance.Refilled",
)  # fmt: skip
"""The commands of `maintenance.verbs` and `consumables.verbs`, known without loading either."""


class _Runs(Protocol):
    async def run(self) -> None:
        """Until cancelled."""


T = TypeVar("T", bound=_Runs)


class Late(Generic[T]):
    """A part that is made at its first use, and runs from then on."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Nothing is made yet."""
        self.made: T | None = None
        self._make = make
        self._is_made = asyncio.Event()

    def get(self) -> T:
        """The part."""
        if self.made is None:
            self.made = self._make()
            self._is_made.set()
        return self.made

    async def run(self) -> None:
        """Run it as soon as there is one, until cancelled."""
        await self._is_made.wait()
        await self.get().run()


@dataclass(frozen=True, slots=True)
class LateCommand:
    """A command whose code is loaded when it is first asked for."""

    name: str
    load: Callable[[], Mapping[str, Command]]

    @property
    def request(self) -> type[BaseModel]:
        """See `Command`."""
        return self.load()[self.name].request

    @property
    def limit_s(self) -> float:
        """See `Command`."""
        return self.load()[self.name].limit_s

    async def run(self, request: Any, progress: Progress) -> Json:  # noqa: ANN401 - an instance of `request`
        """See `Command`."""
        return await self.load()[self.name].run(request, progress)
