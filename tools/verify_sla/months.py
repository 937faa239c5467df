"""The numbers of the report again, from the rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from .basis import MICRO, Bad, Case, Doc, Evidence, Judged, Share, Span, Terms, half_up, iso, seconds
from .clocks import cases_of
from .shares import availability


def ppm(up: int, counted: int) -> int | None:
    """Millionths, the half one up."""
    return None if counted == 0 else half_up(up * MICRO, counted)


def line(name: str, title: str | None, target: int, parts: int, share: Share) -> Doc:
    """One line of availability."""
    times, up, counted = share
    found = ppm(up, counted)
    return {
        "name": name,
        "title": title,
        "target_ppm": target,
        "availability_ppm": found,
        **{f"{key}_s": seconds(half_up(us, parts)) if parts else 0 for key, us in times.items()},
        "is_met": None if found is None else found >= target,
    }


def summed(items: Iterable[tuple[Share, int]]) -> Share:
    """Shares, each as often as its weight says."""
    times, up, counted = dict.fromkeys(("up", "down", "excluded", "unproved"), 0), 0, 0
    for share, weight in items:
        for name in times:
            times[name] += share[0][name] * weight
        up, counted = up + share[1] * weight, counted + share[2] * weight
    return times, up, counted


def recompute(rows: list[Doc], month: str, sealed_us: int) -> Doc:
    """The numbers of the report, from the rows alone."""
    evidence = Evidence(rows)
    if evidence.contract is None:
        raise Bad("没有合同", "there is no contract")
    terms = Terms(evidence.contract)
    first = date.fromisoformat(f"{month}-01")
    span = (terms.midnight(first), terms.midnight((first.replace(day=28) + timedelta(days=4)).replace(day=1)))
    as_of = min(sealed_us, span[1] + terms.settle)
    judged = availability(evidence, terms, (span[0], max(span[0], min(span[1], as_of))))
    weigh = {kid: {name: terms.weights.get(name, 1) for name in shares} for kid, (_, _, shares) in judged.items()}
    weigh = {kid: own if any(own.values()) else dict.fromkeys(own, 1) for kid, own in weigh.items()}
    whole = {
        kid: [(share, weigh[kid][name]) for name, share in shares.items()] for kid, (_, _, shares) in judged.items()
    }
    kiosks = [
        line(kid, judged[kid][0], terms.kiosk_target, sum(weigh[kid].values()), summed(whole[kid])) for kid in judged
    ]
    by_area, by_function = defaultdict(list), defaultdict(list)
    for kid, (area, _, shares) in judged.items():
        by_area[area].append(kid)
        for name, share in shares.items():
            by_function[name].append((share, 1))
    areas = [
        line(
            area,
            area,
            terms.kiosk_target,
            sum(sum(weigh[kid].values()) for kid in kids),
            summed(item for kid in kids for item in whole[kid]),
        )
        for area, kids in sorted(by_area.items())
    ]
    functions = [
        line(name, None, terms.function_targets.get(name, terms.function_target), len(items), summed(items))
        for name, items in sorted(by_function.items())
    ]
    total = summed(item for items in whole.values() for item in items)
    cases = cases_of(evidence, terms, as_of, span[1])
    shown = [case for case in cases if case[1][2] is None or case[1][2] >= span[0]]
    breaches = [found for case in shown if not case[0]["is_preventive"] for found in breaches_of(case, terms, span)]
    return {
        "as_of": iso(as_of),
        "is_final": sealed_us >= span[1] + terms.settle,
        "since": iso(span[0]),
        "until": iso(span[1]),
        "summary": summary_of(terms, kiosks, ppm(*total[1:]), shown, breaches, span),
        "functions": functions,
        "areas": areas,
        "kiosks": kiosks,
        "cases": [case_line(case, terms) for case in shown],
        "breaches": breaches,
        "pauses": [pause_line(case, pause, terms, as_of) for case in shown for pause in case[2]],
        "models": models_of(evidence, judged, cases, span),
        "parts": parts_of(evidence, terms, span),
    }


def breaches_of(case: Case, terms: Terms, span: Span) -> Iterator[Doc]:
    """The limits of a case that were passed in the month."""
    body, _, _, response, repair = case
    side = terms.side(body)
    for name, shown in (("response", response), ("repair", repair)):
        if shown["late"] and span[0] <= shown["due"] < span[1]:
            yield {
                "number": body["number"],
                "clock": name,
                "cause": body["cause"],
                "place": body["scope_name"],
                "side": side,
                "limit_s": shown["limit"],
                "elapsed_s": shown["elapsed"],
                "over_s": shown["elapsed"] - shown["limit"],
                "breached_at": iso(shown["due"]),
                "penalty_fen": terms.costs[name] if side == "vendor" else 0,
            }


def case_line(case: Case, terms: Terms) -> Doc:
    """One line of the cases."""
    body, (began, answered, over), _, response, repair = case
    return {
        "number": body["number"],
        "id": body["id"],
        "cause": body["cause"],
        "scope": body["scope"],
        "place": body["scope_name"],
        "severity": body["severity"],
        "side": terms.side(body),
        "kiosks": len(body["kids"]),
        "is_preventive": body["is_preventive"],
        "began_at": iso(began),
        "responded_at": iso(answered),
        "restored_at": iso(over),
        "response_s": response["elapsed"],
        "repair_s": repair["elapsed"],
        "paused_s": repair["paused"],
        "unproved_s": repair["unproved"],
        "is_response_breached": response["late"],
        "is_repair_breached": repair["late"],
        "warning_level": max(response["level"], repair["level"]),
        "repair_due_at": iso(repair["due"]),
    }


def pause_line(case: Case, pause: Doc, terms: Terms, as_of: int) -> Doc:
    """One line of the pauses."""
    until = as_of if pause["until_us"] is None else pause["until_us"]
    return {
        "number": case[0]["number"],
        "reason": pause["reason"],
        "since": iso(pause["since_us"]),
        "until": iso(pause["until_us"]),
        "length_s": seconds(max(0, until - pause["since_us"])),
        "evidence": ", ".join(f"{kind}={value}" for kind, value in sorted(pause["evidence"].items()) if value),
        "is_proved": terms.proves(pause),
    }


def mean(values: list[int]) -> int | None:
    """The mean, the half one up."""
    return half_up(sum(values), len(values)) if values else None


def summary_of(
    terms: Terms, kiosks: list[Doc], found_ppm: int | None, shown: list[Case], breaches: list[Doc], span: Span
) -> Doc:
    """The month in a few numbers."""
    began = [case for case in shown if span[0] <= case[1][0] < span[1]]
    counted = [case for case in began if not case[0]["is_preventive"]]
    answers = [case[3]["elapsed"] for case in counted if not case[3]["running"]]
    repairs = [case[4]["elapsed"] for case in counted if not case[4]["running"]]
    below = sum(item["is_met"] is False for item in kiosks)
    penalty = sum(item["penalty_fen"] for item in breaches) + below * terms.kiosk_cost
    return {
        "availability_ppm": found_ppm,
        "kiosks": len(kiosks),
        "kiosks_below_target": below,
        "cases": len(counted),
        "preventive_cases": len(began) - len(counted),
        "response_mean_s": mean(answers),
        "response_max_s": max(answers, default=None),
        "repair_mean_s": mean(repairs),
        "repair_max_s": max(repairs, default=None),
        "response_breaches": sum(item["clock"] == "response" for item in breaches),
        "repair_breaches": sum(item["clock"] == "repair" for item in breaches),
        "vendor_breaches": sum(item["side"] == "vendor" for item in breaches),
        "paused_s": sum(case[4]["paused"] for case in counted),
        "unproved_pause_s": sum(case[4]["unproved"] for case in counted),
        "penalty_fen": penalty if terms.cap is None else min(penalty, terms.cap),
    }


def models_of(evidence: Evidence, judged: Judged, cases: list[Case], span: Span) -> list[Doc]:
    """How often devices of one model and firmware failed."""
    units: dict[tuple[str, str], int] = defaultdict(int)
    service: dict[tuple[str, str], int] = defaultdict(int)
    failures: dict[tuple[str, str], list[Doc]] = defaultdict(list)
    for kid in judged:
        for model, firmware in evidence.latest["kiosk"][kid]["components"].values():
            units[model, firmware] += 1
            service[model, firmware] += judged[kid][1]
    for body, of, _, _, repair in cases:
        if body["is_preventive"] or body["scope"] != "component" or not span[0] <= of[0] < span[1]:
            continue
        kid, component = body["part"]
        part = evidence.latest["kiosk"].get(kid, {}).get("components", {}).get(component)
        if part is not None:
            failures[part[0], part[1]].append(repair)
    return [
        {
            "model": key[0],
            "firmware": key[1],
            "units": units[key],
            "service_s": seconds(service[key]),
            "failures": len(failures[key]),
            "mtbf_s": seconds(service[key]) // len(failures[key]) if failures[key] else None,
            "mttr_s": mean([item["elapsed"] for item in failures[key] if not item["running"]]),
        }
        for key in sorted(units)
    ]


def parts_of(evidence: Evidence, terms: Terms, span: Span) -> list[Doc]:
    """The parts that were changed in the month."""
    warranty = terms.body.get("warranty_days", 365) * 86_400 * MICRO
    fitted = sorted(evidence.latest["part"].values(), key=lambda item: (item["at_us"], item["id"]))
    names = ("order", "kid", "component", "part", "serial_out", "serial_in")
    return [
        {
            **{name: item[name] for name in names},
            "at": iso(item["at_us"]),
            "warranty_until": iso(item["at_us"] + warranty),
        }
        for item in fitted
        if span[0] <= item["at_us"] < span[1]
    ]
