"""Compares the three books of a day: by number, then state, amount and day. Pure.

What the channel's bill says of money is taken as true; what ours and the HIS's lists say has to agree with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from patient_platform.his.ports import HisTrade
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.money import Fen
from patient_platform.payment.ports import BillRow, BillStatus
from patient_platform.reconciliation.model import Books, Code, Finding, OurRefund, OurRow, Totals

OUR_NUMBER: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}\d{2}")
"""A ULID and the number of the try: what we never made is somebody else's."""
MIDNIGHT: Final = timedelta(minutes=10)
"""A payment a few minutes before or after midnight may stand on the other day in another book."""


def compare(books: Books, bill: Sequence[BillRow], his: Sequence[HisTrade]) -> list[Finding]:
    """A finding for every payment and refund in any of the books."""
    posted = {trade.trade_no: trade for trade in his if trade.refund_no is None}
    unposted = {trade.refund_no: trade for trade in his if trade.refund_no is not None}
    ours = {row.trade_no: row for row in books.payments}
    findings = list(_payments(books, ours, bill, posted))
    findings += _refunds(books, bill, unposted)
    findings += _twice(findings, ours)
    return findings


def totals_of_bill(bill: Iterable[BillRow]) -> Totals:
    """What the channel says moved."""
    rows = list(bill)
    paid = [row for row in rows if row.status is BillStatus.PAID]
    back = [row for row in rows if row.status is BillStatus.REFUNDED]
    return Totals(
        len(paid),
        Fen(sum(row.amount_fen for row in paid)),
        len(back),
        Fen(sum(row.amount_fen for row in back)),
        Fen(sum(row.fee_fen for row in rows)),
    )


def totals_of_ours(books: Books) -> Totals:
    """What we say moved on this day."""
    paid = [row for row in books.payments if row.is_paid and _is_on(row, books.day)]
    back = [row for row in books.refunds if row.is_done and row.at.astimezone(HOSPITAL_TIME).date() == books.day]
    return Totals(
        len(paid),
        Fen(sum(row.amount_fen for row in paid)),
        len(back),
        Fen(sum(row.amount_fen for row in back)),
    )


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each code."""
    return dict(Counter(finding.code.value for finding in findings))


def _is_on(row: OurRow, day: date) -> bool:
    return row.at is not None and row.at.astimezone(HOSPITAL_TIME).date() == day


def _may_be_another_day(posted_at: datetime | None, day: date) -> bool:
    """Whether the HIS, whose day ends a little before midnight, may have it in the list of another day."""
    if posted_at is None:
        return False
    return posted_at < _begin(day) + MIDNIGHT or _is_for_later(posted_at, day)


def _is_for_later(posted_at: datetime, day: date) -> bool:
    return posted_at >= _begin(day + timedelta(days=1)) - MIDNIGHT


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min, HOSPITAL_TIME).astimezone(UTC)


def _payments(
    books: Books, ours: Mapping[str, OurRow], bill: Sequence[BillRow], posted: Mapping[str, HisTrade]
) -> Iterator[Finding]:
    day = books.day
    paid = {row.trade_no: row for row in bill if row.status is BillStatus.PAID}
    revoked = {row.trade_no for row in bill if row.status is BillStatus.REVOKED}
    for number, row in paid.items():
        yield _paid(day, ours.get(number), row, posted.get(number))
    for number, mine in ours.items():
        if number in books.suspense and number not in paid and mine.is_paid and mine.is_posted:
            yield _from_suspense(day, mine, posted.get(number))
        elif number not in paid:
            yield from _without_channel(day, mine, posted.get(number), is_revoked=number in revoked)
    for number, trade in posted.items():
        if number not in paid and number not in ours:
            yield Finding(Code.S2, number, number, his_fen=trade.amount_fen)


def _paid(day: date, mine: OurRow | None, row: BillRow, trade: HisTrade | None) -> Finding:
    his_fen = None if trade is None else trade.amount_fen
    number = row.trade_no
    if mine is None:
        code = Code.L3 if OUR_NUMBER.fullmatch(number) else Code.FOREIGN
        return Finding(code, number, number, channel_fen=row.amount_fen, his_fen=his_fen)

    def found(code: Code) -> Finding:
        return Finding(code, number, number, mine.order, mine.amount_fen, row.amount_fen, his_fen)

    if not mine.is_paid:
        return found(Code.OK if mine.is_reversed and trade is None else Code.L2)
    if mine.amount_fen != row.amount_fen or (his_fen is not None and his_fen != row.amount_fen):
        return found(Code.A1)
    if mine.is_posted and trade is None:
        is_here = _is_on(mine, day) and not _may_be_another_day(mine.posted_at, day)
        return found(Code.L1 if is_here else Code.D1)
    if not mine.is_posted and trade is not None:
        return found(Code.L1)
    return found(Code.OK if _is_on(mine, day) else Code.D1)


def _from_suspense(day: date, mine: OurRow, trade: HisTrade | None) -> Finding:
    """Yesterday's payment, which the HIS had left for today: now it is here, or in no list at all."""
    if trade is not None:
        code = Code.OK if trade.amount_fen == mine.amount_fen else Code.A1
    else:
        code = Code.D1 if mine.posted_at is not None and _is_for_later(mine.posted_at, day) else Code.L1
    his_fen = None if trade is None else trade.amount_fen
    return Finding(code, mine.trade_no, mine.trade_no, mine.order, mine.amount_fen, mine.amount_fen, his_fen)


