from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kit.logs import MASK, configure, get_logger, mask_text, redact, redactor
from support.people import Person, luhn_digit, people, resident_check_digit

PEOPLE = people(200)
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPmade\nup==\n-----END EC PRIVATE KEY-----"
SECRET_KEYS = [
    "password",
    "db_password",
    "PASSWORD",
    "token",
    "poll_token",
    "api_token_id",
    "client_secret",
    "totp",
    "totp_uri",
    "pin",
    "pin_block",
    "otp",
    "authorization",
    "Authorization",
    "cookie",
    "set-cookie",
    "private_key_pem",
    "pairing_code",
    "csr",
    "phone",
    "id_number",
    "full_name",
]
HARMLESS = [
    "zzj-001",
    "2026-11-23T03:20:07.072198Z",
    "12:30:45.123456 on 2026-11-23",
    "01JD8X5V7K9QH2M4N6P8R0T2W4",
    "5d1f0c9e-7a3b-4c2d-9e8f-0123456789ab",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "192.168.10.254:8883",
    "1024 of 2048 bytes",
    "0.1234567890123456",
    "3.14159265358979",
    "took 1767225600 s",
    "13800138000123",
    "房间 301, 楼层 12",
    "mailto:someone@example",
    "http://127.0.0.1:8080/api/v1/state",
    "token_file=/var/lib/app/token",
    "pin jammed",
]


def leaks(value: object, person: Person) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return any(number in text for number in (person.resident_id, person.phone, person.card))


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", ["swordfish", 123456, ["swordfish"], {"a": "swordfish"}, None])
def test_values_under_telling_keys_are_masked(key: str, value: object) -> None:
    assert redact(None, "info", {"event": "a.b", key: value}) == {"event": "a.b", key: MASK}


@pytest.mark.parametrize("key", ["shipping", "opinion", "spin", "keys", "path", "token_file", "code", "name"])
def test_harmless_keys_keep_their_values(key: str) -> None:
    assert redact(None, "info", {key: "value"}) == {key: "value"}


def test_a_process_may_have_secret_keys_of_its_own() -> None:
    assert redactor(["ward"])(None, "info", {"ward": "7", "row": "7"}) == {"ward": MASK, "row": "7"}
    assert redact(None, "info", {"ward": "7"}) == {"ward": "7"}


def test_telling_keys_are_found_at_any_depth() -> None:
    event = {"request": {"headers": [{"Cookie": "sid=1", "Host": "a"}], "body": ({"password": "x"},)}}
    assert redact(None, "info", event) == {
        "request": {"headers": [{"Cookie": MASK, "Host": "a"}], "body": [{"password": MASK}]}
    }


@pytest.mark.parametrize("frame", ["{}", "read {} ok", "身份证{}，已登记", "[{}]", "id:{};", "{}.", "x={}&y=1", "'{}'"])
def test_made_up_people_never_show_in_any_text(frame: str) -> None:
    for person in PEOPLE:
        for number in (person.resident_id, person.resident_id.lower(), person.phone, person.card):
            assert mask_text(frame.format(number)) == frame.format(MASK), number


@pytest.mark.parametrize(
    "number",
    [
        "990101 19900307 7758",
        "990101-19900307-775X",
        "９９０１０１１９９００３０７７７５８",
        "990101900307775",
        "+86 138-0013-8000",
        "8613800138000",
        "86-13800138000",
        "138 0013 8000",
        "１３８００１３８０００",
        "6217 0000 1000 0000 " + luhn_digit("6217000010000000") + "00",
    ],
)
def test_the_ways_people_write_numbers_are_known(number: str) -> None:
    if number.startswith("6217"):
        front = "621700001000000012"
        number = " ".join((front[:4], front[4:8], front[8:12], front[12:16], front[16:] + luhn_digit(front)))
    assert mask_text(f"呼叫 {number} 完") == f"呼叫 {MASK} 完"


def test_an_identity_number_is_masked_even_with_a_wrong_check_digit_or_beside_letters() -> None:
    front = "99010119900307775"
    wrong = str((int(resident_check_digit(front).replace("X", "10")) + 1) % 10)
    assert mask_text(f"id{front}{wrong}") == f"id{MASK}"


def test_a_number_that_fails_luhn_is_no_card() -> None:
    front = "621700001000000012"
    wrong = str((int(luhn_digit(front)) + 1) % 10)
    assert mask_text(f"serial {front}{wrong}") == f"serial {front}{wrong}"


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert mask_text(text) == text


def test_bare_numbers_built_like_identities_are_masked_and_others_kept() -> None:
    person = next(item for item in PEOPLE if item.resident_id.isdigit())
    event = {"a": int(person.resident_id), "b": int(person.card), "c": 1_767_225_600_000_000_000, "d": 5, "e": 2.5}
    assert redact(None, "info", event) == {"a": MASK, "b": MASK, "c": 1_767_225_600_000_000_000, "d": 5, "e": 2.5}
    assert redact(None, "info", {"is_open": True}) == {"is_open": True}


