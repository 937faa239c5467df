"""Notices to the merchant: signed, sealed, and sent again and again until they are taken.

WeChat Pay: 200 or 204 within five seconds, else 15 more tries over a day. Alipay: the text `success`, else seven more.
A probe has a signature that cannot be right; whoever takes it does not check signatures.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp

from kit.supervise import TaskGroup, spawn
from simulators.faults import Fault, ScriptedFault
from simulators.payments.alipay import notice_fields
from simulators.payments.desk import Desk, Strike
from simulators.payments.keys import MCHID
from simulators.payments.model import Notice, Refund, RefundState, Trade, Wallet, trade_key
from simulators.payments.signatures import alipay_text, rsa_sign, seal
from simulators.payments.wechat_v3 import WechatV3, stamp, transaction

ANSWER_S: Final = 5.0
WECHAT_WAITS_S: Final = (15, 15, 30, 180, 600, 1_200, 1_800, 1_800, 1_800, 3_600, *(10_800,) * 3, *(21_600,) * 2)
ALIPAY_WAITS_S: Final = (240, 600, 600, 3_600, 7_200, 21_600, 54_000)
_WAITS_S: Final = {Wallet.WECHAT: WECHAT_WAITS_S, Wallet.ALIPAY: ALIPAY_WAITS_S}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LOOK_S: Final = 1.0
_TOGETHER: Final = 20
_CLAIMS: Final = ("mchid", "appid", "out_trade_no")
"""Whose payment it is; an argument of a fault replaces it."""
_PROBE: Final = "WECHATPAY/SIGNTEST/"
_EVENTS: Final = {
    RefundState.SUCCESS: ("REFUND.SUCCESS", "退款成功"),
    RefundState.ABNORMAL: ("REFUND.ABNORMAL", "退款异常"),
    RefundState.PROCESSING: ("REFUND.CLOSED", "退款关闭"),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """One notice as it goes over the wire."""

    body: bytes
    headers: Mapping[str, str]


class Notifier:
    """Sends what is due while it runs."""

    name = "payments-notices"

    def __init__(self, desk: Desk, wechat: WechatV3) -> None:
        self._desk = desk
        self._wechat = wechat
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Send notices until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            while True:
                self._wake.clear()
                await self.deliver(http)
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def deliver(self, http: aiohttp.ClientSession) -> None:
        """Try everything that is due now, once."""
        self._desk.ledger.settle()
        now = self._desk.clock.utc()
        waiting = (one for one in self._desk.ledger.book.notices.values() if one.state == "waiting")
        due = sorted((one for one in waiting if one.due_at <= now), key=lambda one: one.due_at)
        async with TaskGroup() as group:
            for notice in due[:_TOGETHER]:
                fault = self._desk.script.take(f"{notice.wallet}.notify")
                _ = spawn(group, self._try(http, notice, fault), f"notice-{notice.number}")
        if due:
            await self._desk.store.save()
        if len(due) > _TOGETHER:
            self.wake()

    async def probe(self, url: str) -> int:
        """Send a notice whose signature is a probe; the status of the answer, 0 for none."""
        if not _is_near(url):
            return 0
        body = json.dumps({"id": secrets.token_hex(16), "event_type": "TRANSACTION.SUCCESS"}).encode()
        headers = self._wechat.signature(body, Strike())
        headers["Wechatpay-Signature"] = _PROBE + headers["Wechatpay-Signature"][len(_PROBE) :]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            status, _ = await _post(http, url, Letter(body, headers | {"Content-Type": "application/json"}))
        return status

    def again(self, number: str) -> bool:
        """Send a notice once more, taken or not; whether there is one of that number."""
        notice = self._desk.ledger.book.notices.get(number)
        if notice is not None:
            notice.state, notice.due_at = "waiting", self._desk.clock.utc()
            self._desk.ledger.changed_notice(notice)
            self.wake()
        return notice is not None

    async def _try(self, http: aiohttp.ClientSession, notice: Notice, fault: ScriptedFault | None) -> None:
        strike = Strike(fault)
        if self._desk.ledger.book.notices.get(notice.number) is not notice:
            return  # a tester started over
        self._desk.ledger.changed_notice(notice)
        if fault is not None and fault.fault in {Fault.DELAY, Fault.REORDER}:
            notice.due_at = self._desk.clock.utc() + timedelta(seconds=fault.number("seconds", 3.0))
            return
        if not _is_near(notice.url):
            notice.answers.append("refused: only addresses of this machine are notified")
            notice.state = "given_up"
            return
        taken, answer = False, "lost on the way"
        if fault is None or fault.fault not in {Fault.DROP_BEFORE, Fault.HTTP_500}:
            letter = self.letter(notice, strike)
            for _ in range(2 if strike.does(Fault.DUPLICATE) else 1):
                status, text = await _post(http, notice.url, letter)
                taken = _is_taken(notice.wallet, status, text)
                answer = str(status) if status else "no answer"
        if strike.does(Fault.DROP_AFTER):
            taken, answer = False, f"{answer}, lost on the way back"
        self._note(notice, answer, taken=taken)

    def _note(self, notice: Notice, answer: str, *, taken: bool) -> None:
        waits_s = _WAITS_S[notice.wallet]
        notice.answers.append(answer)
        notice.tries += 1
        if taken:
            notice.state = "taken"
        elif notice.tries > len(waits_s):
            notice.state = "given_up"
        else:
            notice.due_at = self._desk.clock.utc() + timedelta(seconds=waits_s[notice.tries - 1])
        if self._desk.ledger.book.notices.get(notice.number) is notice:
            self._desk.ledger.changed_notice(notice)

    def letter(self, notice: Notice, strike: Strike) -> Letter:
        """Write one notice."""
        trade = self._desk.ledger.book.trades[trade_key(notice.wallet, notice.out_trade_no)]
        body, headers = self._alipay(notice, trade, strike), {"Content-Type": "application/x-www-form-urlencoded"}
        if notice.wallet is Wallet.WECHAT:
            body, headers = self._sealed(notice, trade, strike), {"Content-Type": "application/json"}
        if strike.does(Fault.MALFORMED):
            body = body[: len(body) // 2]
        if notice.wallet is Wallet.WECHAT:
            headers |= self._wechat.signature(body, strike)
        return Letter(body, headers)

    def _sealed(self, notice: Notice, trade: Trade, strike: Strike) -> bytes:
        kind, event, summary, content = "transaction", "TRANSACTION.SUCCESS", "支付成功", transaction(trade)
        content["amount"]["total"] += strike.wrong_fen
        if notice.kind == "refund":
            row = next(one for one in trade.refunds if one.out_refund_no == notice.out_refund_no)
            kind, content = "refund", _refund(trade, row, strike.wrong_fen)
            event, summary = _EVENTS[row.state]
        content |= {name: strike.text(name, content[name]) for name in _CLAIMS if name in content}
        nonce = secrets.token_hex(6)
        plain = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        body = {
            "id": f"EV-{notice.number}",
            "create_time": stamp(self._desk.clock.utc()),
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": summary,
            "resource": {
                "original_type": kind,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": seal(self._desk.keys.apiv3.encode(), nonce, kind, plain),
                "associated_data": kind,
                "nonce": nonce,
            },
        }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

    def _alipay(self, notice: Notice, trade: Trade, strike: Strike) -> bytes:
        moment = self._desk.clock.utc() + timedelta(seconds=strike.skew_s)
        fields = notice_fields(trade, moment, notice.number, strike.wrong_fen)
        fields |= {name: strike.text(name, fields[name]) for name in ("app_id", "seller_id", "out_trade_no")}
        text = alipay_text(fields, without=frozenset({"sign", "sign_type"}))
        signed = b"something else" if strike.does(Fault.BAD_SIGNATURE) else text
        return urlencode(fields | {"sign": rsa_sign(self._desk.keys.alipay, signed)}).encode()


def _refund(trade: Trade, row: Refund, wrong_fen: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "mchid": MCHID,
        "out_trade_no": trade.out_trade_no,
        "transaction_id": trade.transaction_id,
        "out_refund_no": row.out_refund_no,
        "refund_id": row.refund_id,
        "refund_status": row.state.value,
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": trade.amount_fen,
            "refund": row.amount_fen + wrong_fen,
            "payer_total": trade.amount_fen,
            "payer_refund": row.amount_fen + wrong_fen,
        },
    }
    if row.state is RefundState.SUCCESS and row.done_at is not None:
        content["success_time"] = stamp(row.done_at)
    return content


def _is_taken(wallet: Wallet, status: int, text: str) -> bool:
    if wallet is Wallet.ALIPAY:
        return status == 200 and text.strip() == "success"  # noqa: PLR2004 - HTTP
    return status in {200, 204}


def _is_near(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


async def _post(http: aiohttp.ClientSession, url: str, letter: Letter) -> tuple[int, str]:
    """Status and text of the answer; 0 for none."""
    try:
        async with http.post(url, data=letter.body, headers=letter.headers, allow_redirects=False) as response:
            return response.status, (await response.content.read(1_000)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return 0, ""
