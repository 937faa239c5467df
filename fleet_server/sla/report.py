"""The monthly report from evidence rows alone; the same rows give the same numbers everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.sla.availability import ONLINE, KioskShare, Share, by_function, judge
from fleet_server.sla.clocks import Course, Pause, Reading, course, readings
from fleet_server.sla.contract import Contract, Side, ppm
from fleet_server.sla.evidence import Body, Facts
from fleet_server.sla.model import (
    Availability,
    BreachLine,
    CaseLine,
    ModelLine,
    PartLine,
    PauseLine,
    Report,
    Summary,
)
from fleet_server.sla.spans import SECOND_US, Span, month_span, to_moment, to_s
from wire.faults import FACTS, Fault, Severity
from wire.functions import FUNCTION_TITLES, PatientFunction

_SCOPE_SIDES: Final = MappingProxyType({"power_feed": Side.HOSPITAL, "switch": Side.HOSPITAL, "outside": Side.OUTSIDE})
"""Whose side a cause is on that reaches this far, where the contract does not name its code."""
_FAULTS: Final = {fault.value: fault for fault in Fault}
_FUNCTIONS: Final = {function.value: function for function in PatientFunction}


@dataclass(frozen=True, slots=True)
class Basis:
    """What a report is computed from."""

    facts: Facts
    now_us: int
    rows: int = 0
    head: str | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A case whose clocks are read."""

    body: Body
    course: Course
    pauses: Sequence[Pause]
    response: Reading
    repair: Reading
    side: Side

    @property
    def is_preventive(self) -> bool:
        return bool(self.body["is_preventive"])


def compute(month: str, basis: Basis) -> Report:
    """The report of a month. Raises: Refusal when no contract was in force."""
    contract = basis.facts.contract
    if contract is None:
        raise Refusal("contract_missing", "no contract is in force: kioskctl sla contract set FILE", status=409)
    since_us, until_us = span = month_span(month, contract.zone)
    settled_us = until_us + contract.settle_days * 86_400 * SECOND_US
    as_of_us = min(basis.now_us, settled_us)
    judged = judge(basis.facts, contract, (since_us, max(since_us, min(until_us, as_of_us))))
    cases = _cases(basis.facts, contract, as_of_us, until_us)
    shown = [case for case in cases if _touches(case, span)]
    breaches = [line for case in shown if not case.is_preventive for line in _breaches(case, contract, span)]
    kiosks = _kiosks(judged, contract)
    return Report(
        month=month,
        contract=contract.number,
        hospital=contract.hospital,
        vendor=contract.vendor,
        zone=contract.zone,
        since=to_moment(since_us),
        until=to_moment(until_us),
        as_of=to_moment(as_of_us),
        is_final=basis.now_us >= settled_us,
        evidence_rows=basis.rows,
        evidence_head=basis.head,
        summary=_summary(contract, judged, kiosks, shown, breaches, span),
        functions=_functions(judged, contract),
        areas=_areas(judged, contract),
        kiosks=kiosks,
        cases=[_case_line(case) for case in shown],
        breaches=breaches,
        pauses=[line for case in shown for line in _pause_lines(case, contract, as_of_us)],
        models=_models(basis.facts, judged, cases, span),
        parts=_parts(basis.facts, contract, span),
    )


# -- availability ------------------------------------------------------------------------------------------------


def _line(name: str, title: str, target_ppm: int | None, share: Share, parts: int = 1) -> Availability:
    found = share.ppm
    is_met = None if found is None or target_ppm is None else found >= target_ppm
    return Availability(
        name=name,
        title=title,
        target_ppm=target_ppm,
        availability_ppm=found,
        is_met=is_met,
        **share.seconds(parts),
    )


def _kiosks(judged: Sequence[KioskShare], contract: Contract) -> list[Availability]:
    target = ppm(contract.targets.kiosk)
    return [_line(item.kid, item.area, target, item.whole, item.weight) for item in judged]


def _areas(judged: Sequence[KioskShare], contract: Contract) -> list[Availability]:
    shares: dict[str, Share] = {}
    weights: dict[str, int] = {}
    for item in judged:
        shares[item.area] = shares.get(item.area, Share()) + item.whole
        weights[item.area] = weights.get(item.area, 0) + item.weight
    target = ppm(contract.targets.kiosk)
    return [_line(area, area, target, shares[area], weights[area]) for area in sorted(shares)]


