"""The four tables: money of a leg, posting, fulfilment, refund. A pair that is absent is a bug and raises.

Two rules are visible in the money table. Nothing goes from paid to unpaid. And while a reversal is under way
evidence of a payment changes nothing (`REVERSING`, `PAID` stays `REVERSING`): the reversal itself returns that
money, or the channel refuses it as paid (`NOT_REVERSIBLE`), and only then the payment counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from patient_platform.payment.model import (
    Fulfilment,
    FulfilmentEvent,
    Money,
    MoneyEvent,
    Posting,
    PostingEvent,
    RefundEvent,
    RefundState,
)

# fmt: off
MONEY: Final[Mapping[tuple[Money, MoneyEvent], Money]] = {
    (Money.CREATED,         MoneyEvent.SUBMIT):         Money.SUBMITTED,
    (Money.CREATED,         MoneyEvent.DROPPED):        Money.CLOSED,
    (Money.SUBMITTED,       MoneyEvent.PAID):           Money.PAID,
    (Money.SUBMITTED,       MoneyEvent.WAITING):        Money.PENDING,
    (Money.SUBMITTED,       MoneyEvent.REFUSED):        Money.FAILED,
    (Money.SUBMITTED,       MoneyEvent.LOST):           Money.UNKNOWN,
    (Money.SUBMITTED,       MoneyEvent.MISMATCH):       Money.MANUAL,
    (Money.PENDING,         MoneyEvent.PAID):           Money.PAID,
    (Money.PENDING,         MoneyEvent.WAITING):        Money.PENDING,
    (Money.PENDING,         MoneyEvent.REFUSED):        Money.FAILED,
    (Money.PENDING,         MoneyEvent.NOT_FOUND):      Money.PENDING,
    (Money.PENDING,         MoneyEvent.LOST):           Money.PENDING,
    (Money.PENDING,         MoneyEvent.GIVE_UP):        Money.REVERSING,
    (Money.PENDING,         MoneyEvent.MISMATCH):       Money.MANUAL,
    (Money.UNKNOWN,         MoneyEvent.PAID):           Money.PAID,
    (Money.UNKNOWN,         MoneyEvent.WAITING):        Money.PENDING,
    (Money.UNKNOWN,         MoneyEvent.REFUSED):        Money.FAILED,
    (Money.UNKNOWN,         MoneyEvent.NOT_FOUND):      Money.UNKNOWN,
    (Money.UNKNOWN,         MoneyEvent.LOST):           Money.UNKNOWN,
    (Money.UNKNOWN,         MoneyEvent.GIVE_UP):        Money.REVERSING,
    (Money.UNKNOWN,         MoneyEvent.MISMATCH):       Money.MANUAL,
    (Money.REVERSING,       MoneyEvent.CLOSED):         Money.CLOSED,
    (Money.REVERSING,       MoneyEvent.REFUNDED):       Money.REVERSED,
    (Money.REVERSING,       MoneyEvent.NOT_REVERSIBLE): Money.PAID,
    (Money.REVERSING,       MoneyEvent.LOST):           Money.REVERSE_UNKNOWN,
    (Money.REVERSING,       MoneyEvent.PAID):           Money.REVERSING,
    (Money.REVERSING,       MoneyEvent.MISMATCH):       Money.MANUAL,
    (Money.REVERSE_UNKNOWN, MoneyEvent.RETRY):          Money.REVERSING,
    (Money.REVERSE_UNKNOWN, MoneyEvent.PAID):           Money.REVERSE_UNKNOWN,
    (Money.REVERSE_UNKNOWN, MoneyEvent.EXHAUSTED):      Money.MANUAL,
    (Money.REVERSE_UNKNOWN, MoneyEvent.MISMATCH):       Money.MANUAL,
    (Money.CLOSED,          MoneyEvent.PAID):           Money.LATE_PAID,
    (Money.FAILED,          MoneyEvent.PAID):           Money.LATE_PAID,
    (Money.REVERSED,        MoneyEvent.PAID):           Money.LATE_PAID,
}

POSTING: Final[Mapping[tuple[Posting, PostingEvent], Posting]] = {
    (Posting.NOT_READY,    PostingEvent.PAID):      Posting.READY,
    (Posting.READY,        PostingEvent.SEND):      Posting.POSTING,
    (Posting.POSTING,      PostingEvent.POSTED):    Posting.POSTED,
    (Posting.POSTING,      PostingEvent.LOST):      Posting.POST_UNKNOWN,
    (Posting.POSTING,      PostingEvent.REJECTED):  Posting.REJECTED,
    (Posting.POST_UNKNOWN, PostingEvent.POSTED):    Posting.POSTED,
    (Posting.POST_UNKNOWN, PostingEvent.NOT_FOUND): Posting.READY,
    (Posting.POST_UNKNOWN, PostingEvent.LOST):      Posting.POST_UNKNOWN,
    (Posting.POST_UNKNOWN, PostingEvent.EXHAUSTED): Posting.MANUAL,
    (Posting.MANUAL,       PostingEvent.POSTED):    Posting.POSTED,
}

FULFILMENT: Final[Mapping[tuple[Fulfilment, FulfilmentEvent], Fulfilment]] = {
    (Fulfilment.NONE,      FulfilmentEvent.DUE):       Fulfilment.WAITING,
    (Fulfilment.WAITING,   FulfilmentEvent.PRINT):     Fulfilment.PRINTING,
    (Fulfilment.WAITING,   FulfilmentEvent.FAILED):    Fulfilment.FAILED,
    (Fulfilment.PRINTING,  FulfilmentEvent.PRINT):     Fulfilment.PRINTING,
    (Fulfilment.PRINTING,  FulfilmentEvent.PRINTED):   Fulfilment.PRINTED,
    (Fulfilment.PRINTING,  FulfilmentEvent.FAILED):    Fulfilment.FAILED,
    (Fulfilment.PRINTING,  FulfilmentEvent.UNCERTAIN): Fulfilment.UNCERTAIN,
    (Fulfilment.FAILED,    FulfilmentEvent.PRINT):     Fulfilment.PRINTING,
    (Fulfilment.UNCERTAIN, FulfilmentEvent.PRINT):     Fulfilment.PRINTING,
    (Fulfilment.UNCERTAIN, FulfilmentEvent.PRINTED):   Fulfilment.PRINTED,
    (Fulfilment.PRINTED,   FulfilmentEvent.PRINT):     Fulfilment.PRINTING,
    (Fulfilment.PRINTED,   FulfilmentEvent.PRINTED):   Fulfilment.PRINTED,
}

REFUND: Final[Mapping[tuple[RefundState, RefundEvent], RefundState]] = {
    (RefundState.REQUESTED,  RefundEvent.UNPOST):     RefundState.UNPOSTING,
    (RefundState.REQUESTED,  RefundEvent.APPROVE):    RefundState.APPROVED,
    (RefundState.UNPOSTING,  RefundEvent.APPROVE):    RefundState.APPROVED,
    (RefundState.UNPOSTING,  RefundEvent.REFUSE):     RefundState.REFUSED,
    (RefundState.UNPOSTING,  RefundEvent.LOST):       RefundState.REQUESTED,
    (RefundState.UNPOSTING,  RefundEvent.EXHAUSTED):  RefundState.MANUAL,
    (RefundState.APPROVED,   RefundEvent.SUBMIT):     RefundState.SUBMITTED,
    (RefundState.SUBMITTED,  RefundEvent.SUCCESS):    RefundState.SUCCESS,
    (RefundState.SUBMITTED,  RefundEvent.PROCESSING): RefundState.PROCESSING,
    (RefundState.SUBMITTED,  RefundEvent.LOST):       RefundState.UNKNOWN,
    (RefundState.SUBMITTED,  RefundEvent.NO_FUNDS):   RefundState.WAIT_FUNDS,
    (RefundState.SUBMITTED,  RefundEvent.ABNORMAL):   RefundState.MANUAL,
    (RefundState.UNKNOWN,    RefundEvent.SUCCESS):    RefundState.SUCCESS,
    (RefundState.UNKNOWN,    RefundEvent.PROCESSING): RefundState.PROCESSING,
    (RefundState.UNKNOWN,    RefundEvent.LOST):       RefundState.UNKNOWN,
    (RefundState.UNKNOWN,    RefundEvent.NOT_FOUND):  RefundState.APPROVED,
    (RefundState.UNKNOWN,    RefundEvent.ABNORMAL):   RefundState.MANUAL,
    (RefundState.UNKNOWN,    RefundEvent.EXHAUSTED):  RefundState.MANUAL,
    (RefundState.PROCESSING, RefundEvent.SUCCESS):    RefundState.SUCCESS,
    (RefundState.PROCESSING, RefundEvent.PROCESSING): RefundState.PROCESSING,
    (RefundState.PROCESSING, RefundEvent.LOST):       RefundState.PROCESSING,
    (RefundState.PROCESSING, RefundEvent.NOT_FOUND):  RefundState.PROCESSING,
    (RefundState.PROCESSING, RefundEvent.ABNORMAL):   RefundState.MANUAL,
    (RefundState.WAIT_FUNDS, RefundEvent.SUBMIT):     RefundState.SUBMITTED,
}
# fmt: on
