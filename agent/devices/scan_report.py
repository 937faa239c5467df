"""What a scan found, for people (Chinese first) and for programs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from agent.devices.discovery import Candidate, Component, Discovery, Fit, Stranger
from agent.links.census import SerialFound

_FITS = {
    Fit.IN_PLACE: "就位 (in place)",
    Fit.FOUND: "已找到 (found)",
    Fit.SEVERAL: "有多个, 请选 (several)",
    Fit.POSSIBLE: "无法辨认, 请选 (cannot tell)",
    Fit.WRONG: "接错设备 (wrong device)",
    Fit.MISSING: "未找到 (missing)",
    Fit.UNCHECKED: "不检查 (not looked for)",
}


def report_lines(found: Discovery) -> Iterator[str]:
    """Tables: the kiosk's components, other USB devices, free ports, card readers."""
    if found.components:
        yield from _table(
            ("部件 (component)", "设备档案 (profile)", "结果 (result)", "端口 (port)"),
            [row for component in found.components for row in _rows(component)],
        )
    else:
        yield "没有选择自助机型号, 只列出接入的设备 (no kiosk profile is set: only what is plugged in)"
    if found.strangers:
        yield ""
        yield "其他 USB 设备 (other USB devices)"
        yield from _table(
            ("位置 (place)", "USB id", "名称 (name)", "已知档案 (profiles)"),
            [_stranger(one) for one in found.strangers],
        )
    if found.free_ports:
        yield ""
        yield "未使用的串口 (serial ports nobody uses)"
        rows = [(port.name, _usb(port), port.by_id or port.by_path or "-") for port in found.free_ports]
        yield from _table(("串口 (port)", "USB", "固定名称 (stable name)"), rows)
    yield ""
    readers = found.card_readers
    if readers is None:
        yield "读卡服务未运行 (the PC/SC service does not run)"
    else:
        yield f"读卡器 (card readers)  {', '.join(readers) or '无 (none)'}"


def report_document(found: Discovery) -> dict[str, object]:
    """The same for programs."""
    return {**asdict(found), "is_whole": found.is_whole}


def ports_to_set(found: Discovery) -> dict[str, str]:
    """What can be written without asking anybody: one thing each, under a name that stays."""
    return {
        component.name: component.port
        for component in found.components
        if component.fit is Fit.FOUND and component.port is not None and component.candidates[0].is_stable
    }


def _rows(component: Component) -> list[tuple[str, ...]]:
    first = (component.name, component.device, _FITS[component.fit])
    if component.fit in {Fit.SEVERAL, Fit.POSSIBLE} and component.candidates:
        shown = [_candidate(one) for one in component.candidates]
        return [(*first, shown[0]), *[("", "", "", one) for one in shown[1:]]]
    where = component.candidates[0].where if component.candidates else "-"
    port = component.port
    if component.fit is Fit.FOUND and component.candidates:
        return [(*first, _candidate(component.candidates[0]))]
    return [
        (*first, where if port is None or port == where else f"{port}  ← {where}" if component.candidates else port)
    ]


def _candidate(one: Candidate) -> str:
    unstable = "" if one.is_stable else "  (重启后可能改变 · may change)"
    return f"{one.port or one.where}{unstable}"


def _stranger(one: Stranger) -> tuple[str, ...]:
    kinds = f" [{', '.join(one.device.kinds)}]" if one.device.kinds else ""
    return (
        one.device.place,
        one.device.usb_id,
        f"{one.device.product or '?'}{kinds}",
        ", ".join(one.known_as) or "未知 (unknown)",
    )


def _usb(port: SerialFound) -> str:
    return "-" if port.usb is None else f"{port.usb.place} {port.usb.usb_id} {port.usb.product}".strip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(_width(row[at]) for row in [head, *rows]) for at in range(len(head))]
    rule = ["─" * width for width in widths]
    lines = [head, rule, *rows]
    return [
        "  ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
