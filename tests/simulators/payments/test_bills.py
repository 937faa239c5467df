"""Bills balance to their own sums, and to the wallets' books."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from decimal import Decimal
from typing import Any

import pytest

from kit.clock import ManualClock
from simulators.payments.keys import APPID, MCHID
from support.payment_merchant import Merchant, Said

DAY = "2026-11-23"
NINE_NEXT_DAY_S = 23 * 3_600
"""From ten o'clock on."""


def wechat_rows(content: bytes) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Rows and sums of a WeChat bill; every value begins with a backtick."""
    lines = content.decode().removesuffix("\r\n").split("\r\n")
    data = [line.split(",") for line in lines]
    assert all(cell.startswith("`") for row in [*data[1:-2], data[-1]] for cell in row)
    rows = [dict(zip(data[0], [cell[1:] for cell in row], strict=True)) for row in data[1:-2]]
    return rows, dict(zip(data[-2], [cell[1:] for cell in data[-1]], strict=True))


def summed(rows: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal())


async def a_day(merchant: Merchant, clock: ManualClock) -> None:
    """Payments by code and by shown code, a partial refund, a reversal, an unpaid order."""
    await merchant.code_pay("ORDER0001", await merchant.code(), 12_345)
    await merchant.code_pay("ORDER0002", await merchant.code(), 100)
    body: dict[str, Any] = {"appid": APPID, "mchid": MCHID, "description": "挂号, 普通号", "notify_url": "http://x/"}
    for number in ("ORDER0003", "ORDER0004"):
        order = body | {"out_trade_no": number, "amount": {"total": 999}}
        said = await merchant.v3("POST", "/v3/pay/transactions/native", order)
    await merchant.sim("POST", "/phone/pay", {"qr": said.json["code_url"]})
    await merchant.refund("ORDER0001", "REFUND01", 2_345, of_fen=12_345)
    clock.advance(5)
    await merchant.reverse("ORDER0002")


async def ask(merchant: Merchant, kind: str = "ALL", day: str = DAY, **more: str) -> Said:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    return await merchant.v3("GET", f"/v3/bill/tradebill?bill_date={day}&bill_type={kind}{query}")


async def fetch(merchant: Merchant, said: Said) -> bytes:
    url = said.json["download_url"].removeprefix(merchant.server.http.url)
    found = await merchant.v3("GET", url)
    assert found.status == 200, found.text
    return found.text


async def test_a_wechat_bill_adds_up(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    said = await ask(merchant, tar_type="GZIP")
    content = gzip.decompress(await fetch(merchant, said))
    assert said.json["hash_type"] == "SHA1"
    assert hashlib.sha1(content).hexdigest() == said.json["hash_value"]  # noqa: S324 - the wallet's choice
    rows, sums = wechat_rows(content)
    assert [(row["商户订单号"], row["交易状态"], row["交易类型"]) for row in rows] == [
        ("ORDER0001", "SUCCESS", "MICROPAY"),
        ("ORDER0001", "REFUND", "MICROPAY"),
        ("ORDER0002", "SUCCESS", "MICROPAY"),
        ("ORDER0004", "SUCCESS", "NATIVE"),
        ("ORDER0002", "REVOKED", "MICROPAY"),
    ]
    assert rows[3]["商品名称"] == "挂号\\  普通号"
    assert sums["总交易单数"] == "5"
    for total, column in {
        "应结订单总金额": "应结订单金额",
        "退款总金额": "退款金额",
        "手续费总金额": "手续费",
        "订单总金额": "订单金额",
        "申请退款总金额": "申请退款金额",
    }.items():
        assert Decimal(sums[total]) == summed(rows, column), total
    assert (sums["订单总金额"], sums["退款总金额"]) == ("134.44", "24.45")


async def test_the_kinds_of_a_wechat_bill_have_their_own_columns(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    paid, _ = wechat_rows(await fetch(merchant, await ask(merchant, "SUCCESS")))
    back, sums = wechat_rows(await fetch(merchant, await ask(merchant, "REFUND")))
    assert {row["交易状态"] for row in paid} == {"SUCCESS"}
    assert "微信退款单号" not in paid[0]
    assert {row["交易状态"] for row in back} == {"REFUND", "REVOKED"}
    assert back[0]["退款申请时间"] == "2026-11-23 10:00:00"
    assert sums["总交易单数"] == "2"


async def test_the_fund_flow_ends_at_its_balance(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    said = await merchant.v3("GET", f"/v3/bill/fundflowbill?bill_date={DAY}&account_type=BASIC")
    rows, sums = wechat_rows(await fetch(merchant, said))
    assert {row["业务类型"] for row in rows} == {"交易", "退款", "扣除交易手续费"}
    income = [row for row in rows if row["收支类型"] == "收入"]
    spent = [row for row in rows if row["收支类型"] == "支出"]
    assert (len(income), len(spent)) == (int(sums["收入笔数"]), int(sums["支出笔数"]))
    assert Decimal(sums["收入金额"]) - Decimal(sums["支出金额"]) == Decimal(rows[-1]["账户结余(元)"])


async def test_a_bill_is_there_from_nine_on_the_next_day(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    assert (await ask(merchant)).json["code"] == "PARAM_ERROR"
    clock.advance(NINE_NEXT_DAY_S - 10)
    assert (await ask(merchant)).json["code"] == "STATEMENT_CREATING"
    clock.advance(10)
    assert (await ask(merchant)).status == 200
    assert (await ask(merchant, day="2026-11-22")).json["code"] == "NO_STATEMENT_EXIST"
    assert (await ask(merchant, day="2026-06-01")).json["code"] == "PARAM_ERROR"
    assert (await ask(merchant, day="23.11.")).json["code"] == "PARAM_ERROR"


async def test_testers_may_have_todays_bill(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    await merchant.sim("POST", "/settings", {"bills_at_any_time": True})
    assert (await ask(merchant)).status == 200


async def test_an_address_is_good_for_five_minutes(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    url = (await ask(merchant)).json["download_url"].removeprefix(merchant.server.http.url)
    clock.advance(301)
    assert (await merchant.v3("GET", url)).json["code"] == "INVALID_REQUEST"


async def test_a_refund_of_another_day_is_on_that_days_bill(merchant: Merchant, clock: ManualClock) -> None:
    clock.advance(13 * 3_600 + 3_599)  # 23:59:59
    await merchant.code_pay("ORDER0001", await merchant.code(), 500)
    clock.advance(2)
    await merchant.refund("ORDER0001", "REFUND01", 500, of_fen=500)
    clock.advance(2 * 86_400)
    (paid,), _ = wechat_rows(await fetch(merchant, await ask(merchant)))
    (back,), sums = wechat_rows(await fetch(merchant, await ask(merchant, day="2026-11-24")))
    assert (paid["交易时间"], paid["交易状态"]) == ("2026-11-23 23:59:59", "SUCCESS")
    assert (back["交易时间"], back["退款状态"], back["商户订单号"]) == ("2026-11-24 00:00:01", "SUCCESS", "ORDER0001")
    assert sums["应结订单总金额"] == "0.00"


@pytest.mark.parametrize("fault", ["wrong_amount", "duplicate", "reorder"])
async def test_a_spoiled_bill_does_not_add_up(merchant: Merchant, clock: ManualClock, fault: str) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    await merchant.fault("wechat.bill", fault)
    rows, sums = wechat_rows(await fetch(merchant, await ask(merchant)))
    is_right = Decimal(sums["订单总金额"]) == summed(rows, "订单金额") and int(sums["总交易单数"]) == len(rows)
    assert is_right is (fault == "reorder")
    assert (rows[0]["交易状态"] == "REVOKED") is (fault == "reorder")


async def test_a_bill_may_arrive_cut_short(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    clock.advance(NINE_NEXT_DAY_S)
    await merchant.fault("wechat.bill_file", "malformed")
    said = await ask(merchant, tar_type="GZIP")
    with pytest.raises(EOFError):
        gzip.decompress(await fetch(merchant, said))


async def alipay_bill(merchant: Merchant) -> Any:  # noqa: ANN401 - JSON of many shapes
    biz = {"bill_type": "trade", "bill_date": DAY}
    return merchant.alipay_content(await merchant.alipay("alipay.data.dataservice.bill.downloadurl.query", biz))


async def test_an_alipay_bill_adds_up(merchant: Merchant, clock: ManualClock) -> None:
    for number, amount in (("A1", "123.45"), ("A2", "1.00"), ("A3", "0.99")):
        code = await merchant.code("alipay")
        biz = {
            "out_trade_no": number,
            "scene": "bar_code",
            "auth_code": code,
            "subject": "缴费䶮",
            "total_amount": amount,
        }
        await merchant.alipay("alipay.trade.pay", biz)
    asked = {"out_trade_no": "A1", "refund_amount": "23.45", "out_request_no": "R1"}
    await merchant.alipay("alipay.trade.refund", asked)
    await merchant.alipay("alipay.trade.cancel", {"out_trade_no": "A2"})
    assert (await alipay_bill(merchant))["sub_code"] == "isv.invalid-arguments"
    clock.advance(NINE_NEXT_DAY_S)
    url = (await alipay_bill(merchant))["bill_download_url"]
    async with merchant.http.get(url) as response:
        archive = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert all(one.flag_bits & 0x800 == 0 for one in archive.infolist())
    names = [one.filename.encode("cp437").decode("gbk") for one in archive.infolist()]
    assert names == ["20880000000000000156_20261123_业务明细.csv", "20880000000000000156_20261123_业务明细(汇总).csv"]
    details, sums = (archive.read(one).decode("gbk").split("\r\n") for one in archive.infolist())
    assert details[0] == "#支付宝业务明细查询"
    assert details[3].startswith("#--")
    rows = list(csv.DictReader(line for line in details[4:] if line and not line.startswith("#")))
    assert all(cell.endswith("\t") for row in rows for cell in row.values())
    plain = [{name: cell.rstrip("\t") for name, cell in row.items()} for row in rows]
    assert [(row["商户订单号"], row["业务类型"], row["订单金额（元）"], row["退款批次号/请求号"]) for row in plain] == [
        ("A1", "交易", "123.45", ""),
        ("A1", "退款", "-23.45", "R1"),
        ("A2", "交易", "1.00", ""),
        ("A2", "退款", "-1.00", ""),
        ("A3", "交易", "0.99", ""),
    ]
    assert "#交易合计：3笔，商家实收共125.44元，商家优惠共0.00元" in details
    assert "#退款合计：2笔，商家实收退款共-24.45元，商家优惠退款共0.00元" in details
    (total,) = csv.DictReader(line.replace("\t", "") for line in sums[4:] if line and not line.startswith("#"))
    assert Decimal(total["商家实收（元）"]) == summed(plain, "商家实收（元）")
    assert Decimal(total["服务费（元）"]) == summed(plain, "服务费（元）")


async def test_an_alipay_address_is_good_for_half_a_minute(merchant: Merchant, clock: ManualClock) -> None:
    code = await merchant.code("alipay")
    biz = {"out_trade_no": "A1", "scene": "bar_code", "auth_code": code, "subject": "缴费", "total_amount": "1"}
    await merchant.alipay("alipay.trade.pay", biz)
    clock.advance(NINE_NEXT_DAY_S)
    url = (await alipay_bill(merchant))["bill_download_url"]
    clock.advance(31)
    async with merchant.http.get(url) as response:
        assert response.status == 403


async def test_what_others_did_is_on_the_bill_too(merchant: Merchant, clock: ManualClock) -> None:
    await a_day(merchant, clock)
    parked = {"wallet": "wechat", "out_trade_no": "P-77", "amount_fen": 500}
    assert (await merchant.sim("POST", "/portal/trade", parked))["state"] == "SUCCESS"
    by_hand = {"wallet": "wechat", "out_trade_no": "ORDER0004", "amount_fen": 99}
    await merchant.sim("POST", "/portal/refund", by_hand)
    too_much = by_hand | {"amount_fen": 901}
    assert await merchant.sim("POST", "/portal/refund", too_much) == {"code": "refund_too_much"}
    clock.advance(NINE_NEXT_DAY_S)
    rows, _ = wechat_rows(await fetch(merchant, await ask(merchant)))
    assert {row["商户订单号"] for row in rows} >= {"P-77"}
    assert [row["退款金额"] for row in rows if row["商户退款单号"].startswith("PORTAL")] == ["0.99"]
