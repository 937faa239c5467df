"""The JSON interface: `POST /hisapi/<operation>`. Success is 1, except for locks and unlocks, where it is 0."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from simulators.faults import Fault
from simulators.his.desk import Desk, HangUp, hang_up
from simulators.his.model import Code, Refused
from simulators.his.parameters import Parameters

ZERO_IS_GOOD: Final = frozenset({"register/schedule_lock", "register/schedule_unlock"})


class Rest:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        """Mount every operation."""
        for operation in self._desk.hospital.operations:
            app.router.add_post(f"/hisapi/{operation}", self._handler(operation))

    def _handler(self, operation: str) -> Any:  # noqa: ANN401 - an aiohttp handler
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                data, wrong = await self._desk.perform(operation, await self._parameters(request))
            except HangUp:
                return hang_up(request)
            except Refused as refused:
                return _said(refused.code, refused.text)
            if wrong.does(Fault.HTTP_500):
                return web.Response(status=500, text="<html>Internal Server Error</html>", content_type="text/html")
            if wrong.does(Fault.MALFORMED):
                return web.Response(text='{"code": 1, "data": {"tot', content_type="application/json")
            return _said(0 if operation in ZERO_IS_GOOD else 1, "成功", data)

        return handle

    async def _parameters(self, request: web.Request) -> Parameters:
        if request.headers.get("X-His-Token") != self._desk.token:
            raise Refused(Code.TOKEN, "令牌错误")
        try:
            parameters = json.loads(await request.read())
        except ValueError:
            raise Refused(Code.PARAMETER, "参数错误") from None
        if not isinstance(parameters, dict):
            raise Refused(Code.PARAMETER, "参数错误")
        return parameters


def _said(code: int, text: str, data: object = None) -> web.Response:
    return web.json_response(
        {"code": int(code), "msg": text, "data": data}, dumps=lambda value: json.dumps(value, ensure_ascii=False)
    )
