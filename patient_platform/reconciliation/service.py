"""Runs the comparison of a day: fetch, check, compare, keep. A bill that cannot be trusted is never "all balanced"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from kit.clock import Clock
from kit.store import Database
from patient_platform.errors import Refusal
from patient_platform.his.ports import His, HisRefused, HisTrade, HisUnreachable
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.payment.channels.bills import BillInvalid, BillNotReady
from patient_platform.payment.model import ChannelName
from patient_platform.payment.movements import Movements, movements_of
from patient_platform.payment.ports import BillRow, Channel
from patient_platform.reconciliation import rules
from patient_platform.reconciliation.model import Batch, BatchState, Books, Code, OurRefund, OurRow
from patient_platform.reconciliation.rules import MIDNIGHT
from patient_platform.reconciliation.store import ReconciliationStore


class Reconciliation:
    """The one door to comparing books."""

    def __init__(
        self,
        database: Database,
        store: ReconciliationStore,
        channels: Mapping[ChannelName, Channel],
        his: His,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._channels = channels
        self._his = his
        self._clock = clock

    async def run(self, day: date) -> list[Batch]:
        """Compare every channel's bill of a day that is over, and keep the outcome.

        Raises:
            Refusal: `day_not_over`.
        """
        today = self._clock.utc().astimezone(HOSPITAL_TIME).date()
        if day >= today:
            raise Refusal("day_not_over", "a day can be reconciled once it is over", status=422)
        try:
            his: list[HisTrade] | None = await self._his.trades(day)
        except (HisRefused, HisUnreachable):
            his = None
        batches = [await self._compare(day, name, his) for name in self._channels]
        for batch in batches:
            await self._store.keep(batch)
        return batches

    async def latest(self, day: date) -> list[Batch]:
        """What the last run of a day found."""
        return await self._store.latest(day)

    async def newest(self) -> list[Batch]:
        """The last run of the newest day of each channel, without its findings."""
        return await self._store.newest()

    async def _compare(self, day: date, name: ChannelName, his: Sequence[HisTrade] | None) -> Batch:
        version = await self._store.next_version(day, name)
        now = self._clock.utc()
        if his is None:
            return Batch(day, name, version, BatchState.WAITING, now, "his_unreachable")
        try:
            bill = list(await self._channels[name].bill(day))
        except BillNotReady as error:
            return Batch(day, name, version, BatchState.WAITING, now, str(error)[:400])
        except BillInvalid as error:
            return Batch(day, name, version, BatchState.INVALID, now, str(error)[:400])
        books = await self._books(day, name, bill, his, await self._suspense(day - timedelta(days=1), name))
        findings = rules.compare(books, bill, _of_channel(his, books, bill))
        return Batch(
            day,
            name,
            version,
            BatchState.DONE,
            now,
            counts=rules.counts(findings),
            ours=rules.totals_of_ours(books),
            theirs=rules.totals_of_bill(bill),
            findings=tuple(finding for finding in findings if finding.code is not Code.OK),
        )

    async def _suspense(self, before: date, name: ChannelName) -> frozenset[str]:
        """What the HIS's list of the day before was expected to leave for this one."""
        batches = [batch for batch in await self._store.latest(before) if batch.channel is name]
        findings = [finding for batch in batches for finding in batch.findings]
        return frozenset(
            finding.trade_no for finding in findings if finding.code is Code.D1 and finding.his_fen is None
        )

    async def _books(
        self,
        day: date,
        name: ChannelName,
        bill: Iterable[BillRow],
        his: Iterable[HisTrade],
        suspense: frozenset[str],
    ) -> Books:
        begin = datetime.combine(day, time.min, HOSPITAL_TIME).astimezone(UTC)
        window = (begin - MIDNIGHT, begin + timedelta(days=1) + MIDNIGHT)
        numbers = {row.trade_no for row in bill} | {trade.trade_no for trade in his} | suspense
        moved = await movements_of(self._database, name, window, numbers)
        return books_of(day, moved, suspense)


def books_of(day: date, moved: Movements, suspense: frozenset[str] = frozenset()) -> Books:
    """Our own book of a day."""
    return Books(day, _payments(moved), _refunds(moved), suspense)


def _of_channel(his: Iterable[HisTrade], books: Books, bill: Iterable[BillRow]) -> list[HisTrade]:
    """The HIS lists all channels together: what is of this one is what this one's books know."""
    known = {row.trade_no for row in books.payments} | {row.trade_no for row in bill}
    return [trade for trade in his if trade.trade_no in known]


def _payments(moved: Movements) -> tuple[OurRow, ...]:
    return tuple(
        OurRow(
            leg.trade_no,
            leg.order,
            leg.amount_fen,
            leg.is_held,
            leg.is_posted,
            leg.paid_at,
            leg.posted_at,
            leg.is_reversed,
        )
        for leg in moved.legs
    )


def _refunds(moved: Movements) -> tuple[OurRefund, ...]:
    return tuple(
        OurRefund(
            item.refund_no,
            item.trade_no,
            item.order,
            item.amount_fen,
            item.is_done,
            item.needs_his,
            item.requested_at,
            item.is_failed,
        )
        for item in moved.refunds
    )