def _without_channel(day: date, mine: OurRow, trade: HisTrade | None, *, is_revoked: bool) -> Iterator[Finding]:
    his_fen = None if trade is None else trade.amount_fen
    if mine.is_paid:
        if is_revoked or _is_on(mine, day):
            yield Finding(Code.S1, mine.trade_no, mine.trade_no, mine.order, mine.amount_fen, None, his_fen)
        elif trade is not None:
            yield Finding(Code.D1, mine.trade_no, mine.trade_no, mine.order, mine.amount_fen, None, his_fen)
    elif trade is not None:
        yield Finding(Code.S2, mine.trade_no, mine.trade_no, mine.order, mine.amount_fen, None, his_fen)


def _refunds(books: Books, bill: Sequence[BillRow], unposted: Mapping[str, HisTrade]) -> Iterator[Finding]:
    ours = {row.refund_no: row for row in books.refunds}
    reversed_ = {row.trade_no for row in books.payments if row.is_reversed}
    rows = [row for row in bill if row.status is BillStatus.REFUNDED]
    theirs = {row.refund_no for row in rows}
    for row in rows:
        mine = ours.get(row.refund_no or "")
        if mine is None and row.trade_no in reversed_:
            yield Finding(Code.OK, f"{row.trade_no}R0", row.trade_no, channel_fen=Fen(-row.amount_fen))
        else:
            yield _refunded(mine, row, unposted)
    for number, mine in ours.items():
        if number in theirs:
            continue
        trade = unposted.get(number)
        if mine.is_done and mine.at.astimezone(HOSPITAL_TIME).date() == books.day:
            yield _refund(Code.R1, mine, None, trade)
        elif trade is not None and not mine.is_done:
            yield _refund(Code.R3, mine, None, trade)
    for number, trade in unposted.items():
        if number not in ours and number not in theirs:
            yield Finding(Code.R3, number, trade.trade_no, his_fen=trade.amount_fen)


def _refunded(mine: OurRefund | None, row: BillRow, unposted: Mapping[str, HisTrade]) -> Finding:
    if mine is None:
        is_ours = OUR_NUMBER.fullmatch(row.trade_no) is not None
        code = Code.R2 if is_ours else Code.FOREIGN
        return Finding(code, row.refund_no or row.trade_no, row.trade_no, channel_fen=row.amount_fen)
    trade = unposted.get(mine.refund_no)
    if mine.amount_fen != row.amount_fen:
        return _refund(Code.A1, mine, row, trade)
    if mine.is_failed:
        return _refund(Code.R3, mine, row, trade)
    if mine.in_his and trade is None:
        return _refund(Code.R4, mine, row, trade)
    return _refund(Code.OK, mine, row, trade)


def _refund(code: Code, mine: OurRefund, row: BillRow | None, trade: HisTrade | None) -> Finding:
    return Finding(
        code,
        mine.refund_no,
        mine.trade_no,
        mine.order,
        Fen(-mine.amount_fen),
        None if row is None else Fen(-row.amount_fen),
        None if trade is None else trade.amount_fen,
    )


def _twice(findings: Sequence[Finding], ours: Mapping[str, OurRow]) -> Iterator[Finding]:
    """Two payments of one order that are both kept by the channel."""
    kept: dict[str, list[Finding]] = {}
    for finding in findings:
        mine = ours.get(finding.trade_no)
        is_back = mine is not None and mine.is_reversed and finding.code is Code.OK
        if mine is None or is_back:
            continue
        if finding.number == finding.trade_no and finding.channel_fen is not None:
            kept.setdefault(mine.order, []).append(finding)
    returned = {finding.trade_no for finding in findings if finding.number != finding.trade_no}
    for same in kept.values():
        held = [finding for finding in same if finding.trade_no not in returned]
        for finding in held[1:]:
            yield Finding(
                Code.X1,
                finding.number,
                finding.trade_no,
                finding.order,
                finding.ours_fen,
                finding.channel_fen,
                finding.his_fen,
            )
