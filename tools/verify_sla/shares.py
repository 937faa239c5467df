"""How the time of a kiosk divides: a walk over every edge, asking at each piece what holds there."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from .basis import MICRO, Doc, Evidence, Judged, Share, Span, Terms, Tracks, Weigh, merge


def share_of(tracks: Tracks, marks: Iterable[int], outer: Span, weight_at: Weigh) -> Share:
    """Divide a stretch: walk over every edge and ask at each piece what holds there."""
    edges = sorted({outer[0], outer[1], *(edge for edge in marks if outer[0] < edge < outer[1])})
    found = dict.fromkeys(("up", "down", "excluded", "unproved"), 0)
    weights = dict.fromkeys(found, 0)
    places = {name: [span[0] for span in spans] for name, spans in tracks.items()}

    def holds(name: str, at: int) -> bool:
        place = bisect_right(places[name], at) - 1
        return place >= 0 and at < tracks[name][place][1]

    for left, right in pairwise(edges):
        if not holds("service", left):
            continue
        if holds("works", left) and holds("proof", left):
            name = "up"
        elif holds("excluded", left):
            name = "excluded"
        elif holds("lost", left) or holds("planned", left):
            name = "down"
        else:
            name = "unproved"
        found[name] += right - left
        weights[name] += weight_at(right) - weight_at(left)
    return found, weights["up"], sum(weights.values()) - weights["excluded"]


def weigher(span: Span, hours: list[int], zone: ZoneInfo) -> Weigh:
    """The weight from the beginning of the span to a moment in it."""
    edges, sums, own = [span[0]], [0], []
    at = span[0]
    while at < span[1]:
        local = datetime.fromtimestamp(at // MICRO, zone)
        until = min(span[1], at + (3_600 - local.minute * 60 - local.second) * MICRO - at % MICRO)
        own.append(hours[local.hour])
        sums.append(sums[-1] + (until - at) * hours[local.hour])
        edges.append(until)
        at = until

    def weight(us: int) -> int:
        place = min(bisect_right(edges, us) - 1, len(own) - 1)
        return sums[place] + (us - edges[place]) * own[place] if own else 0

    return weight


def kiosk_tracks(
    evidence: Evidence, body: Doc, span: Span, terms: Terms, excluded: list[Span]
) -> tuple[Tracks, list[Doc], list[int]] | None:
    """What is the same for all functions of a kiosk: its stretches and the edges of them."""
    kid, watch = body["kid"], merge(evidence.watch)
    end = span[1] if body["until_us"] is None else body["until_us"]
    service = merge([(max(body["since_us"], terms.term[0], span[0]), min(end, terms.term[1], span[1]))])
    if not service:
        return None
    last = service[-1][1]
    edges = sorted(evidence.presence.get(kid, ()), key=lambda edge: edge[0])
    states = [(since, edges[n + 1][0] if n + 1 < len(edges) else last, state) for n, (since, state) in enumerate(edges)]
    seen = merge((a, b) for a, b, state in states if state in ("online", "unstable"))
    here = merge((max(a, c), min(b, d)) for a, b in seen for c, d in watch if a < d and c < b)
    planned = merge((a, b) for a, b, state in states if state == "planned")
    said = sorted(evidence.functions.get(kid, ()), key=lambda item: item["at_us"])
    ends = [item["at_us"] for item in said[1:]] + [last]
    spoken = [(item["at_us"], min(item["until_us"], until)) for item, until in zip(said, ends, strict=True)]
    spoken += [
        (said[n]["until_us"], ends[n]) for n in range(len(said) - 1) if ends[n] - said[n]["until_us"] <= terms.proof
    ]
    quiet = []
    for a, b in merge(spoken):
        cuts = [(c, d) for c, d in planned if c < b and a < d]
        edges_in = [a, *(edge for cut in cuts for edge in cut), b]
        quiet += list(zip(edges_in[::2], edges_in[1::2], strict=True))
    return (
        {"service": service, "here": here, "planned": planned, "excluded": excluded, "proof": merge([*here, *quiet])},
        said,
        ends,
    )


def availability(evidence: Evidence, terms: Terms, span: Span) -> Judged:
    """Each kiosk: area, service time, and each function's share."""
    pauses = defaultdict(list)
    for pause in evidence.latest["pause"].values():
        if terms.proves(pause):
            until = span[1] if pause["until_us"] is None else pause["until_us"]
            for kid in evidence.latest["case"].get(pause["case"], {}).get("kids", ()):
                pauses[kid].append((pause["since_us"], until))
    found: Judged = {}
    weighers: dict[str, Weigh] = {}
    for kid, body in sorted(evidence.latest["kiosk"].items()):
        tracks = kiosk_tracks(evidence, body, span, terms, merge(pauses[kid]))
        if tracks is None:
            continue
        area = body["area"]
        if area not in weighers:
            weighers[area] = weigher(span, terms.areas.get(area, terms.hours), terms.zone)
        service = sum(b - a for a, b in tracks[0]["service"])
        found[kid] = (area, service, functions_of(*tracks, span, weighers[area]))
    return found


def functions_of(common: Tracks, said: list[Doc], ends: list[int], span: Span, weight_at: Weigh) -> dict[str, Share]:
    """Each function that a kiosk named, or that it was there."""
    shares = {}
    for function in sorted({name for item in said for name in item["states"]}) or ["online"]:
        works, lost = [], []
        for item, until in zip(said, ends, strict=True):
            state = item["states"].get(function)
            if state in ("available", "degraded") and item["is_timed"]:
                works.append((item["at_us"], until))
            elif state == "lost":
                lost.append((item["at_us"], until))
        own = {**common, "works": merge(works) if said else common["here"], "lost": merge(lost)}
        marks = {edge for spans in own.values() for pair in spans for edge in pair}
        shares[function] = share_of(own, marks, span, weight_at)
    return shares
