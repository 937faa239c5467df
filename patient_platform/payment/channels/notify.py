"""Notifications of the channels: verified, then only a hint that makes us look sooner.

The answer says "received" only when the message was ours and is on its way to the order; anything else is answered
with an error, so that the channel sends it again. Nothing of a message is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from kit.logs import get_logger
from patient_platform.payment.channels.alipay import Alipay
from patient_platform.payment.channels.wechat_signing import BadSignature
from patient_platform.payment.channels.wechat_v2 import WechatV2
from patient_platform.payment.channels.wechat_v3 import WechatV3
from patient_platform.payment.model import ChannelName
from patient_platform.payment.ports import Channel
from patient_platform.payment.service import Payments

BODY_BYTES: Final = 65_536
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notifications:
    """The two doors."""

    payments: Payments
    wechat: WechatV3 | None
    alipay: Alipay | None

    def mount(self, app: web.Application) -> None:
        """Add them to an application."""
        app.router.add_post("/notify/wechat", self.from_wechat)
        app.router.add_post("/notify/alipay", self.from_alipay)

    async def from_wechat(self, request: web.Request) -> web.Response:
        """204 when taken, 401 for a signature that is not WeChat's, 500 when it should come again."""
        body = await _body(request)
        if self.wechat is None or body is None:
            return web.json_response({"code": "FAIL", "message": "unwanted"}, status=404)
        try:
            found = self.wechat.notification(request.headers, body)
        except BadSignature as error:
            log.warning("notification.refused", channel="wechat", reason=str(error))
            return web.json_response({"code": "SIGN_ERROR", "message": "signature"}, status=401)
        if found is not None and not await self.payments.notified(*found):
            log.warning("notification.unknown", channel="wechat")
        return web.Response(status=204)

    async def from_alipay(self, request: web.Request) -> web.Response:
        """`success` when taken, `failure` otherwise, as the platform wants it."""
        if self.alipay is None or (request.content_length or 0) > BODY_BYTES:
            return web.Response(text="failure", status=404)
        fields = {name: str(value) for name, value in (await request.post()).items()}
        try:
            found = self.alipay.notification(fields)
        except BadSignature as error:
            log.warning("notification.refused", channel="alipay", reason=str(error))
            return web.Response(text="failure", status=401)
        if found is not None and not await self.payments.notified(*found):
            log.warning("notification.unknown", channel="alipay")
        return web.Response(text="success")


def notify_handlers(payments: Payments, channels: Mapping[ChannelName, Channel]) -> Notifications:
    """The doors for the channels that are configured."""
    alipay = channels.get(ChannelName.ALIPAY)
    return Notifications(payments, v3_of(channels), alipay if isinstance(alipay, Alipay) else None)


def v3_of(channels: Mapping[ChannelName, Channel]) -> WechatV3 | None:
    """WeChat's newer interface, which is there beside the older one too."""
    wechat = channels.get(ChannelName.WECHAT)
    if isinstance(wechat, WechatV2):
        return wechat.newer
    return wechat if isinstance(wechat, WechatV3) else None


async def _body(request: web.Request) -> bytes | None:
    parts, size = [], 0
    async for part in request.content.iter_chunked(BODY_BYTES):
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES:
            return None
    return b"".join(parts)
