"""The HIS over JSON: `POST <url>/<operation>`, `{"code", "msg", "data"}` back.

Success is 1 for most operations and 0 for locks and unlocks, so each call says which number it wants to see. What
the HIS writes into `msg` is never repeated: it may name a patient.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from patient_platform.his.client import CODES
from patient_platform.his.ports import HisCode, HisNotAsked, HisRefused, HisUnreachable

ANSWER_BYTES: Final = 8_000_000
BUSINESS: Final = range(400, 600)
_HTTP_OK: Final = 200


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    code: int
    data: Any = None  # Any: each operation has its own model


class RestWire:
    """Sends operations as JSON."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        timeout_s: float,
        concurrency: int,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(concurrency)

    async def call(self, operation: str, parameters: Mapping[str, Any], *, ok: int = 1) -> Any:  # noqa: ANN401 - JSON
        """See `client.Wire`."""
        try:
            async with asyncio.timeout(self._timeout_s), self._gate:
                body = await self._send(operation, parameters)
        except aiohttp.ClientConnectorError as error:
            raise HisNotAsked(f"the HIS cannot be reached for {operation}") from error
        except (TimeoutError, aiohttp.ClientError) as error:
            raise HisUnreachable(f"the HIS gave no answer to {operation}") from error
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError as error:
            raise HisUnreachable(f"the HIS gave no usable answer to {operation}") from error
        if answer.code == ok:
            return answer.data
        if answer.code in BUSINESS:
            raise HisRefused(CODES.get(answer.code, HisCode.REFUSED))
        raise HisUnreachable(f"the HIS answered {answer.code} to {operation}")

    async def _send(self, operation: str, parameters: Mapping[str, Any]) -> bytes:
        headers = {"X-His-Token": self._token}
        async with self._http.post(
            f"{self._url}/{operation}", json=dict(parameters), headers=headers, allow_redirects=False
        ) as response:
            if response.status != _HTTP_OK:
                raise HisUnreachable(f"the HIS answered HTTP {response.status} to {operation}")
            body = await response.content.read(ANSWER_BYTES + 1)
            while len(body) <= ANSWER_BYTES and not response.content.at_eof():
                body += await response.content.read(ANSWER_BYTES + 1 - len(body))
            if len(body) > ANSWER_BYTES:
                raise HisUnreachable(f"the HIS's answer to {operation} has no end")
            return body