def _functions(judged: Sequence[KioskShare], contract: Contract) -> list[Availability]:
    found = []
    targets = contract.targets
    for name, share in by_function(judged).items():
        known = _FUNCTIONS.get(name)
        title = "在线" if name == ONLINE else name if known is None else FUNCTION_TITLES[known].zh
        parts = sum(name in item.functions for item in judged)
        found.append(_line(name, title, ppm(targets.functions.get(name, targets.function)), share, parts))
    return found


# -- cases -------------------------------------------------------------------------------------------------------


def _cases(facts: Facts, contract: Contract, as_of_us: int, until_us: int) -> list[_Case]:
    """Every case that began before the end of the month, by number."""
    pauses = facts.pauses_by_case()
    found = []
    for name, body in sorted(facts.cases.items(), key=_number):
        of = course(facts.marks_of(name), contract.relapse_s)
        if of is None or of.began_us >= min(until_us, as_of_us):
            continue
        stands = pauses.get(name, [])
        limits = contract.limits[Severity(body["severity"])]
        response, repair = readings(of, as_of_us, limits, stands, contract)
        found.append(_Case(body, of, stands, response, repair, _side(body, contract)))
    return found


def _number(item: tuple[str, Body]) -> tuple[int, str]:
    return item[1]["number"], item[0]


def _side(body: Body, contract: Contract) -> Side:
    if body["cause"] in contract.sides or body["scope"] not in _SCOPE_SIDES:
        return contract.side_of(body["cause"])
    return _SCOPE_SIDES[body["scope"]]


def _began_in(case: _Case, span: Span) -> bool:
    return span[0] <= case.course.began_us < span[1]


def _touches(case: _Case, span: Span) -> bool:
    """Whether it ran at any time in the month."""
    over_us = case.course.restored_us
    return case.course.began_us < span[1] and (over_us is None or over_us >= span[0])


def _case_line(case: _Case) -> CaseLine:
    body, of = case.body, case.course
    return CaseLine(
        number=body["number"],
        id=body["id"],
        cause=body["cause"],
        cause_title=_title(body["cause"]),
        scope=body["scope"],
        place=body["scope_name"],
        severity=body["severity"],
        side=case.side.value,
        kiosks=len(body["kids"]),
        is_preventive=case.is_preventive,
        began_at=to_moment(of.began_us),
        responded_at=_moment(of.responded_us),
        restored_at=_moment(of.restored_us),
        response_s=case.response.elapsed_s,
        repair_s=case.repair.elapsed_s,
        paused_s=case.repair.paused_s,
        unproved_s=case.repair.unproved_s,
        is_response_breached=case.response.is_breached,
        is_repair_breached=case.repair.is_breached,
        warning_level=max(case.response.level, case.repair.level),
        repair_due_at=_moment(case.repair.breach_us),
    )


def _breaches(case: _Case, contract: Contract, span: Span) -> list[BreachLine]:
    """The limits of a case that were passed in the month."""
    costs = {"response": contract.penalties.response_fen, "repair": contract.penalties.repair_fen}
    found = []
    for clock, reading in (("response", case.response), ("repair", case.repair)):
        at_us = reading.breach_us
        if not reading.is_breached or at_us is None or not span[0] <= at_us < span[1]:
            continue
        found.append(
            BreachLine(
                number=case.body["number"],
                clock=clock,
                cause=case.body["cause"],
                cause_title=_title(case.body["cause"]),
                place=case.body["scope_name"],
                side=case.side.value,
                limit_s=reading.limit_s,
                elapsed_s=reading.elapsed_s,
                over_s=reading.elapsed_s - reading.limit_s,
                breached_at=to_moment(at_us),
                penalty_fen=costs[clock] if case.side is Side.VENDOR else 0,
            )
        )
    return found


def _pause_lines(case: _Case, contract: Contract, as_of_us: int) -> list[PauseLine]:
    return [
        PauseLine(
            number=case.body["number"],
            reason=pause.reason,
            since=to_moment(pause.since_us),
            until=_moment(pause.until_us),
            length_s=to_s(max(0, (as_of_us if pause.until_us is None else pause.until_us) - pause.since_us)),
            evidence=", ".join(f"{kind}={value}" for kind, value in sorted(pause.evidence.items()) if value),
            is_proved=contract.proves(pause.reason, pause.evidence),
        )
        for pause in sorted(case.pauses, key=_begin)
    ]


