"""The trade bill of WeChat Pay (pay.weixin.qq.com, format-trade): CSV, backticks, a summary that has to fit.

Columns are found by name, because their order differs by kind and age of the bill. Amounts are yuan. A row is a
payment, a refund or a reversal; a refund stands on the day it was asked for and is never updated.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

from patient_platform.money import Fen, MoneyError, from_yuan
from patient_platform.payment.channels.answers import BILL_BYTES
from patient_platform.payment.channels.bills import BillInvalid, table, wall_time
from patient_platform.payment.ports import BillRow, BillStatus

_COLUMNS: Final = ("交易时间", "商户号", "微信订单号", "商户订单号", "交易状态")
_STATES: Final = {
    "SUCCESS": BillStatus.PAID,
    "REFUND": BillStatus.REFUNDED,
    "REVOKED": BillStatus.REVOKED,
}


def read_bill(packed: bytes, sha1: str, mchid: str) -> list[BillRow]:
    """The rows of one merchant.

    Raises:
        BillInvalid: damaged, of another merchant, or not equal to its summary.
    """
    data = _unpacked(packed)
    if sha1 and sha1.lower() not in {hashlib.sha1(part, usedforsecurity=False).hexdigest() for part in (data, packed)}:
        raise BillInvalid("the bill does not have the hash it was announced with")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BillInvalid("the bill is no UTF-8 text") from error
    lines = text.splitlines()
    cut = next((number for number, line in enumerate(lines) if line.lstrip("`").startswith("总交易单数")), None)
    if cut is None:
        raise BillInvalid("the bill has no summary: it is cut off")
    rows = [_row(item, mchid) for item in table("\n".join(lines[:cut]), _COLUMNS, strip="`")]
    _balance(rows, "\n".join(lines[cut:]))
    return rows


def _unpacked(packed: bytes) -> bytes:
    if not packed.startswith(b"\x1f\x8b"):
        return packed
    opener = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        data = opener.decompress(packed, BILL_BYTES)
    except zlib.error as error:
        raise BillInvalid("the bill is no gzip file") from error
    if opener.unconsumed_tail or not opener.eof:
        raise BillInvalid("the bill is cut off, or larger than any bill")
    return data


def _row(item: dict[str, str], mchid: str) -> BillRow:
    if item["商户号"] != mchid:
        raise BillInvalid("the bill is of another merchant")
    status = _STATES.get(item["交易状态"])
    if status is None:
        raise BillInvalid("the bill has a state nobody knows")
    try:
        at = wall_time(item["交易时间"])
        if status is BillStatus.PAID:
            amount = from_yuan(item.get("订单金额") or item.get("总金额") or item.get("应结订单金额") or "")
            refund_no = None
        else:
            amount = from_yuan(item.get("申请退款金额") or item.get("退款金额") or "0")
            refund_no = item.get("商户退款单号") or None
        fee = from_yuan(item.get("手续费") or "0.00") if _is_short(item.get("手续费")) else Fen(0)
    except (MoneyError, ValueError) as error:
        raise BillInvalid("the bill has a row that cannot be read") from error
    return BillRow(item["商户订单号"], item["微信订单号"], status, amount, at, refund_no, fee)


def _is_short(text: str | None) -> bool:
    """Fees come with five decimals too; those say nothing in fen."""
    return text is not None and len(text.partition(".")[2]) <= 2  # noqa: PLR2004 - fen


def _balance(rows: list[BillRow], summary: str) -> None:
    sums = next(table(summary, ("总交易单数",), strip="`"), None)
    if sums is None:
        raise BillInvalid("the bill has no summary: it is cut off")
    if sums["总交易单数"] != str(len(rows)):
        raise BillInvalid(f"the bill has {len(rows)} rows, its summary counts {sums['总交易单数']}")
    paid = sum(row.amount_fen for row in rows if row.status is BillStatus.PAID)
    back = sum(row.amount_fen for row in rows if row.status is BillStatus.REFUNDED)
    revoked = sum(row.amount_fen for row in rows if row.status is BillStatus.REVOKED)
    # whether the sum counts what was revoked is written nowhere, and either is no damage
    for name, amounts in (("订单总金额", {paid}), ("申请退款总金额", {back, back + revoked})):
        if name in sums and _fen(sums[name]) not in amounts:
            raise BillInvalid(f"the bill does not add up to its summary: {name}")


def _fen(text: str) -> Fen:
    try:
        return from_yuan(text)
    except MoneyError as error:
        raise BillInvalid("the summary cannot be read") from error
