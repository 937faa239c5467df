"""The dialogue with one page: commands in, acknowledge, events and exactly one completion each out.

Follows CWA 17852 (XFS4IoT), message types and header: a command is acknowledged, may send events, and ends in one
completion with its request id. What a command does is behind `Command`; pages that leave cancel what they asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import BaseModel, ValidationError

from agent.errors import DeviceFault
from agent.local_api.payload import Payload
from kit.logs import get_logger
from kit.supervise import TaskGroup
from wire.device_api import AcknowledgeStatus, CompletionCode, DeviceMessage, MessageHeader, MessageType
from wire.faults import FACTS, Fault, Retry

OPEN_LIMIT: Final = 32
"""Commands of one page that are not complete."""
CANCEL: Final = "Common.Cancel"
_ID_LIMIT: Final = 2**53 - 1
_NOT_READY: Final = frozenset({Fault.DEVICE_BUSY, Fault.UNPLUGGED, Fault.NOT_RESPONDING, Fault.READER_SERVICE_DOWN})
log = get_logger(__name__)
Json = dict[str, Any]  # Any: whatever JSON a command carries


class Refusal(Exception):
    """A command that will not be done as asked; `code` goes into the completion's `errorCode`."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        completion: CompletionCode = CompletionCode.COMMAND_ERROR,
        payload: Json | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.completion = completion
        self.payload: Json = payload or {}


class Progress(Protocol):
    """What a running command may say before it ends."""

    def event(self, name: str, payload: Json) -> None:
        """Send an event that belongs to the command."""


class Command(Protocol):
    """One verb of the device API."""

    @property
    def request(self) -> type[BaseModel]:
        """The schema of its payload."""

    @property
    def limit_s(self) -> float:
        """The longest it may take, whatever the page asks for."""

    async def run(self, request: Any, progress: Progress) -> Json:  # noqa: ANN401 - an instance of `request`
        """Do it; the payload of the completion.

        Raises:
            Refusal: it will not be done.
            DeviceFault: the device failed.
        """


@dataclass(frozen=True, slots=True)
class Verb:
    """A command made of a function; what follows `limit_s` is for its documentation and for generated clients.

    `result` is the payload of its completion (None: an empty one), `events` what it may say before, by name, and
    `refusals` the codes of its `Refusal`s. Faults of devices need not be named.
    """

    request: type[BaseModel]
    work: Callable[[Any, Progress], Awaitable[BaseModel | Json]]  # Any: an instance of `request`
    limit_s: float = 60.0
    summary: str = ""
    result: type[BaseModel] | None = None
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    refusals: Sequence[str] = ()

    async def run(self, request: Any, progress: Progress) -> Json:  # noqa: ANN401 - an instance of `request`
        """See `Command`."""
        answer = await self.work(request, progress)
        return answer.model_dump(mode="json", exclude_none=True) if isinstance(answer, BaseModel) else answer


