"""The files a merchant checks its day against, as the wallets write them.

WeChat: CSV with a backtick before every value, a summary below it, gzip. Alipay: a zip whose names and contents are
GBK, values that end with a tab, a file of the trades and one of the sums. Days are China's.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from simulators.payments.keys import APPID, MCHID, SELLER_ID
from simulators.payments.ledger import china_day
from simulators.payments.model import CHINA, Refund, Trade
from simulators.payments.money import yuan

RATE: Final = "0.60%"
_FEE_PER_FEN: Final = 6
"""Hundred-thousandths of a yuan."""
_TRADE: Final = [
    "交易时间",
    "公众账号ID",
    "商户号",
    "特约商户号",
    "设备号",
    "微信订单号",
    "商户订单号",
    "用户标识",
    "交易类型",
    "交易状态",
    "付款银行",
    "货币种类",
    "应结订单金额",
    "代金券金额",
]
_REFUND_TIMES: Final = ["退款申请时间", "退款成功时间"]
_REFUND: Final = ["微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态"]
_REST: Final = ["商品名称", "商户数据包", "手续费", "费率", "订单金额"]
_SUMMARY: Final = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_FLOW: Final = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
_FLOW_SUMMARY: Final = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
_ALIPAY: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_ALIPAY_SUMMARY: Final = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,"
    "卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)


class BillType(StrEnum):
    """Which rows and columns a WeChat trade bill has."""

    ALL = "ALL"
    SUCCESS = "SUCCESS"
    REFUND = "REFUND"


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that moved: a payment, or one refund of it."""

    trade: Trade
    moment: datetime
    refund: Refund | None = None
    wrong_fen: int = 0

    @property
    def fen(self) -> int:
        """Positive for a payment, negative for a refund."""
        amount_fen = self.trade.amount_fen if self.refund is None else -self.refund.amount_fen
        return amount_fen + self.wrong_fen


@dataclass(frozen=True, slots=True)
class Spoiled:
    """What is wrong with a file, on purpose."""

    wrong_fen: int = 0
    """The first row is off by this; the sums are not."""
    twice: bool = False
    """The first row is there twice."""
    backwards: bool = False
    """The rows come last first."""

    def rows(self, entries: Sequence[Entry]) -> list[Entry]:
        """The rows as the file has them."""
        rows = list(entries)
        if rows and self.wrong_fen:
            rows[0] = replace(rows[0], wrong_fen=self.wrong_fen)
        if rows and self.twice:
            rows.insert(0, rows[0])
        return rows[::-1] if self.backwards else rows


SOUND: Final = Spoiled()


def entries_of(trades: Iterable[Trade], day: str | None = None) -> list[Entry]:
    """All money movements of these trades, of one day or of all, in time order."""
    found = []
    for trade in trades:
        if trade.paid_at is not None:
            found.append(Entry(trade, trade.paid_at))
        found += [Entry(trade, one.created_at, one) for one in trade.refunds]
    mine = [one for one in found if day is None or china_day(one.moment) == day]
    return sorted(mine, key=lambda one: one.moment)


# --- WeChat -----------------------------------------------------------------------------------------------


def wechat_trades(entries: Sequence[Entry], day: str, kind: BillType, spoiled: Spoiled = SOUND) -> bytes:
    """The trade bill, not compressed."""
    if kind is not BillType.ALL:
        entries = [one for one in entries if (one.refund is None) is (kind is BillType.SUCCESS)]
    header = list(_TRADE)
    if kind is BillType.REFUND:
        header += _REFUND_TIMES
    if kind is not BillType.SUCCESS:
        header += _REFUND
    header += _REST + ([] if kind is BillType.SUCCESS else ["申请退款金额"]) + ["费率备注"]
    rows = [[_wechat_row(one, day)[name] for name in header] for one in spoiled.rows(entries)]
    paid_fen = sum(one.fen for one in entries if one.refund is None)
    back_fen = -sum(one.fen for one in entries if one.refund is not None)
    summary = [str(len(entries)), yuan(paid_fen), yuan(back_fen), "0.00", _fee(paid_fen - back_fen), yuan(paid_fen)]
    return _csv(header, rows, _SUMMARY, [*summary, yuan(back_fen)])


