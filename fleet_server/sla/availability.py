"""How long each patient function was there at each kiosk, and how much of the demand that was.

A stretch of a kiosk's service is one of four: up (proved), down (proved), excluded (not up, and a pause of the contract
covers it), unproved (nobody can say). Unproved is never uptime. Up is proved while the server watched and the kiosk
was there, and between two statements of the kiosk that are close enough (`Contract.proof_s`), which is how a kiosk
that served patients while the network was down proves it afterwards. Time without a goodbye and without evidence is
unproved; a goodbye is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet_server.sla.contract import PPM, Contract
from fleet_server.sla.evidence import Facts, Said
from fleet_server.sla.spans import SECOND_US, Scale, Span, to_s, to_us, total, union, within, without

ONLINE = "online"
"""What is judged of a kiosk that said nothing of its functions."""
_HERE = frozenset({"online", "unstable"})
_WORKS = frozenset({"available", "degraded"})


@dataclass(frozen=True, slots=True)
class Share:
    """Time in microseconds, and the same weighed by demand."""

    up_us: int = 0
    down_us: int = 0
    excluded_us: int = 0
    unproved_us: int = 0
    up_weight: int = 0
    counted_weight: int = 0
    """Of all that is not excluded."""

    def __add__(self, other: Share) -> Share:
        """Both together."""
        return Share(
            self.up_us + other.up_us,
            self.down_us + other.down_us,
            self.excluded_us + other.excluded_us,
            self.unproved_us + other.unproved_us,
            self.up_weight + other.up_weight,
            self.counted_weight + other.counted_weight,
        )

    def times(self, weight: int) -> Share:
        """This often."""
        return Share(
            self.up_us * weight,
            self.down_us * weight,
            self.excluded_us * weight,
            self.unproved_us * weight,
            self.up_weight * weight,
            self.counted_weight * weight,
        )

    @property
    def ppm(self) -> int | None:
        """Millionths of the demand that was served, the half one up; None where nothing counts."""
        if self.counted_weight == 0:
            return None
        return (self.up_weight * PPM * 2 + self.counted_weight) // (2 * self.counted_weight)

    def seconds(self, parts: int = 1) -> dict[str, int]:
        """Whole seconds, the mean of this many parts."""
        return {
            "up_s": _mean_s(self.up_us, parts),
            "down_s": _mean_s(self.down_us, parts),
            "excluded_s": _mean_s(self.excluded_us, parts),
            "unproved_s": _mean_s(self.unproved_us, parts),
        }


@dataclass(frozen=True, slots=True)
class KioskShare:
    """One kiosk: each function, and all of them weighed by the contract."""

    kid: str
    area: str
    service_us: int
    functions: Mapping[str, Share]
    whole: Share
    weight: int
    """Of all functions together; `whole` is a sum of that many parts."""


def judge(facts: Facts, contract: Contract, span: Span) -> list[KioskShare]:
    """Every kiosk that was in service in the span, by name."""
    term = (to_us(contract.begins_at), to_us(contract.ends_at))
    watch = union(facts.watch)
    pauses = excluded_by_kiosk(facts, contract, span[1])
    scales: dict[str, Scale] = {}
    found = []
    for kid, kiosk in sorted(facts.kiosks.items()):
        until_us = span[1] if kiosk["until_us"] is None else kiosk["until_us"]
        service = within(within(union([(kiosk["since_us"], until_us)]), [term]), [span])
        if not service:
            continue
        area = kiosk["area"]
        if area not in scales:
            hours = contract.demand.areas.get(area, contract.demand.hours)
            scales[area] = Scale(span, hours, contract.zone)
        judged = _Kiosk(facts, kid, service, watch, contract.proof_s * SECOND_US)
        shares = {
            function: judged.share(function, pauses.get(kid, ()), scales[area]) for function in judged.function_names()
        }
        weights = {function: contract.functions.get(function, 1) for function in shares}
        if not any(weights.values()):
            weights = dict.fromkeys(shares, 1)
        whole = sum((share.times(weights[name]) for name, share in shares.items()), Share())
        found.append(KioskShare(kid, area, total(service), shares, whole, sum(weights.values())))
    return found


def excluded_by_kiosk(facts: Facts, contract: Contract, now_us: int) -> dict[str, list[Span]]:
    """The stretches that do not count, of each kiosk that a case with a proved pause reaches."""
    found: dict[str, list[Span]] = {}
    for case, pauses in facts.pauses_by_case().items():
        spans = [
            (pause.since_us, now_us if pause.until_us is None else pause.until_us)
            for pause in pauses
            if contract.proves(pause.reason, pause.evidence)
        ]
        for kid in facts.cases.get(case, {}).get("kids", ()):
            found.setdefault(kid, []).extend(spans)
    return {kid: union(spans) for kid, spans in found.items()}


class _Kiosk:
    """One kiosk's stretches, cut once for all of its functions."""

    def __init__(self, facts: Facts, kid: str, service: Sequence[Span], watch: Sequence[Span], proof_us: int) -> None:
        edges = sorted(facts.presence.get(kid, ()), key=_since)
        end_us = service[-1][1]
        spans = [
            (since, following, state)
            for (since, state), following in zip(edges, [*(edge[0] for edge in edges[1:]), end_us], strict=False)
        ]
        self._service = list(service)
        self._here = within(union((since, until) for since, until, state in spans if state in _HERE), watch)
        self._planned = union((since, until) for since, until, state in spans if state == "planned")
        self._said = sorted(facts.functions.get(kid, ()), key=_at)
        self._ends = [*(said.at_us for said in self._said[1:]), end_us][: len(self._said)]
        self._proved = self._proof(proof_us)

    def function_names(self) -> list[str]:
        """What the kiosk said it can do."""
        return sorted({function for said in self._said for function in said.states}) or [ONLINE]

    def share(self, function: str, excluded: Sequence[Span], scale: Scale) -> Share:
        """How a function's time divides."""
        works, lost = self._works(function)
        up = within(works, self._service)
        rest = without(self._service, up)
        left_out = within(rest, excluded)
        rest = without(rest, left_out)
        down = within(rest, union([*lost, *self._planned]))
        return Share(
            total(up),
            total(down),
            total(left_out),
            total(rest) - total(down),
            scale.weigh(up),
            scale.weigh(self._service) - scale.weigh(left_out),
        )

    def _works(self, function: str) -> tuple[list[Span], list[Span]]:
        if function == ONLINE and not self._said:
            return self._here, []
        works, lost = [], []
        for said, end_us in zip(self._said, self._ends, strict=True):
            state = said.states.get(function)
            if state in _WORKS and said.is_timed:
                works.append((said.at_us, end_us))
            elif state == "lost":
                lost.append((said.at_us, end_us))
        return within(union(works), self._proved), union(lost)

    def _proof(self, proof_us: int) -> list[Span]:
        """Where what was said holds: the kiosk was seen there, or spoke before and after within a short time."""
        spoken = [(said.at_us, min(said.until_us, end)) for said, end in zip(self._said, self._ends, strict=True)]
        for said, end_us in zip(self._said[:-1], self._ends[:-1], strict=True):
            if end_us - said.until_us <= proof_us:
                spoken.append((said.until_us, end_us))
        return union([*self._here, *without(union(spoken), self._planned)])


def by_function(kiosks: Iterable[KioskShare]) -> dict[str, Share]:
    """Each function over all kiosks that have it."""
    found: dict[str, Share] = {}
    for kiosk in kiosks:
        for function, share in kiosk.functions.items():
            found[function] = found.get(function, Share()) + share
    return dict(sorted(found.items()))


def _mean_s(us: int, parts: int) -> int:
    return to_s((us * 2 + parts) // (2 * parts)) if parts else 0


def _since(edge: tuple[int, str]) -> int:
    return edge[0]


def _at(said: Said) -> int:
    return said.at_us
