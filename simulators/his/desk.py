"""Where both interfaces meet their requests: faults are played, books are saved, then it answers."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from kit.supervise import TaskGroup, spawn
from simulators.faults import Fault, FaultScript, ScriptedFault
from simulators.his.hospital import Hospital
from simulators.his.model import Books, Late, Refused, books_of
from simulators.his.parameters import Data, Parameters

BOOKS_FILE: Final = "his-books.json"
READING: Final = frozenset(
    {
        "patient/find",
        "register/department_list",
        "register/schedule_group",
        "register/schedule_details",
        "bill/unpaidfees",
        "bill/unpaidfees_details",
        "bill/settlement_pre",
        "other/trade_check",
        "other/trade_list",
    }
)
"""What changes nothing; the books are not written for it."""
_DELAY_S: Final = 3.0
_LATE_S: Final = 5.0
_MONEY: Final = ("total", "amount", "reg_fee", "should_money")


class HangUp(Exception):
    """End the connection without a word."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What the interface itself has to do wrong."""

    fault: ScriptedFault | None

    def does(self, fault: Fault) -> bool:
        """Whether it is this fault."""
        return self.fault is not None and self.fault.fault is fault


class Desk:
    """What the interfaces share."""

    name = "his-late"

    def __init__(self, hospital: Hospital, token: str, file: Path | None, concurrency: int = 64) -> None:
        self.hospital = hospital
        self.token = token
        self.script = FaultScript()
        self.calls: dict[str, int] = {}
        self._file = file
        self._saving = asyncio.Lock()
        self._gate = asyncio.Semaphore(concurrency)
        self._late: asyncio.Queue[str] = asyncio.Queue(maxsize=1_000)

    async def perform(self, operation: str, parameters: Parameters) -> tuple[Data, Wrong]:
        """One call, with whatever goes wrong with it.

        Raises:
            HangUp: the script says so.
            Refused: the hospital says no.
        """
        name = operation.rpartition("/")[2]
        self.calls[name] = self.calls.get(name, 0) + 1
        fault = self.script.take(name)
        wrong = Wrong(fault)
        async with self._gate:
            if wrong.does(Fault.DROP_BEFORE):
                raise HangUp
            if fault is not None and wrong.does(Fault.LATE_SUCCESS):
                await self._postpone(operation, parameters, fault.number("seconds", _LATE_S))
                raise HangUp
            if wrong.does(Fault.HTTP_500):
                return {}, wrong
            data = self._do(operation, parameters)
            if operation not in READING:
                await self.save()
            if wrong.does(Fault.DROP_AFTER):
                raise HangUp
            if fault is not None and wrong.does(Fault.DELAY):
                await asyncio.sleep(fault.number("seconds", _DELAY_S))
        return (_dearer(data) if wrong.does(Fault.WRONG_AMOUNT) else data), wrong

    async def save(self) -> None:
        """Keep the books; what was answered is on disk."""
        if self._file is None:
            return
        async with self._saving:
            text = json.dumps(self.hospital.books.document(), ensure_ascii=False, separators=(",", ":"))
            await asyncio.to_thread(write_private, self._file, text)

    async def run(self) -> None:
        """Let late calls happen when their time has come, those of a killed run too."""
        async with TaskGroup() as group:
            waiting = list(self.hospital.books.late)
            while True:
                for number in waiting:
                    _ = spawn(group, self._happen(number), "late")
                waiting = [await self._late.get()]

    async def _postpone(self, operation: str, parameters: Parameters, seconds: float) -> None:
        self.hospital.books.counter += 1
        number = str(self.hospital.books.counter)
        due_at = self.hospital.clock.utc().timestamp() + seconds
        self.hospital.books.late[number] = Late(operation, dict(parameters), due_at)
        await self.save()
        self._late.put_nowait(number)

    async def _happen(self, number: str) -> None:
        late = self.hospital.books.late.get(number)
        if late is None:
            return
        await asyncio.sleep(late.due_at - self.hospital.clock.utc().timestamp())
        if self.hospital.books.late.get(number) is not late:
            return  # the testers have begun new books
        del self.hospital.books.late[number]
        with suppress(Refused):  # as anybody else would be who comes too late
            self._do(late.operation, late.parameters)
        await self.save()

    def _do(self, operation: str, parameters: Parameters) -> Data:
        return self.hospital.operations[operation](parameters)


def load_books(file: Path) -> Books | None:
    """The books of an earlier run; None when there are none."""
    return books_of(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def hang_up(request: web.Request) -> web.Response:
    """End the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _dearer(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {
            name: found + 1 if name in _MONEY and isinstance(found, int) else _dearer(found)
            for name, found in value.items()
        }
    return [_dearer(one) for one in value] if isinstance(value, list) else value


def write_private(file: Path, text: str) -> None:
    """Replace a file as a whole; nobody else may read it."""
    beside = file.with_name(f".{file.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    beside.replace(file)