def wechat_flow(entries: Sequence[Entry], day: str) -> bytes:
    """The fund flow bill of the basic account, not compressed; `entries` are those of all days."""
    balance_fen, sums = 0, {"收入": [0, 0], "支出": [0, 0]}
    rows: list[list[str]] = []
    for one in entries:
        is_today = china_day(one.moment) == day
        number = one.trade.transaction_id if one.refund is None else one.refund.refund_id
        proof = one.trade.out_trade_no if one.refund is None else one.refund.out_refund_no
        kind = "交易" if one.refund is None else "退款"
        for name, fen in ((kind, one.fen), ("扣除交易手续费", -_fee_fen(one.fen))):
            balance_fen += fen
            if not is_today or not fen:
                continue
            way = "收入" if fen > 0 else "支出"
            sums[way][0] += 1
            sums[way][1] += abs(fen)
            flow = f"10{one.moment.astimezone(CHINA):%Y%m%d}{len(rows) + 1:010d}"
            money = [yuan(abs(fen)), yuan(balance_fen)]
            rows.append([_time(one.moment), number, flow, kind, name, way, *money, "system", "", proof])
    summary = [str(len(rows)), *(text for count, fen in sums.values() for text in (str(count), yuan(fen)))]
    return _csv(_FLOW.split(","), rows, _FLOW_SUMMARY, summary)


def compressed(content: bytes) -> bytes:
    """As WeChat delivers it when asked for GZIP."""
    return gzip.compress(content, mtime=0)


def _wechat_row(one: Entry, day: str) -> dict[str, str]:
    trade, refund = one.trade, one.refund
    is_payment = refund is None
    row = dict.fromkeys((*_TRADE, *_REFUND_TIMES, *_REFUND, *_REST, "申请退款金额", "费率备注"), "")
    row |= {
        "交易时间": _time(one.moment),
        "公众账号ID": APPID,
        "商户号": MCHID,
        "特约商户号": "0",
        "设备号": trade.device,
        "微信订单号": trade.transaction_id,
        "商户订单号": trade.out_trade_no,
        "用户标识": trade.payer,
        "交易类型": "MICROPAY" if trade.is_code_payment else "NATIVE",
        "交易状态": "SUCCESS",
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "应结订单金额": yuan(one.fen) if is_payment else "0.00",
        "代金券金额": "0.00",
        "微信退款单号": "0",
        "商户退款单号": "0",
        "退款金额": "0.00",
        "充值券退款金额": "0.00",
        "商品名称": trade.subject,
        "商户数据包": trade.attach,
        "手续费": _fee(one.fen),
        "费率": RATE,
        "订单金额": yuan(one.fen) if is_payment else "0.00",
        "申请退款金额": "0.00",
    }
    if refund is not None:
        is_done = refund.done_at is not None and china_day(refund.done_at) <= day
        row |= {
            "交易状态": "REVOKED" if refund.is_reversal else "REFUND",
            "退款申请时间": _time(refund.created_at),
            "退款成功时间": _time(refund.done_at) if is_done else "",
            "微信退款单号": refund.refund_id,
            "商户退款单号": trade.out_trade_no if refund.is_reversal else refund.out_refund_no,
            "退款金额": yuan(-one.fen),
            "退款类型": "ORIGINAL",
            "退款状态": "SUCCESS" if is_done else "PROCESSING",
            "申请退款金额": yuan(-one.fen),
        }
    return row


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]], summary_header: str, summary: Sequence[str]) -> bytes:
    lines = [",".join(header), *(_line(row) for row in rows), summary_header, _line(summary)]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _line(cells: Sequence[str]) -> str:
    return ",".join("`" + cell.replace(",", "\\ ").replace("\n", "\\n") for cell in cells)


def _fee(fen: int) -> str:
    """Five decimals, as in the trade bill."""
    units = fen * _FEE_PER_FEN
    return f"{'-' if units < 0 else ''}{abs(units) // 100_000}.{abs(units) % 100_000:05d}"


def _fee_fen(fen: int) -> int:
    """Whole fen, half a fen upwards, as money moves."""
    units = (abs(fen) * _FEE_PER_FEN + 500) // 1_000
    return units if fen > 0 else -units


# --- Alipay -----------------------------------------------------------------------------------------------


