"""Bills as channels and finance really hand them in (section 16 of the reference): made by hand, read by ours."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime

import pytest

from patient_platform.money import Fen
from patient_platform.payment.channels.alipay_bill import read_bill
from patient_platform.payment.channels.bills import BillInvalid
from patient_platform.payment.ports import BillRow, BillStatus
from patient_platform.reconciliation.model import Books, Code, OurRow
from patient_platform.reconciliation.rules import compare, counts, totals_of_bill

TRADE = "01K000000000000000000000AB01"
ALIPAY = "2026112222001412341234567890"
NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)
HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,"
    "商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


class GbkInfo(zipfile.ZipInfo):
    """A name in GBK that does not say so."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - as zipfile calls it
        return self.filename.encode("gb18030"), self.flag_bits & ~0x800


def line(trade: str = TRADE, kind: str = "交易", amount: str = "12.34", request: str = "", number: str = ALIPAY) -> str:
    """One row as Alipay writes it: every id ends in a tab, every cell but the last as well."""
    cells = [
        number, trade, kind, "门诊缴费", "2026-11-22 11:59:58", "2026-11-22 12:00:00", "", "", "", "",
        "*三(138****0000)",
        amount, amount, "0.00", "0.00", "0.00", "0.00", "0.00", "", "0.00", "0.00", request, "-0.07", "0.00", "",
    ]  # fmt: skip
    return ",".join(f"{cell}\t" for cell in cells)


def bill(*lines: str, trades: int = 1, refunds: int = 0, name: str = "20881021_20261122_业务明细.csv") -> bytes:
    """The zip as it is downloaded: two GBK tables, GBK names that do not say so."""
    text = "\r\n".join(
        [
            "#支付宝业务明细查询", "#账号：[20881021]", "#起始日期：[2026年11月22日 00:00:00]",
            "#-----------------------------------------业务明细列表----------------------------------------",
            HEADER, *lines,
            "#-----------------------------------------业务明细列表结束------------------------------------",
            f"#交易合计：{trades}笔，商家实收共12.34元，商家优惠共0.00元",
            f"#退款合计：{refunds}笔，商家实收退款共0.00元，商家优惠退款共0.00元",
            "#导出时间：[2026年11月23日 10:05:59]", "",
        ]
    )  # fmt: skip
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file, content in ((name, text), ("20881021_20261122_业务明细(汇总).csv", "#汇总\r\n")):
            archive.writestr(GbkInfo(file), content.encode("gb18030"))
    return packed.getvalue()


def test_38_gbk_names_ids_with_tabs_and_refunds_below_zero() -> None:
    packed = bill(line(), line(kind="退款", amount="-4.00", request=f"{TRADE}R1"), refunds=1)
    assert read_bill(packed) == [
        BillRow(TRADE, ALIPAY, BillStatus.PAID, Fen(1234), NOON, fee_fen=Fen(7)),
        BillRow(TRADE, ALIPAY, BillStatus.REFUNDED, Fen(400), NOON, f"{TRADE}R1"),
    ]


@pytest.mark.parametrize(
    ("row", "column"),
    [(line(number="2.02611E+27"), "支付宝交易号"), (line(trade="1.23E+27"), "商户订单号")],
)
def test_38_a_file_that_went_through_a_spreadsheet_is_refused_by_row_and_column(row: str, column: str) -> None:
    with pytest.raises(BillInvalid, match=f"row 3, {column}.*spreadsheet"):
        read_bill(bill(line(), row, trades=2))


@pytest.mark.parametrize("amount", ["12.345", "1e2", "12,34", "", "一元", "NaN"])
def test_38_an_amount_that_is_none_is_refused_by_row(amount: str) -> None:
    with pytest.raises(BillInvalid, match=r"row 2"):
        read_bill(bill(line(amount=amount)))


def test_38_a_bill_that_lost_a_row_on_its_way_is_refused() -> None:
    with pytest.raises(BillInvalid, match="summary"):
        read_bill(bill(line(), trades=2))


def test_39_the_car_park_of_the_same_merchant_is_counted_apart() -> None:
    ours = OurRow(TRADE, TRADE[:26], Fen(1234), is_paid=True, is_posted=False, at=NOON)
    rows = read_bill(bill(line(), *(line(f"PARK-{number:06}", amount="5.00") for number in range(40)), trades=41))
    found = compare(Books(date(2026, 11, 22), (ours,), ()), rows, [])
    assert counts(found) == {"OK": 1, "FOREIGN": 40}
    assert {finding.code for finding in found if finding.trade_no.startswith("PARK")} == {Code.FOREIGN}
    assert totals_of_bill(rows).paid_fen == 1234 + 40 * 500


def test_39_a_number_that_looks_like_ours_is_never_taken_for_the_car_parks() -> None:
    stranger = f"{TRADE[:-2]}07"
    found = compare(Books(date(2026, 11, 22), (), ()), read_bill(bill(line(stranger))), [])
    assert [(finding.code, finding.trade_no) for finding in found] == [(Code.L3, stranger)]
