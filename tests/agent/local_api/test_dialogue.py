"""One acknowledge and one completion a command, whatever it or the page does (CWA 17852, message flow)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agent.errors import DeviceFault
from agent.local_api.dialogue import OPEN_LIMIT, Dialogue, Json, Progress, Refusal, Verb, completion_of
from support.waiting import wait_for
from wire.device_api import CompletionCode, DeviceMessage, MessageType
from wire.faults import Fault


class Wanted(BaseModel):
    number: int = Field(ge=0)


@dataclass
class Page:
    """What a page hears, and the device behind the commands."""

    heard: list[DeviceMessage] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0

    async def read(self, request: Wanted, progress: Progress) -> Json:
        self.begun += 1
        progress.event("Card.Inserted", {"number": request.number})
        await self.gate.wait()
        return {"number": request.number}

    async def broken(self, _request: Wanted, _progress: Progress) -> Json:
        raise DeviceFault(Fault.PAPER_OUT, "not for the page")

    async def refused(self, _request: Wanted, _progress: Progress) -> Json:
        raise Refusal("mediaMissing", "put the card in")

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Dialogue]:
        verbs = {
            "Card.Read": Verb(Wanted, self.read, limit_s=5.0),
            "Card.Brief": Verb(Wanted, self.read, limit_s=0.01),
            "Card.Broken": Verb(Wanted, self.broken),
            "Card.Refused": Verb(Wanted, self.refused),
        }
        over = asyncio.Event()
        dialogue = Dialogue(verbs, self.heard.append)
        async with asyncio.TaskGroup() as group:
            group.create_task(dialogue.run(_until(over)))
            await asyncio.sleep(0)
            yield dialogue
            over.set()

    def of(self, request_id: int) -> list[tuple[str, Any]]:
        return [
            (message.header.type.value, message.header.completionCode or message.header.status)
            for message in self.heard
            if message.header.requestId == request_id
        ]

    async def complete(self, request_id: int) -> DeviceMessage:
        def found() -> DeviceMessage | None:
            ends = [one for one in self.heard if one.header.type is MessageType.COMPLETION]
            return next((one for one in ends if one.header.requestId == request_id), None)

        await wait_for(lambda: found() is not None, what=f"the completion of {request_id}")
        end = found()
        assert end is not None
        return end


async def _until(over: asyncio.Event) -> None:
    await over.wait()


def command(name: str, request_id: Any, payload: Any = None, **header: Any) -> str:  # noqa: ANN401 - also wrong ones
    return json.dumps(
        {
            "header": {"name": name, "requestId": request_id, "type": "command", **header},
            "payload": {"number": 7} if payload is None else payload,
        }
    )


async def test_acknowledge_events_and_one_completion() -> None:
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(command("Card.Read", 1))
        await wait_for(lambda: page.begun == 1, what="the command to begin")
        page.gate.set()
        end = await page.complete(1)
    assert end.payload == {"number": 7}
    assert page.of(1) == [("acknowledge", None), ("event", None), ("completion", "success")]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("no json", "invalidMessage"),
        ("[]", "invalidMessage"),
        ('{"header": {"name": "Card.Read", "type": "completion", "requestId": 1}}', "invalidMessage"),
        ('{"header": {"name": "Card.Read; rm", "type": "command", "requestId": 1}}', "invalidMessage"),
        (command("Card.Read", 0), "invalidMessage"),
        (command("Card.Read", None), "invalidRequestID"),
        (command("Card.Read", 2**60), "invalidRequestID"),
    ],
)
async def test_what_is_no_command_is_refused_and_begins_nothing(text: str, status: str) -> None:
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(text)
        await asyncio.sleep(0)
    assert [(one.header.type.value, one.header.status) for one in page.heard] == [("acknowledge", status)]
    assert page.begun == 0


async def test_a_request_id_is_used_once() -> None:
    page = Page()
    page.gate.set()
    async with page.talking() as dialogue:
        dialogue.receive(command("Card.Read", 5))
        await page.complete(5)
        dialogue.receive(command("Card.Read", 5))
        dialogue.receive(command("Card.Read", 4))
    assert page.of(5)[-1] == ("acknowledge", "invalidRequestID")
    assert page.of(4) == [("acknowledge", "invalidRequestID")]
    assert page.begun == 1


async def test_too_many_at_once_are_refused_and_a_cancel_still_works() -> None:
    page = Page()
    async with page.talking() as dialogue:
        for number in range(1, OPEN_LIMIT + 2):
            dialogue.receive(command("Card.Read", number))
        assert page.of(OPEN_LIMIT + 1) == [("acknowledge", "tooManyRequests")]
        dialogue.receive(command("Common.Cancel", 99, {}))
        for number in range(1, OPEN_LIMIT + 1):
            assert (await page.complete(number)).header.completionCode == CompletionCode.CANCELED
        dialogue.receive(command("Card.Read", 100))
        await wait_for(lambda: page.begun > 0, what="room again")


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_cancelled_command_says_so_once(has_begun: bool) -> None:
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(command("Card.Read", 1))
        dialogue.receive(command("Card.Read", 2))
        if has_begun:
            await wait_for(lambda: page.begun == 2, what="both to begin")
        dialogue.receive(command("Common.Cancel", 3, {"requestIds": [1]}))
        assert (await page.complete(1)).header.completionCode == CompletionCode.CANCELED
        page.gate.set()
        assert (await page.complete(2)).header.completionCode == CompletionCode.SUCCESS
    assert page.of(3) == [("acknowledge", None), ("completion", "success")]
    assert [kind for kind, _ in page.of(1)].count("completion") == 1


async def test_the_page_may_shorten_a_deadline_and_not_stretch_it() -> None:
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(command("Card.Read", 1, timeout=10))
        dialogue.receive(command("Card.Brief", 2, timeout=60_000))
        assert (await page.complete(1)).header.completionCode == CompletionCode.TIME_OUT
        assert (await page.complete(2)).header.completionCode == CompletionCode.TIME_OUT


@pytest.mark.parametrize(
    ("name", "payload", "code", "answer"),
    [
        ("Card.Broken", None, "userError", {"errorCode": "paper_out"}),
        ("Card.Refused", None, "commandErrorCode", {"errorCode": "mediaMissing"}),
        ("Card.Fly", None, "unsupportedCommand", {}),
        ("Card.Read", {"number": -1}, "invalidData", {"fields": ["number"]}),
        ("Card.Read", {"number": "secret-id"}, "invalidData", {"fields": ["number"]}),
        ("Common.Cancel", {"requestIds": "all"}, "invalidData", {"fields": ["requestIds"]}),
    ],
)
async def test_how_a_command_can_end(name: str, payload: Any, code: str, answer: Json) -> None:  # noqa: ANN401
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(command(name, 1, payload))
        end = await page.complete(1)
    assert (end.header.completionCode, end.payload) == (code, answer)
    assert "secret-id" not in end.model_dump_json()
    assert "not for the page" not in end.model_dump_json()


async def test_a_page_that_leaves_cancels_what_it_asked_for() -> None:
    page = Page()
    async with page.talking() as dialogue:
        dialogue.receive(command("Card.Read", 1))
        await wait_for(lambda: page.begun == 1, what="the command to begin")
    assert [kind for kind, _ in page.of(1)] == ["acknowledge", "event"]


@given(
    text=st.one_of(
        st.text(max_size=200),
        st.builds(
            json.dumps,
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["header", "payload", "name", "type", "requestId", "timeout"]),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=8,
            ),
        ),
    )
)
def test_any_text_gets_one_refusal(text: str) -> None:
    heard: list[DeviceMessage] = []
    Dialogue({}, heard.append).receive(text)
    assert len(heard) == 1
    assert heard[0].header.status is not None


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_a_kind_of_end(fault: Fault) -> None:
    assert completion_of(fault) in {
        CompletionCode.DEVICE_NOT_READY,
        CompletionCode.USER_ERROR,
        CompletionCode.HARDWARE_ERROR,
    }