class _GbkName(zipfile.ZipInfo):
    """A member whose name is GBK without saying so."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the name zipfile calls
        return self.filename.encode("gbk"), self.flag_bits


def alipay_zip(entries: Sequence[Entry], day: str, now: datetime, spoiled: Spoiled = SOUND) -> bytes:
    """Both files in their zip."""
    base = f"{SELLER_ID}0156_{day.replace('-', '')}_业务明细"
    files = {f"{base}.csv": _alipay_details(entries, day, now, spoiled), f"{base}(汇总).csv": _sums(entries, day, now)}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            member = _GbkName(name, date_time=now.astimezone(CHINA).timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text.encode("gbk", errors="replace"))
    return content.getvalue()


def _alipay_details(entries: Sequence[Entry], day: str, now: datetime, spoiled: Spoiled) -> str:
    total = _Total.of(entries)
    lines = [
        "#支付宝业务明细查询",
        *_span(day),
        f"#{'-' * 41}业务明细列表{'-' * 40}",
        _ALIPAY,
        *(",".join(f"{cell}\t" for cell in _alipay_row(one)) for one in spoiled.rows(entries)),
        f"#{'-' * 41}业务明细列表结束{'-' * 36}",
        f"#交易合计：{total.paid}笔，商家实收共{yuan(total.paid_fen)}元，商家优惠共0.00元",
        f"#退款合计：{total.back}笔，商家实收退款共{yuan(total.back_fen)}元，商家优惠退款共0.00元",
        _exported(now),
    ]
    return "".join(f"{line}\r\n" for line in lines)


def _sums(entries: Sequence[Entry], day: str, now: datetime) -> str:
    total = _Total.of(entries)
    net_fen = total.paid_fen + total.back_fen
    fee_fen = -sum(_fee_fen(one.fen) for one in entries)
    cells = [
        "合计",
        "",
        str(total.paid),
        str(total.back),
        *(yuan(net_fen), yuan(net_fen), "0.00", "0.00", "0.00", yuan(fee_fen), "0.00", yuan(net_fen + fee_fen)),
    ]
    lines = [
        "#支付宝业务汇总查询",
        *_span(day),
        f"#{'-' * 41}业务汇总列表{'-' * 40}",
        _ALIPAY_SUMMARY,
        ",".join(f"{cell}\t" for cell in cells),
        f"#{'-' * 40}业务汇总列表结束{'-' * 37}",
        _exported(now),
    ]
    return "".join(f"{line}\r\n" for line in lines)


def _alipay_row(one: Entry) -> list[str]:
    trade, refund = one.trade, one.refund
    request = "" if refund is None or refund.is_reversal else refund.out_refund_no
    return [
        trade.transaction_id,
        trade.out_trade_no,
        "交易" if refund is None else "退款",
        trade.subject.replace(",", " "),
        _time(trade.created_at),
        _time(one.moment),
        trade.store,
        "",
        trade.operator,
        trade.device,
        f"*某某(138****{trade.payer[-4:]})",
        *(yuan(one.fen), yuan(one.fen), "0.00", "0.00", "0.00", "0.00", "0.00"),
        "",
        *("0.00", "0.00"),
        request,
        *(yuan(-_fee_fen(one.fen)), "0.00"),
        trade.attach.replace(",", " "),
    ]


@dataclass(slots=True)
class _Total:
    paid: int = 0
    paid_fen: int = 0
    back: int = 0
    back_fen: int = 0

    @staticmethod
    def of(entries: Sequence[Entry]) -> _Total:
        paid = [one.fen for one in entries if one.refund is None]
        back = [one.fen for one in entries if one.refund is not None]
        return _Total(len(paid), sum(paid), len(back), sum(back))


def _span(day: str) -> list[str]:
    first = datetime.fromisoformat(day)
    last = first + timedelta(days=1)
    span = f"#起始日期：[{first:%Y年%m月%d日} 00:00:00]   终止日期：[{last:%Y年%m月%d日} 00:00:00]"
    return [f"#账号：[{SELLER_ID}0156]", span]


def _exported(now: datetime) -> str:
    return f"#导出时间：[{now.astimezone(CHINA):%Y年%m月%d日 %H:%M:%S}]"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"
