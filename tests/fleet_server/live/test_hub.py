"""The hub: snapshots, deltas without gaps, resuming, viewers that take nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_server.live.hub import RING_MESSAGES, Hub, SlowConsumer, Subscriber


async def take(subscriber: Subscriber) -> list[dict[str, Any]]:
    """Everything that waits."""
    return [json.loads(await subscriber.next()) for _ in range(subscriber.queue.qsize())]


async def test_a_snapshot_first_then_changed_rows() -> None:
    hub, viewer = Hub(["kiosks"]), Subscriber()
    hub.publish("kiosks", {"a": {"kid": "a", "n": 1}})
    hub.subscribe("kiosks", viewer, None)
    hub.publish("kiosks", {"a": {"kid": "a", "n": 1}, "b": {"kid": "b", "n": 2}})
    snapshot, delta = await take(viewer)
    assert (snapshot["t"], snapshot["rows"]) == ("snap", [{"kid": "a", "n": 1}])
    assert (delta["t"], delta["rows"], delta["prev"]) == ("d", [{"kid": "b", "n": 2}], snapshot["seq"])


async def test_a_row_that_did_not_change_is_not_sent() -> None:
    hub, viewer = Hub(["kiosks"]), Subscriber()
    hub.publish("kiosks", {"a": {"n": 1}})
    hub.subscribe("kiosks", viewer, None)
    hub.publish("kiosks", {"a": {"n": 1}})
    assert len(await take(viewer)) == 1


async def test_a_number_of_any_size_is_passed_on() -> None:
    """The detail of an alarm is what a kiosk says."""
    hub, viewer = Hub(["alarms"]), Subscriber()
    hub.subscribe("alarms", viewer, None)
    hub.publish("alarms", {"a": {"id": "a", "detail": {"n": 10**30, "text": "纸尽"}}, "b": {"id": "b"}})
    assert (await take(viewer))[-1]["rows"] == [{"id": "a", "detail": {"n": 10**30, "text": "纸尽"}}, {"id": "b"}]


async def test_a_row_that_is_gone_is_named() -> None:
    hub, viewer = Hub(["alarms"]), Subscriber()
    hub.publish("alarms", {"a": {"id": "a"}})
    hub.subscribe("alarms", viewer, None)
    hub.publish("alarms", {"a": None, "never": None})
    assert (await take(viewer))[-1]["gone"] == ["a"]


async def test_a_viewer_resumes_where_it_left_off() -> None:
    hub, viewer = Hub(["kiosks"]), Subscriber()
    hub.publish("kiosks", {"a": {"n": 0}})
    hub.subscribe("kiosks", viewer, None)
    (snapshot,) = await take(viewer)
    hub.unsubscribe(viewer)
    for number in range(1, 4):
        hub.publish("kiosks", {"a": {"n": number}})
    again = Subscriber()
    hub.subscribe("kiosks", again, snapshot["seq"])
    missed = await take(again)
    assert [message["rows"] for message in missed] == [[{"n": 1}], [{"n": 2}], [{"n": 3}]]
    assert missed[0]["prev"] == snapshot["seq"]


@pytest.mark.parametrize("since", [0, 2**60])
async def test_an_unknown_number_is_answered_with_a_snapshot(since: int) -> None:
    hub, viewer = Hub(["kiosks"]), Subscriber()
    hub.publish("kiosks", {"a": {"n": 1}})
    hub.subscribe("kiosks", viewer, since)
    assert [message["t"] for message in await take(viewer)] == ["snap"]


async def test_what_the_ring_has_forgotten_is_answered_with_a_snapshot() -> None:
    hub, viewer = Hub(["kiosks"]), Subscriber()
    hub.publish("kiosks", {"a": {"n": -1}})
    hub.subscribe("kiosks", viewer, None)
    (first,) = await take(viewer)
    hub.unsubscribe(viewer)
    for number in range(RING_MESSAGES + 1):
        hub.publish("kiosks", {"a": {"n": number}})
    late = Subscriber()
    hub.subscribe("kiosks", late, first["seq"])
    assert [message["t"] for message in await take(late)] == ["snap"]


async def test_a_viewer_that_takes_nothing_is_cut_and_the_others_are_not() -> None:
    hub, slow, quick = Hub(["kiosks"]), Subscriber(limit=3), Subscriber()
    hub.subscribe("kiosks", slow, None)
    hub.subscribe("kiosks", quick, None)
    for number in range(5):
        hub.publish("kiosks", {"a": {"n": number}})
    with pytest.raises(SlowConsumer):
        await slow.next()
    assert len(await take(quick)) == 6