class Cancelled(Payload):
    """Payload of `Common.Cancel`; nothing means all."""

    requestIds: list[int] | None = None  # noqa: N815 - the standard's field name


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None] | None = None
    has_begun: bool = False
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Have it end as cancelled; a task that has not begun would vanish without a completion."""
        self.is_cancelled = True
        if self.has_begun and self.task is not None:
            self.task.cancel()


@dataclass(frozen=True, slots=True)
class _Progress:
    dialogue: Dialogue
    request_id: int

    def event(self, name: str, payload: Json) -> None:
        """See `Progress`."""
        self.dialogue.say(name, MessageType.EVENT, payload, requestId=self.request_id)


@dataclass(slots=True)
class Dialogue:
    """One page's commands. `run` owns their tasks; `receive` may be called while it runs."""

    commands: Mapping[str, Command]
    send: Callable[[DeviceMessage], None]
    _running: dict[int, _Running] = field(default_factory=dict)
    _last_id: int = 0
    _group: asyncio.TaskGroup | None = None

    async def run(self, until: Awaitable[None]) -> None:
        """Do what is asked for until `until` returns; what is not complete by then is cancelled."""
        async with TaskGroup() as group:
            self._group = group
            await until
            self._group = None
            for running in self._running.values():
                if running.task is not None:
                    running.task.cancel()

    def receive(self, text: str) -> None:
        """Take one message of the page; anything but a good command is refused by its acknowledge."""
        try:
            message = DeviceMessage.model_validate_json(text)
        except ValidationError:
            self._refuse(None, "Common.Unknown", AcknowledgeStatus.INVALID_MESSAGE)
            return
        header = message.header
        request_id = header.requestId
        if header.type is not MessageType.COMMAND:
            self._refuse(request_id, header.name, AcknowledgeStatus.INVALID_MESSAGE)
        elif request_id is None or not self._last_id < request_id <= _ID_LIMIT:
            self._refuse(request_id, header.name, AcknowledgeStatus.INVALID_REQUEST_ID)
        elif len(self._running) >= OPEN_LIMIT and header.name != CANCEL:
            self._refuse(request_id, header.name, AcknowledgeStatus.TOO_MANY_REQUESTS)
        else:
            self._last_id = request_id
            self._accept(request_id, message)

    def say(self, name: str, kind: MessageType, payload: Json, **header: Any) -> None:  # noqa: ANN401 - header fields
        """Send a message to the page."""
        self.send(DeviceMessage(header=MessageHeader(name=name, type=kind, **header), payload=payload))

    # -- inside ----------------------------------------------------------------------------------------------

    def _refuse(self, request_id: int | None, name: str, status: AcknowledgeStatus) -> None:
        self.say(name, MessageType.ACKNOWLEDGE, {}, requestId=request_id, status=status.value)

    def _accept(self, request_id: int, message: DeviceMessage) -> None:
        name = message.header.name
        self.say(name, MessageType.ACKNOWLEDGE, {}, requestId=request_id)
        if name == CANCEL:
            self._cancel(request_id, message.payload)
            return
        command = self.commands.get(name)
        if command is None:
            self._complete(request_id, name, CompletionCode.UNSUPPORTED_COMMAND, {})
            return
        try:
            request = command.request.model_validate(message.payload)
        except ValidationError as error:
            fields = sorted({".".join(map(str, item["loc"])) for item in error.errors(include_input=False)})
            self._complete(request_id, name, CompletionCode.INVALID_DATA, {"fields": fields})
            return
        assert self._group is not None  # noqa: S101 - messages come only while the dialogue runs
        asked_s = (message.header.timeout or 0) / 1_000 or command.limit_s
        running = self._running[request_id] = _Running()
        running.task = self._group.create_task(
            self._do(request_id, name, command, request, min(asked_s, command.limit_s)), name=f"page-{name}"
        )

    def _cancel(self, request_id: int, payload: Json) -> None:
        try:
            wanted = Cancelled.model_validate(payload).requestIds
        except ValidationError:
            self._complete(request_id, CANCEL, CompletionCode.INVALID_DATA, {"fields": ["requestIds"]})
            return
        for number, running in self._running.items():
            if wanted is None or number in wanted:
                running.cancel()
        self._complete(request_id, CANCEL, CompletionCode.SUCCESS, {})

    async def _do(self, request_id: int, name: str, command: Command, request: BaseModel, limit_s: float) -> None:
        running = self._running[request_id]
        running.has_begun = True
        if running.is_cancelled:
            del self._running[request_id]
            self._complete(request_id, name, CompletionCode.CANCELED, {})
            return
        try:
            async with asyncio.timeout(limit_s) as deadline:
                payload = await command.run(request, _Progress(self, request_id))
            code, detail = CompletionCode.SUCCESS, None
        except asyncio.CancelledError:
            if not running.is_cancelled:
                raise
            code, payload, detail = CompletionCode.CANCELED, {}, None
        except TimeoutError:
            if not deadline.expired():
                raise
            code, payload, detail = CompletionCode.TIME_OUT, {}, None
        except Refusal as refusal:
            code, detail = refusal.completion, refusal.detail or None
            payload = {**refusal.payload, "errorCode": refusal.code}
        except DeviceFault as fault:
            code, payload, detail = completion_of(fault.fault), {"errorCode": fault.fault.value}, None
        finally:
            self._running.pop(request_id, None)
        self._complete(request_id, name, code, payload, detail)

    def _complete(
        self, request_id: int, name: str, code: CompletionCode, payload: Json, detail: str | None = None
    ) -> None:
        if code is not CompletionCode.SUCCESS:
            log.info("command.ended", name=name, code=code.value, error_code=payload.get("errorCode"))
        self.say(
            name,
            MessageType.COMPLETION,
            payload,
            requestId=request_id,
            completionCode=code.value,
            errorDescription=detail,
        )


def completion_of(fault: Fault) -> CompletionCode:
    """What kind of end a fault is: not there, needs a person, or broken."""
    if fault in _NOT_READY:
        return CompletionCode.DEVICE_NOT_READY
    if FACTS[fault].retry is Retry.AFTER_CHANGE:
        return CompletionCode.USER_ERROR
    return CompletionCode.HARDWARE_ERROR
