"""A recording as lines that an engineer can read: Chinese first, a hex dump, and what was masked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from agent.recorder.shelf import Shelved
from wire.faults import FACTS, Fault
from wire.recording import Echo, EdgeLine, FrameLine, Masked, NoteLine, Recording, Shown, Way, Word

_ROW_BYTES = 16
_PRINTABLE = range(0x20, 0x7F)
_WAYS = {Way.SENT: "主机→设备", Way.CAME: "设备→主机"}
_WORDS = {
    Word.OPENED: "连接已打开 (opened)",
    Word.OPEN_FAILED: "连接打不开 (open failed)",
    Word.STARTED: "驱动已启动 (driver started)",
    Word.CLOSED: "连接已关闭 (closed)",
    Word.LOST: "连接丢失 (link lost)",
    Word.TIMEOUT: "设备没有在时限内接收或应答 (timeout)",
    Word.DISCARDED: "丢弃未读字节 (bytes discarded unread)",
    Word.REFUSED: "设备拒绝 (refused)",
    Word.CARD: "有无卡片 (card in reader)",
    Word.GAP: "此处较早的内容已被覆盖 (older entries overwritten)",
    Word.CLOCK: "时钟被调整 (clock set)",
}
_KINDS = {
    "text": "文字",
    "photo": "照片",
    "picture": "图像",
    "code": "码内容",
    "pin": "密码数据",
    "account": "账号",
    "record": "卡内记录",
    "card": "卡号",
    "document": "文档",
    "noise": "无法识别",
    "unknown": "未分类",
    "unfinished": "不完整",
    "check": "校验",
}


def list_lines(found: list[Shelved]) -> list[str]:
    """What there is, one line each."""
    if not found:
        return ["没有黑匣子记录 (no recordings)"]
    return [
        f"{_moment(shelved.frozen_at)}  {shelved.component:<16} {fault_text(shelved.fault)}  "
        f"{shelved.size_bytes / 1_024:.0f} KiB  {shelved.name}"
        for shelved in found
    ]


def show_lines(recording: Recording) -> Iterator[str]:
    """The whole recording."""
    head = recording.head
    about = (head.component, head.model, f"{head.capability}/{head.dialect}", head.link)
    yield f"部件 (component)   {_plain(' · '.join(about))}"
    yield f"故障 (fault)       {fault_text(head.fault)}" + (f" · {_plain(head.detail)}" if head.detail else "")
    yield f"时间 (frozen at)   {_moment(head.frozen_at)} · agent {_plain(head.agent_version)}"
    if head.skipped:
        yield f"未记录 (skipped)   此前还有 {head.skipped} 次故障没有单独记录"
    yield "遮盖 (masked)      〔…〕内的内容属于个人或无法识别，录制时已在源头去除，只留长度"
    yield ""
    for entry in recording.entries:
        match entry:
            case FrameLine():
                yield f"{entry.t:>12.5f} s  {_WAYS[entry.way]}  {_size(entry)} B"
                yield from _dump(entry)
            case NoteLine():
                count = f" {entry.count}" if entry.count or entry.word is Word.CARD else ""
                yield f"{entry.t:>12.5f} s  · {_WORDS[entry.word]}{count}"
            case EdgeLine():
                faults = "、".join(fault_text(fault) for fault in entry.faults) or "无故障"
                yield f"{entry.t:>12.5f} s  * {entry.component}: {_plain(entry.state)} · {faults}"


def fault_text(code: str) -> str:
    """A fault in Chinese with its code."""
    known = next((FACTS[fault].zh for fault in Fault if fault.value == code), "")
    return f"{known} ({code})" if known else code


def _plain(text: str) -> str:
    """Text of a file that may come from anywhere, without what would drive a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _size(frame: FrameLine) -> int:
    return sum(part.length if isinstance(part, Masked) else len(part.hex) // 2 for part in frame.parts)


def _dump(frame: FrameLine) -> Iterator[str]:
    offset = 0
    for part in frame.parts:
        match part:
            case Masked():
                digest = f" #{part.digest}" if part.digest else ""
                yield f"{'':14}{offset:04x}  〔{_KINDS.get(part.kind, part.kind)} {part.kind} {part.length} B{digest}〕"
                offset += part.length
            case Echo():
                yield f"{'':14}{offset:04x}  {_hex(bytes.fromhex(part.hex))}  ←主机选定 {part.name}"
                offset += len(part.hex) // 2
            case Shown():
                data = bytes.fromhex(part.hex)
                for start in range(0, len(data), _ROW_BYTES):
                    row = data[start : start + _ROW_BYTES]
                    text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in row)
                    yield f"{'':14}{offset + start:04x}  {_hex(row):<{3 * _ROW_BYTES}} |{text}|"
                offset += len(data)


def _hex(data: bytes) -> str:
    return " ".join(f"{byte:02x}" for byte in data)
