"""The two clocks of a case: a walk over the edges of its pauses."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from .basis import MICRO, Case, Doc, Evidence, Terms, merge, seconds


def clock(began: int, stop: int | None, now: int, limit: int, pauses: list[Doc], terms: Terms) -> Doc:
    """What a clock shows: walk from its beginning over the edges of its pauses."""
    end = max(began, now if stop is None else min(stop, now))
    running = stop is None or stop > now
    spans = [(p["since_us"], now if p["until_us"] is None else p["until_us"], terms.proves(p)) for p in pauses]
    edges = sorted({began, end, *(edge for a, b, _ in spans for edge in (a, b) if began < edge < end)})
    ran = paused = unproved = 0
    for left, right in pairwise(edges):
        inside = [good for a, b, good in spans if a <= left < b]
        if any(inside):
            paused += right - left
        else:
            ran += right - left
            unproved += right - left if inside else 0
    limit_us = limit * MICRO
    reached = began + limit_us
    for a, b in merge((a, b) for a, b, good in spans if good):
        if b > began and max(a, began) < reached:
            reached += b - max(a, began)
    stands = any(p["until_us"] is None and p["since_us"] <= now and terms.proves(p) for p in pauses)
    due = None if ran <= limit_us and (not running or stands) else reached
    level = 100 if ran >= limit_us else max((step for step in terms.warn if ran * 100 >= limit_us * step), default=0)
    return {
        "limit": limit,
        "elapsed": seconds(ran),
        "paused": seconds(paused),
        "unproved": seconds(unproved),
        "running": running,
        "late": ran > limit_us,
        "level": level,
        "due": due,
    }


def course(marks: list[Doc], relapse: int, *, has_order: bool) -> tuple[int, int | None, int | None] | None:
    """When a case began, was answered and was over."""
    marks = [m for m in marks if not has_order or m["source"] == "order" or m["kind"] in ("began", "responded")]
    began = next((m["at_us"] for m in reversed(marks) if m["kind"] == "began"), None)
    if began is None:
        return None
    over = None
    for at, kind in sorted((m["at_us"], m["kind"]) for m in marks if m["kind"] in ("restored", "relapsed")):
        if kind == "restored":
            over = at if over is None else over
        elif over is not None and at - over <= relapse:
            over = None
    over = None if over is None else max(over, began)
    answers = [max(began, m["at_us"]) for m in marks if m["kind"] == "responded"]
    answered = min(answers) if answers else over
    return began, answered if over is None else min(answered, over), over


def cases_of(evidence: Evidence, terms: Terms, as_of: int, until: int) -> list[Case]:
    """Every case that began before the end of the month, with its clocks."""
    ordered = {order["case"] for order in evidence.latest["order"].values() if not order["is_void"]}
    pauses = defaultdict(list)
    for pause in evidence.latest["pause"].values():
        pauses[pause["case"]].append(pause)
    found = []
    for body in sorted(evidence.latest["case"].values(), key=lambda item: (item["number"], item["id"])):
        of = course(evidence.marks.get(body["id"], []), terms.relapse, has_order=body["id"] in ordered)
        if of is None or of[0] >= min(until, as_of):
            continue
        own, (answer, repair) = pauses[body["id"]], terms.limits[body["severity"]]
        found.append(
            (
                body,
                of,
                sorted(own, key=lambda item: item["since_us"]),
                clock(of[0], of[1], as_of, answer, own, terms),
                clock(of[0], of[2], as_of, repair, own, terms),
            )
        )
    return found
