"""The trade bill of Alipay: a zip with GBK tables, ids that end in a tab, refunds as negative amounts.

The detail file is the one whose name does not say 汇总. Lines with `#` frame the table and carry the sums it must add
up to. A file that went through a spreadsheet (1.23E+27 instead of a number) is refused with that reason.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import Final

from patient_platform.money import Fen, MoneyError, from_yuan
from patient_platform.payment.channels.answers import BILL_BYTES
from patient_platform.payment.channels.bills import BillInvalid, table, wall_time
from patient_platform.payment.ports import BillRow, BillStatus

FILES_MAX: Final = 10
_AMOUNT: Final = "订单金额（元）"
_REQUEST: Final = "退款批次号/请求号"
_FEE: Final = "服务费（元）"
_COLUMNS: Final = ("支付宝交易号", "商户订单号", "业务类型", "完成时间", _AMOUNT, _REQUEST)
_MANGLED: Final = re.compile(r"\d(\.\d+)?[eE]\+\d+")
_TRADES: Final = re.compile(r"#交易合计[：:](\d+)笔")
_REFUNDS: Final = re.compile(r"#退款合计[：:](\d+)笔")


def read_bill(packed: bytes) -> list[BillRow]:
    """The rows of the detail file.

    Raises:
        BillInvalid: damaged, mangled, or not equal to its sums.
    """
    lines = _detail(packed).splitlines()
    rows_of_table = [line for line in lines if line.strip() and not line.startswith("#")]
    trades, refunds = _count(lines, _TRADES), _count(lines, _REFUNDS)
    items = table("\n".join(rows_of_table), _COLUMNS, strip="\t")
    rows = [_row(item, number) for number, item in enumerate(items, start=2)]
    paid = sum(row.status is BillStatus.PAID for row in rows)
    if paid != trades or len(rows) - paid != refunds:
        raise BillInvalid(
            f"the bill has {paid} payments and {len(rows) - paid} refunds, its summary counts {trades} and {refunds}"
        )
    return rows


def _detail(packed: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            infos = archive.infolist()
            if len(infos) > FILES_MAX or sum(info.file_size for info in infos) > BILL_BYTES:
                raise BillInvalid("the bill is larger than any bill")
            details = [info for info in infos if "汇总" not in _name(info)]
            if len(details) != 1:
                raise BillInvalid("the archive does not have one detail file")
            with archive.open(details[0]) as file:
                data = file.read(BILL_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BillInvalid("the bill is no readable zip file") from error
    if len(data) > BILL_BYTES:
        raise BillInvalid("the bill is larger than any bill")
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError as error:
        raise BillInvalid("the bill is no GBK text") from error


def _name(info: zipfile.ZipInfo) -> str:
    """Names are GBK without saying so; `zipfile` takes them for code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return info.filename


def _count(lines: list[str], pattern: re.Pattern[str]) -> int:
    found = next((match for line in lines if (match := pattern.search(line))), None)
    if found is None:
        raise BillInvalid("the bill has no summary: it is cut off")
    return int(found[1])


def _row(item: dict[str, str], row: int) -> BillRow:
    for column in ("支付宝交易号", "商户订单号"):
        if _MANGLED.fullmatch(item[column]):
            raise BillInvalid(f"row {row}, {column}: went through a spreadsheet, use the bill as it was downloaded")
    number = item["商户订单号"]
    try:
        at = wall_time(item["完成时间"])
        amount = from_yuan(item[_AMOUNT])
        fee = from_yuan(item.get(_FEE) or "0.00")
    except (MoneyError, ValueError) as error:
        raise BillInvalid(f"row {row} of the bill has a time or an amount that is none") from error
    match item["业务类型"]:
        case "交易":
            return BillRow(number, item["支付宝交易号"], BillStatus.PAID, amount, at, fee_fen=Fen(abs(fee)))
        case "退款":
            refund_no = item[_REQUEST] or None
            return BillRow(number, item["支付宝交易号"], BillStatus.REFUNDED, Fen(abs(amount)), at, refund_no)
        case _:
            raise BillInvalid(f"row {row} of the bill is of a kind nobody knows")
