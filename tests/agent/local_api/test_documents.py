"""The documents of the local API are valid, tell of every command, and are those the pages are built from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate as validate_openapi
from pydantic import BaseModel

from agent.__main__ import main
from agent.local_api import asyncapi, documents
from agent.local_api.dialogue import CANCEL, Dialogue, Json, Progress, Refusal, Verb
from agent.local_api.feed import STATUS
from support.waiting import wait_for
from wire.device_api import DeviceMessage, MessageType

ROOT = Path(__file__).parents[3]
WEB = ROOT / "web_kit"
ASYNCAPI = ROOT / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


class _Nothing(BaseModel):
    pass


class _Read(BaseModel):
    wait_s: float = 5.0
    kind: str


class Card(BaseModel):
    number: int


class Inserted(BaseModel):
    slot: str


async def _read(request: _Read, progress: Progress) -> Json:
    if request.kind == "none":
        raise Refusal("mediaMissing")
    progress.event("Card.MediaInsertedEvent", {"slot": "upper"})
    return {"number": 7}


async def _reset(_request: _Nothing, _progress: Progress) -> Json:
    return {}


TABLE = {
    "Card.Read": Verb(
        _Read,
        _read,
        limit_s=9.0,
        summary="读卡",
        result=Card,
        events={"Card.MediaInsertedEvent": Inserted},
        refusals=("mediaMissing",),
    ),
    "Card.Reset": Verb(_Nothing, _reset),
}


@pytest.fixture(scope="module")
def document() -> asyncapi.Document:
    return asyncapi.document(TABLE, documents.UNSOLICITED)


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def look_up(document: asyncapi.Document, reference: str) -> Any:  # noqa: ANN401 - any part of the document
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


@pytest.mark.parametrize("made", [documents.asyncapi_document(), asyncapi.document(TABLE, documents.UNSOLICITED)])
def test_it_is_valid_asyncapi(made: asyncapi.Document) -> None:
    if not ASYNCAPI.is_file():
        pytest.fail("the schema of AsyncAPI is missing: npm ci")
    validator = jsonschema.Draft7Validator(json.loads(ASYNCAPI.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(made)))] == []
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in references(made):
        assert look_up(made, reference) is not None


def test_a_command_is_told_with_all_it_takes_and_answers(document: asyncapi.Document) -> None:
    operation = document["operations"]["Card.Read"]
    assert (operation["summary"], operation["x-limit-s"], operation["x-refusals"]) == ("读卡", 9.0, ["mediaMissing"])
    names = [one["$ref"].rpartition("/")[2] for one in operation["reply"]["messages"]]
    assert names == ["Card.Read.acknowledge", "Card.Read.event.Card_MediaInsertedEvent", "Card.Read.completion"]
    payload = document["components"]["messages"]["Card.Read.command"]["payload"]["properties"]["payload"]
    assert look_up(document, payload["$ref"])["required"] == ["kind"]
    assert "_Read" not in document["components"]["schemas"]
    assert STATUS in document["components"]["messages"]


async def test_what_the_agent_says_fits_what_it_told(document: asyncapi.Document) -> None:
    heard: list[DeviceMessage] = []
    dialogue = Dialogue(TABLE, heard.append)

    async def talk() -> None:
        for number, payload in enumerate(({"kind": "any"}, {"kind": "none"}, {"wait_s": "long"}), start=1):
            header = {"name": "Card.Read", "requestId": number, "type": "command"}
            dialogue.receive(json.dumps({"header": header, "payload": payload}))
        ends = MessageType.COMPLETION
        await wait_for(lambda: sum(one.header.type is ends for one in heard) == 3, what="three completions")

    await dialogue.run(talk())
    for message in heard:
        said = json.loads(message.model_dump_json(exclude_none=True))
        key = f"Card.Read.{message.header.type.value}"
        if message.header.type is MessageType.EVENT:
            key += f".{message.header.name.replace('.', '_')}"
        schema = {**document["components"]["messages"][key]["payload"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(said)
    assert [one.header.completionCode for one in heard if one.header.type is MessageType.COMPLETION] == [
        "invalidData",
        "success",
        "commandErrorCode",
    ]


def test_every_command_is_described() -> None:
    made, commands = documents.asyncapi_document(), documents.commands()
    assert set(made["operations"]) == {*commands, CANCEL, "unsolicited"}
    assert [name for name, verb in commands.items() if not verb.summary] == []


def test_people_find_every_command_in_the_documentation() -> None:
    text = (ROOT / "docs" / "device-api.md").read_text(encoding="utf-8")
    assert [name for name in (*documents.commands(), CANCEL) if f"`{name}`" not in text] == []


def test_the_http_resources_are_valid_openapi() -> None:
    validate_openapi(documents.openapi())


@pytest.mark.parametrize("what", ["asyncapi", "openapi"])
def test_the_pages_are_built_from_what_the_agent_says_now(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([what])
    assert ended.value.code == 0
    file = WEB / what / "kiosk_agent.json"
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(capsys.readouterr().out), (
        f"run: kiosk-agent {what} > web_kit/{what}/kiosk_agent.json && npm run generate"
    )