def _begin(pause: Pause) -> int:
    return pause.since_us


# -- the rest ----------------------------------------------------------------------------------------------------


def _summary(
    contract: Contract,
    judged: Sequence[KioskShare],
    kiosks: Sequence[Availability],
    shown: Sequence[_Case],
    breaches: Sequence[BreachLine],
    span: Span,
) -> Summary:
    whole = sum((item.whole for item in judged), Share())
    began = [case for case in shown if _began_in(case, span)]
    counted = [case for case in began if not case.is_preventive]
    answered = [case.response.elapsed_s for case in counted if not case.response.is_running]
    repaired = [case.repair.elapsed_s for case in counted if not case.repair.is_running]
    below = sum(item.is_met is False for item in kiosks)
    costs = contract.penalties
    penalty_fen = sum(line.penalty_fen for line in breaches) + below * costs.kiosk_below_target_fen
    if costs.monthly_cap_fen is not None:
        penalty_fen = min(penalty_fen, costs.monthly_cap_fen)
    return Summary(
        availability_ppm=whole.ppm,
        kiosks=len(judged),
        kiosks_below_target=below,
        cases=len(counted),
        preventive_cases=len(began) - len(counted),
        response_mean_s=_mean(answered),
        response_max_s=max(answered, default=None),
        repair_mean_s=_mean(repaired),
        repair_max_s=max(repaired, default=None),
        response_breaches=sum(line.clock == "response" for line in breaches),
        repair_breaches=sum(line.clock == "repair" for line in breaches),
        vendor_breaches=sum(line.side == Side.VENDOR for line in breaches),
        paused_s=sum(case.repair.paused_s for case in counted),
        unproved_pause_s=sum(case.repair.unproved_s for case in counted),
        penalty_fen=penalty_fen,
    )


def _models(facts: Facts, judged: Sequence[KioskShare], cases: Sequence[_Case], span: Span) -> list[ModelLine]:
    units: dict[tuple[str, str], int] = {}
    service_us: dict[tuple[str, str], int] = {}
    for item in judged:
        for model, firmware in facts.kiosks[item.kid]["components"].values():
            key = (model, firmware)
            units[key] = units.get(key, 0) + 1
            service_us[key] = service_us.get(key, 0) + item.service_us
    failures: dict[tuple[str, str], list[Reading]] = {}
    for case in cases:
        if case.is_preventive or not _began_in(case, span) or case.body["scope"] != "component":
            continue
        kid, component = case.body["part"]
        part = facts.kiosks.get(kid, {}).get("components", {}).get(component)
        if part is not None:
            failures.setdefault((part[0], part[1]), []).append(case.repair)
    return [
        ModelLine(
            model=key[0],
            firmware=key[1],
            units=units[key],
            service_s=to_s(service_us[key]),
            failures=len(failures.get(key, ())),
            mtbf_s=to_s(service_us[key]) // len(failures[key]) if key in failures else None,
            mttr_s=_mean([item.elapsed_s for item in failures.get(key, ()) if not item.is_running]),
        )
        for key in sorted(units)
    ]


def _parts(facts: Facts, contract: Contract, span: Span) -> list[PartLine]:
    warranty = timedelta(days=contract.warranty_days)
    return [
        PartLine(
            order=body["order"],
            kid=body["kid"],
            component=body["component"],
            part=body["part"],
            serial_out=body["serial_out"],
            serial_in=body["serial_in"],
            at=to_moment(body["at_us"]),
            warranty_until=to_moment(body["at_us"]) + warranty,
        )
        for body in sorted(facts.parts.values(), key=_fitted)
        if span[0] <= body["at_us"] < span[1]
    ]


def _fitted(body: Body) -> tuple[int, str]:
    return body["at_us"], body["id"]


def _mean(values: Sequence[int]) -> int | None:
    return (2 * sum(values) + len(values)) // (2 * len(values)) if values else None


def _moment(us: int | None) -> datetime | None:
    return None if us is None else to_moment(us)


def _title(cause: str) -> str:
    return FACTS[_FAULTS[cause]].zh if cause in _FAULTS else cause
