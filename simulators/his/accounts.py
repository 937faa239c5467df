"""What the hospital has accounted for: a commit happens once, a refund at most for what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from simulators.his.model import Books, Code, Refused, Trade
from simulators.his.parameters import Data, Parameters, text, whole

TIME: Final = "%Y-%m-%d %H:%M:%S"
_PAGE_MAX: Final = 5_000


def commit_once(books: Books, now: datetime, parameters: Parameters, business: str, commit: Callable[[], Data]) -> Data:
    """Account for a payment; a second call with its number is told what the first was."""
    number = text(parameters, "trade_no")
    known = books.trades.get(number)
    if known is not None:
        if known.amount != whole(parameters, "amount"):
            raise Refused(Code.CONFLICT, "同一流水号金额不一致")
        return known.answer
    data = commit()
    books.counter += 1
    data["reconciliation_no"] = f"H{books.counter:09d}"
    books.trades[number] = Trade(
        number,
        business,
        whole(parameters, "amount"),
        str(parameters.get("pay_channel", "")),
        str(parameters.get("trade_channel_payid", "")),
        now.strftime(TIME),
        data["reconciliation_no"],
        answer=data,
    )
    return data


def refund_once(books: Books, now: datetime, parameters: Parameters, business: str) -> tuple[Data, Trade | None]:
    """Account for a refund. What to say, and the trade when nothing of it is left now."""
    number, amount = text(parameters, "refund_no"), whole(parameters, "amount")
    known = books.refunds.get(number)
    if known is not None:
        if (known.trade_no, known.amount) != (text(parameters, "trade_no"), -amount):
            raise Refused(Code.CONFLICT, "同一退费号内容不一致")
        return known.answer, None
    trade = books.trades.get(text(parameters, "trade_no"))
    if trade is None or trade.business != business:
        raise Refused(Code.NOT_FOUND, "流水号不存在")
    left = trade.amount + sum(one.amount for one in books.refunds.values() if one.trade_no == trade.trade_no)
    if left == 0:
        raise Refused(Code.CONFLICT, "已退费")
    if not 0 < amount <= left or (business == "register" and amount != left):  # half a registration does not exist
        raise Refused(Code.AMOUNT_DIFFERS, "金额不符")
    books.counter += 1
    data = {"reconciliation_no": f"H{books.counter:09d}"}
    books.refunds[number] = Trade(
        trade.trade_no,
        "refund",
        -amount,
        trade.pay_channel,
        trade.trade_channel_payid,
        now.strftime(TIME),
        data["reconciliation_no"],
        number,
        data,
    )
    return data, trade if amount == left else None


def check(books: Books, parameters: Parameters) -> Data:
    """Whether a commit or a refund has happened."""
    book = books.refunds if parameters.get("business") == "refund" else books.trades
    trade = book.get(text(parameters, "trade_no"))
    if trade is None:
        return {"state": "notfound"}
    return {"state": "found", "amount": trade.amount, **trade.answer}


def page(books: Books, parameters: Parameters) -> Data:
    """Everything of a day, a page at a time."""
    day = text(parameters, "day")
    offset, length = whole(parameters, "offset"), min(whole(parameters, "length"), _PAGE_MAX)
    trades = [*books.trades.values(), *books.refunds.values()]
    found = sorted((one for one in trades if one.time_trade.startswith(day)), key=lambda one: one.reconciliation_no)
    rows = [
        {
            "trade_no": one.trade_no,
            "refund_no": one.refund_no,
            "business": one.business,
            "amount": one.amount,
            "pay_channel": one.pay_channel,
            "trade_channel_payid": one.trade_channel_payid,
            "time_trade": one.time_trade,
            "reconciliation_no": one.reconciliation_no,
            "terminal_type": "kiosk",
        }
        for one in found[offset : offset + length]
    ]
    return {"total": len(found), "rows": rows}