@pytest.mark.parametrize(
    "text", [PEM, PEM.replace("EC ", ""), PEM.replace("EC ", "RSA "), PEM[:60], repr(PEM.encode())]
)
def test_private_keys_are_masked_whole_or_cut(text: str) -> None:
    masked = mask_text(f"loaded {text}")
    assert masked.startswith(f"loaded {MASK}" if text.startswith("-") else "loaded b'***")
    assert "MHcCA" not in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql+psycopg://fleet:hunter2@db:5432/fleet", f"postgresql+psycopg://{MASK}@db:5432/fleet"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: {MASK} {MASK}"),
        ("sent bearer abcdefghijkl.mno", f"sent bearer {MASK}"),
        ("password=hunter2 user=x", f"password={MASK} user=x"),
        ('{"poll_token": "hunter2", "a": 1}', f'{{"poll_token": "{MASK}", "a": 1}}'),
        ("Settings(secret='hunter2')", f"Settings(secret='{MASK}')"),
        ("cookie: sid=5; path=/", f"cookie: {MASK}; path=/"),
    ],
)
def test_credentials_written_out_in_text_are_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@given(st.sampled_from(PEOPLE), st.text(max_size=30), st.text(max_size=30))
def test_no_surroundings_but_digits_and_letters_let_a_number_through(person: Person, before: str, after: str) -> None:
    text = f"{before} {person.resident_id} {person.phone}, {person.card} {after}"
    assert not leaks(redact(None, "info", {"event": text, "list": [text], "map": {text: text}}), person)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists))
def test_redaction_takes_anything(value: object) -> None:
    once = redact(None, "info", {"value": value})
    json.dumps(once)


def fail(error: Exception) -> None:
    raise error


class Output:
    """What a configured process has written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def output() -> Iterator[Output]:
    root = logging.getLogger()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    yield Output()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


def test_a_line_is_one_json_object_with_process_module_level_and_utc(output: Output) -> None:
    configure("fleet", stream=output.stream)
    get_logger("kit.x").warning("printer.faulted", fault="paper_out", 姓名="楼层")
    (line,) = output.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "printer.faulted",
        "fault": "paper_out",
        "姓名": "楼层",
        "level": "warning",
        "module": "kit.x",
        "process": "fleet",
    }
    assert "楼层" in output.text


def test_lines_for_people_are_redacted_too(output: Output) -> None:
    configure("fleet", stream=output.stream, json=False)
    get_logger("kit.x").info("card.read", number=PEOPLE[0].resident_id)
    assert "card.read" in output.text
    assert not leaks(output.text, PEOPLE[0])


def test_below_the_level_nothing_is_written(output: Output) -> None:
    configure("fleet", level="warning", stream=output.stream)
    get_logger("x").info("a.b")
    get_logger("x").error("a.c")
    assert [line["event"] for line in output.lines()] == ["a.c"]


async def test_what_is_bound_to_a_task_is_on_its_lines_only(output: Output) -> None:
    configure("fleet", stream=output.stream)
    log = get_logger("x")

    async def work(job_id: str) -> None:
        structlog.contextvars.bind_contextvars(job_id=job_id, poll_token="hunter2")
        await asyncio.sleep(0)
        log.info("job.done", own=job_id)

    async with asyncio.TaskGroup() as group:
        for job_id in ("a", "b"):
            group.create_task(work(job_id), name=job_id)
    log.info("all.done")
    assert [(line.get("job_id"), line.get("own")) for line in output.lines()] == [("a", "a"), ("b", "b"), (None, None)]
    assert "hunter2" not in output.text


def test_exceptions_are_written_and_redacted(output: Output) -> None:
    configure("fleet", stream=output.stream)
    try:
        fail(ValueError(f"card {PEOPLE[0].card} of {PEOPLE[0].resident_id}, password=hunter2"))
    except ValueError:
        get_logger("x").exception("card.refused")
    (line,) = output.lines()
    assert "ValueError: card *** of ***" in line["exception"]
    assert "hunter2" not in output.text


def test_libraries_speak_through_the_same_processor(output: Output) -> None:
    configure("fleet", stream=output.stream)
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("call %s", PEOPLE[0].phone)
    try:
        fail(OSError(PEOPLE[0].card))
    except OSError:
        library.exception("failed")
    lines = output.lines()
    assert [(line["event"], line["library"], line["level"]) for line in lines] == [
        ("library.message", "some.library", "warning"),
        ("library.message", "some.library", "error"),
    ]
    assert lines[0]["message"] == f"call {MASK}"
    assert not leaks(output.text, PEOPLE[0])


def test_configuring_twice_does_not_double_lines(output: Output) -> None:
    configure("fleet", stream=output.stream)
    configure("fleet", stream=output.stream)
    logging.getLogger("some.library").warning("once")
    assert len(output.lines()) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        configure("fleet", level="loud")


def test_importing_it_leaves_rich_alone_and_available(tmp_path: Path) -> None:
    script = "import sys, kit.logs; assert 'rich' not in sys.modules; import rich.console"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
