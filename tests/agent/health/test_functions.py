"""The graph from devices to what patients can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.profiles import load_kiosk
from agent.devices.types import DeviceStatus
from agent.health.functions import WARNINGS, Part, evaluate, graph_of
from support.tree import ROOT
from wire.envelope import Scalar
from wire.faults import Fault
from wire.functions import FunctionState, FunctionStatus, PatientFunction, decode_fields, encode_fields
from wire.profile import Capability, FunctionProfile, KioskProfile

_C, _F, _S = Capability, PatientFunction, FunctionState
DEVICES = {
    "id_reader": _C.ID_CARD_READER,
    "card_reader": _C.CARD_READER,
    "scanner": _C.QR_SCANNER,
    "receipt_printer": _C.RECEIPT_PRINTER,
    "report_printer": _C.REPORT_PRINTER,
    "pin_pad": _C.PIN_PAD,
    "io_board": _C.PAPER_SENSOR,
    "ups": _C.UPS,
    "camera": _C.FACE_CAMERA,
}
GRAPH = graph_of(DEVICES, {})
WELL = dict.fromkeys(DEVICES, Part(is_usable=True))


def _away(why: Fault) -> Part:
    return Part(is_usable=False, faults=frozenset({why}), why=why)


AWAY_AND_SILENT = replace(_away(Fault.UNPLUGGED), is_silent=True)
GOODNESS = [_S.LOST, _S.UNKNOWN, _S.DEGRADED, _S.AVAILABLE]


def _with(**faults: Fault) -> dict[str, Part]:
    return WELL | {name: Part(is_usable=True, faults=frozenset({fault})) for name, fault in faults.items()}


def _now(parts: Mapping[str, Part]) -> dict[PatientFunction, FunctionStatus]:
    return {PatientFunction(status.function): status for status in evaluate(GRAPH, parts)}


def _reasons(status: FunctionStatus) -> list[str]:
    return [f"{reason.component}:{reason.code}" for reason in status.because]


def test_with_every_device_well_everything_is_available() -> None:
    now = _now(WELL)
    assert set(now) == set(PatientFunction)
    assert {status.state for status in now.values()} == {_S.AVAILABLE}
    assert not any(status.because for status in now.values())


def test_no_receipt_paper_no_cash_like_payment_reports_still_print() -> None:
    now = _now(_with(receipt_printer=Fault.PAPER_OUT))
    for function in (_F.PAY_BY_CARD, _F.INPATIENT_DEPOSIT, _F.PRINT_RECEIPT, _F.PRINT_TICKET):
        assert now[function].state is _S.LOST
        assert _reasons(now[function]) == ["receipt_printer:paper_out"]
    assert (now[_F.PAY].state, now[_F.PAY].lacks) == (_S.DEGRADED, "receipt")
    assert (now[_F.REGISTER].state, now[_F.REGISTER].lacks) == (_S.DEGRADED, "ticket")
    for function in (_F.IDENTIFY, _F.QUERY, _F.PRINT_REPORT, _F.PRINT_INVOICE):
        assert now[function].state is _S.AVAILABLE


@pytest.mark.parametrize(
    ("parts", "function", "state", "reasons"),
    [
        (_with(receipt_printer=Fault.PAPER_LOW), _F.PAY, _S.AVAILABLE, []),
        (_with(id_reader=Fault.SAM_FAILED), _F.IDENTIFY, _S.AVAILABLE, []),
        (
            _with(id_reader=Fault.SAM_FAILED, card_reader=Fault.READER_SERVICE_DOWN, scanner=Fault.UNPLUGGED),
            _F.IDENTIFY,
            _S.LOST,
            ["id_reader:sam_failed", "card_reader:reader_service_down", "scanner:unplugged"],
        ),
        (_with(pin_pad=Fault.TAMPERED), _F.PAY_BY_CARD, _S.LOST, ["pin_pad:tampered"]),
        (_with(pin_pad=Fault.TAMPERED), _F.PAY, _S.AVAILABLE, []),
        (_with(io_board=Fault.TAMPERED), _F.PAY, _S.LOST, ["io_board:tampered"]),
        (_with(io_board=Fault.NOT_RESPONDING), _F.PAY, _S.AVAILABLE, []),
        (_with(ups=Fault.ON_BATTERY), _F.PAY, _S.LOST, ["ups:on_battery"]),
        (_with(ups=Fault.ON_BATTERY), _F.PRINT_REPORT, _S.AVAILABLE, []),
        (_with(ups=Fault.BATTERY_LOW), _F.QUERY, _S.LOST, ["ups:battery_low"]),
        (_with(report_printer=Fault.TONER_EMPTY), _F.PRINT_REPORT, _S.LOST, ["report_printer:toner_empty"]),
        (_with(camera=Fault.NO_PICTURE), _F.PAY_BY_FACE, _S.LOST, ["camera:no_picture"]),
        (WELL | {"report_printer": Part(is_usable=False)}, _F.PRINT_REPORT, _S.UNKNOWN, ["report_printer:not_seen"]),
        ({}, _F.IDENTIFY, _S.UNKNOWN, ["id_reader:not_seen", "card_reader:not_seen", "scanner:not_seen"]),
        (
            WELL | {"report_printer": Part(is_usable=True, is_silent=True)},
            _F.PRINT_REPORT,
            _S.UNKNOWN,
            ["report_printer:component_silent"],
        ),
        (
            WELL | {"report_printer": AWAY_AND_SILENT},
            _F.PRINT_REPORT,
            _S.LOST,
            ["report_printer:unplugged"],
        ),
        (
            WELL | {"report_printer": _away(Fault.DEVICE_BUSY)},
            _F.PRINT_REPORT,
            _S.LOST,
            ["report_printer:device_busy"],
        ),
        (WELL | {"receipt_printer": Part(is_usable=False)}, _F.PAY, _S.DEGRADED, ["receipt_printer:not_seen"]),
    ],
)
def test_what_devices_mean(
    parts: Mapping[str, Part], function: PatientFunction, state: FunctionState, reasons: list[str]
) -> None:
    status = _now(parts)[function]
    assert (status.state, _reasons(status)) == (state, reasons)


def test_a_reason_is_what_is_nearest_to_a_whole_way() -> None:
    now = _now(_with(id_reader=Fault.UNPLUGGED, receipt_printer=Fault.PAPER_OUT))
    assert _reasons(now[_F.PAY]) == ["receipt_printer:paper_out"]


def test_a_kiosk_without_a_printer_lacks_nothing() -> None:
    graph = graph_of({"scanner": _C.QR_SCANNER}, {})
    (pay,) = [status for status in evaluate(graph, {"scanner": Part(is_usable=True)}) if status.function == _F.PAY]
    assert pay.state is _S.AVAILABLE
    assert _F.PRINT_REPORT not in graph
    assert _F.PAY_BY_CARD not in graph


def test_a_profile_has_the_last_word() -> None:
    given_ = {
        _F.PRINT_REPORT: FunctionProfile(ways=[["report_printer:answers"]], stopped_by=["io_board:output_full"]),
        _F.BOOK: None,
    }
    graph = graph_of(DEVICES, given_)
    assert _F.BOOK not in graph

    def report(parts: Mapping[str, Part]) -> FunctionState:
        return next(item.state for item in evaluate(graph, parts) if item.function == _F.PRINT_REPORT)

    assert report(_with(report_printer=Fault.PAPER_OUT)) is _S.AVAILABLE
    assert report(_with(report_printer=Fault.UNPLUGGED)) is _S.LOST
    assert report(_with(io_board=Fault.OUTPUT_FULL)) is _S.LOST


@pytest.mark.parametrize(
    ("functions", "complaint"),
    [
        ("{pay: {ways: [[scaner]]}}", "functions: pay.ways.0.0: no component 'scaner' in devices"),
        ("{pay: {ways: [[id_reader]], stopped_by: ['id_reader:tired']}}", "functions: pay.stopped_by.0: no fault"),
        (
            "{pay: {ways: [[id_reader]], degraded: [{needs: [printer], lacks: receipt}]}}",
            "functions: pay.degraded.0.needs.0: no component 'printer'",
        ),
        ("{pay: {ways: [['id_reader:shines']]}}", "functions.pay.ways.0.0: "),
        ("{dance: {ways: [[id_reader]]}}", "functions.dance"),
        ("{pay: {ways: []}}", "functions.pay.ways: "),
    ],
)
def test_a_mistake_in_a_profile_is_refused_with_file_and_key(tmp_path: Path, functions: str, complaint: str) -> None:
    from agent.errors import ProfileError  # noqa: PLC0415 - beside its use

    file = tmp_path / "k.yaml"
    devices = "[{component: id_reader, device: generic-sdt-serial}]"
    file.write_text(f"model: k\ntitle_zh: 一\ntitle_en: K\ndevices: {devices}\nfunctions: {functions}\n", "utf-8")
    with pytest.raises(ProfileError) as refused:
        load_kiosk(file)
    assert str(refused.value).startswith(f"{file}: {complaint}")


@pytest.mark.parametrize("file", sorted((ROOT / "firmware_profiles/kiosks").glob("*.yaml")), ids=lambda file: file.stem)
def test_kiosk_models_offer_something_when_all_is_well(file: Path) -> None:
    profile = KioskProfile.model_validate(yaml.safe_load(file.read_text("utf-8")))
    places = load_kiosk(file)
    graph = graph_of({place.place.component: place.profile.capability for place in places}, profile.functions)
    states = {status.function: status.state for status in evaluate(graph, WELL)}
    assert {_F.IDENTIFY, _F.REGISTER, _F.PAY} <= states.keys()
    assert set(states.values()) == {_S.AVAILABLE}


def test_every_need_of_a_profile_is_a_component_or_a_component_and_a_condition() -> None:
    with pytest.raises(ValidationError):
        FunctionProfile(ways=[["Printer"]])


def test_what_is_seen_becomes_a_part() -> None:
    seen = Seen("p", _C.RECEIPT_PRINTER, DeviceState.READY, status=DeviceStatus({Fault.PAPER_LOW: ""}))
    assert Part.of(seen, is_silent=False) == Part(is_usable=True, faults=frozenset({Fault.PAPER_LOW}))
    away = Seen("p", _C.RECEIPT_PRINTER, DeviceState.ABSENT, fault=Fault.UNPLUGGED)
    assert Part.of(away, is_silent=False) == _away(Fault.UNPLUGGED)
    assert Part.of(Seen("p", _C.UPS), is_silent=True) == Part(is_usable=False, is_silent=True)


_PARTS = st.builds(
    Part,
    is_usable=st.booleans(),
    faults=st.frozensets(st.sampled_from(list(Fault)), max_size=3),
    why=st.none() | st.sampled_from(list(Fault)),
    is_silent=st.booleans(),
)
_KIOSKS = st.dictionaries(st.sampled_from(list(DEVICES)), _PARTS)


def _no_better(before: Mapping[str, Part], after: Mapping[str, Part]) -> None:
    was, is_now = _now(before), _now(after)
    for function in PatientFunction:
        assert GOODNESS.index(is_now[function].state) <= GOODNESS.index(was[function].state), function


@settings(max_examples=200, deadline=None)
@given(_KIOSKS, st.sampled_from(list(DEVICES)), st.sampled_from(list(Fault)))
def test_a_fault_more_never_makes_anything_more_available(parts: dict[str, Part], name: str, fault: Fault) -> None:
    part = parts.get(name, Part(is_usable=False))
    worse = replace(part, faults=part.faults | {fault})
    _no_better(parts, parts | {name: worse})


@settings(max_examples=150, deadline=None)
@given(_KIOSKS, st.sampled_from(list(DEVICES)))
def test_silence_never_makes_anything_more_available(parts: dict[str, Part], name: str) -> None:
    part = parts.get(name, Part(is_usable=False))
    _no_better(parts, parts | {name: replace(part, is_silent=True)})
    _no_better(parts, parts | {name: replace(part, is_usable=False)})


@settings(max_examples=100, deadline=None)
@given(_KIOSKS)
def test_available_needs_evidence_of_every_device_of_a_way(parts: dict[str, Part]) -> None:
    for function, status in _now(parts).items():
        if status.state is _S.AVAILABLE:
            assert any(
                all((part := parts.get(need)) and part.is_usable and not part.is_silent for need in way)
                and not any(parts[need].faults - WARNINGS for need in way)
                for way in GRAPH[function].ways
            )


@settings(max_examples=100, deadline=None)
@given(_KIOSKS)
def test_an_event_record_carries_all_of_it(parts: dict[str, Part]) -> None:
    found = evaluate(GRAPH, parts)
    fields = encode_fields(found)
    assert len(fields) <= 32
    assert decode_fields(fields) == found


def test_what_a_reader_does_not_understand_is_left_out() -> None:
    fields: dict[str, Scalar] = {
        "pay": "sleeping",
        "query": "lost a:bb c:dd",
        "BOOK": "lost",
        "x": 3,
        "fly": "available",
        "z": "lost  a:bb",
    }
    found = decode_fields(fields)
    assert [(status.function, status.state, len(status.because)) for status in found] == [
        ("query", _S.LOST, 2),
        ("fly", _S.AVAILABLE, 0),
    ]
