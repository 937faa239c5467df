"""One conversation with the server's REST API."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from fleet_server.kioskctl.config import Config
from fleet_server.kioskctl.errors import Exit, Failure
from wire import __version__

Document = dict[str, Any]  # Any: a JSON document, shown as it came
Query = Mapping[str, str | int | Sequence[str] | None]
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30.0, connect=5.0)
_PAGE: Final = 200
_UNAUTHENTICATED: Final = 401
_GATEWAY: Final = frozenset({502, 503, 504})
_OURS: Final = 500
_MAX_BYTES: Final = 64 * 1024 * 1024

# What the server refuses with, in the words of this product; others are shown as the server says them.
_TEXTS: Final = {
    "unauthenticated": "尚未登录或令牌已失效: 请运行 kioskctl login (not signed in)",
    "sign_in_refused": "用户名、密码或验证码错误, 或账户已锁定 (sign-in refused)",
    "forbidden": "没有此项权限 (no permission)",
    "kiosk_unknown": "没有这台自助机 (no such kiosk)",
    "state_conflict": "自助机当前状态不允许此操作 (not in this state)",
    "code_wrong": "配对码与屏幕显示不一致 (wrong pairing code)",
    "code_exhausted": "配对码输错次数过多, 请求已作废, 请在自助机上重新发起 (too many tries)",
    "enrolment_unknown": "没有这个登记请求 (no such request)",
    "enrolment_decided": "登记请求已被处理 (already decided)",
    "enrolment_expired": "登记请求已过期, 请在自助机上重新发起 (expired)",
    "serial_mismatch": "序列号与资产清单不一致, 核对后加 --accept-serial-mismatch (serial number differs)",
    "serial_taken": "该序列号属于另一台自助机 (serial number belongs to another kiosk)",
    "unknown_session": "没有这个会话 (no such session)",
    "unknown_token": "没有这个令牌 (no such token)",
    "not_found": "这个地址上没有此接口, 请核对服务器地址与版本 (not found)",
    "unknown_user": "没有这个账户 (no such account)",
    "name_taken": "用户名已被使用 (name is taken)",
    "account_disabled": "账户已停用, 请先启用 (the account is disabled)",
    "not_for_oneself": "不能对自己的账户执行, 请另一名管理员操作 (not for oneself)",
    "last_administrator": "不能移除最后一名账户管理员 (the last administrator)",
    "password_too_weak": "密码太弱: 至少 12 位, 或 10 位且含三类字符 (password too weak)",
    "password_too_common": "密码过于常见 (password too common)",
    "no_roster": "这条班线还没有轮值表: kioskctl duty set (no roster yet)",
    "roster_changed": "轮值表刚被他人修改, 请重新查看 (the roster was changed meanwhile)",
    "no_member": "此人不在这条班线的成员中 (not a member of this line)",
    "not_on_duty": "您现在不在这条班线值班 (you are not on duty on this line)",
    "not_yours": "只有接班人能确认这次交接 (only who takes over can confirm)",
    "same_person": "须由另一人 (another person is needed)",
    "handover_confirmed": "这次交接已经确认 (confirmed already)",
    "swap_out_of_range": "调班须先开始后结束, 且不超过 62 天 (a swap ends after it begins, in 62 days at most)",
    "store_busy": "服务器数据库繁忙, 请稍后再试 (store is busy)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of a request that was not refused."""

    document: Any  # Any: a JSON document
    body: bytes
    headers: Mapping[str, str]


class FleetClient:
    """Sends requests with the token, or with the cookie of a sign-in that is going on."""

    def __init__(self, config: Config, http: aiohttp.ClientSession) -> None:
        """Talk to the server of this configuration."""
        self.config = config
        self._http = http

    async def get(self, path: str, query: Query | None = None) -> Any:  # noqa: ANN401 - a JSON document
        """The document at a path. Raises: Failure."""
        return (await self.request("GET", path, query=query)).document

    async def post(self, path: str, body: Document | None = None) -> Any:  # noqa: ANN401 - a JSON document
        """The answer to a change. Raises: Failure."""
        return (await self.request("POST", path, body=body)).document

    async def pages(self, path: str, query: Query, limit: int) -> list[Document]:
        """The rows of a list, page after page until `limit`; 0 for all. Raises: Failure."""
        rows: list[Document] = []
        cursor: str | None = None
        while True:
            size = _PAGE if limit == 0 else min(_PAGE, limit - len(rows))
            page = await self.get(path, {**query, "limit": size, "cursor": cursor})
            rows += page["items"]
            cursor = page.get("next")
            if cursor is None or len(rows) == limit:
                return rows

    async def request(
        self, method: str, path: str, *, query: Query | None = None, body: Document | None = None
    ) -> Answer:
        """Send one request.

        Raises:
            Failure: refused, not signed in, or nobody answered.
        """
        headers = {"X-Requested-By": "kioskctl", "User-Agent": f"kioskctl/{__version__}"}
        if self.config.token is not None:
            headers["Authorization"] = f"Bearer {self.config.token}"
        target = URL(self.config.url + path, encoded=True).with_query(
            {name: value for name, value in (query or {}).items() if value is not None}
        )
        options: dict[str, Any] = {} if body is None else {"json": body}  # Any: arguments of aiohttp
        try:
            async with self._http.request(method, target, headers=headers, allow_redirects=False, **options) as reply:
                content = await _bounded(reply)
                return _judge(reply.status, content, {name.lower(): text for name, text in reply.headers.items()})
        except TimeoutError:
            raise _unreachable(self.config.url, "没有及时回应 (timeout)") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Failure(
                Exit.UNREACHABLE,
                f"{self.config.url} 的证书不受信任 (certificate not trusted): {error.certificate_error}",
                "certificate_refused",
            ) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise _unreachable(self.config.url, str(error) or type(error).__name__) from None


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[FleetClient]:
    """A client until the block ends. Raises: Failure."""
    connector = aiohttp.TCPConnector(ssl=_tls(config), limit=4)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, cookie_jar=jar) as http:
        yield FleetClient(config, http)


def require_token(config: Config) -> None:
    """Go on only with a token. Raises: Failure."""
    if config.token is None:
        raise Failure(Exit.NOT_SIGNED_IN, "尚未登录: 请运行 kioskctl login (not signed in)", "not_signed_in")


def _tls(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.ca_file is not None:
        try:
            context.load_verify_locations(config.ca_file)
        except (OSError, ssl.SSLError):
            raise Failure(
                Exit.FAILURE, f"{config.ca_file} 不是可用的 CA 证书 (not a usable CA file)", "ca_file_invalid"
            ) from None
    return context


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in reply.content.iter_any():
        content += chunk
        if len(content) > _MAX_BYTES:
            raise Failure(Exit.FAILURE, "服务器的回答太长 (answer too long)", "answer_too_long")
    return bytes(content)


def _judge(status: int, content: bytes, headers: Mapping[str, str]) -> Answer:
    is_json = "json" in headers.get("content-type", "")
    try:
        document = json.loads(content) if is_json and content else None
    except ValueError:
        document = None
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP success
        if is_json and content and document is None:
            raise Failure(Exit.FAILURE, "服务器的回答不完整 (broken answer)", "broken_answer")
        return Answer(document, content, headers)
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        exit_code = Exit.UNREACHABLE if status in _GATEWAY else Exit.FAILURE
        raise Failure(exit_code, f"这个地址上不是管理服务器 (HTTP {status}, not a fleet server)", "not_a_fleet_server")
    raise _refused(status, document)


def _refused(status: int, problem: Document) -> Failure:
    code = problem["code"]
    text = _TEXTS.get(code) or f"{problem.get('title', '')} ({code})"
    errors = problem.get("errors")
    if isinstance(errors, list):
        text += "".join(f"\n  {item.get('location')}: {item.get('message')}" for item in errors)
    if status == _UNAUTHENTICATED:
        return Failure(Exit.NOT_SIGNED_IN, text, code)
    if status in _GATEWAY:
        return Failure(Exit.UNREACHABLE, text, code)
    if status >= _OURS:
        return Failure(Exit.FAILURE, f"服务器内部错误 (server error): {problem.get('incident', code)}", code)
    return Failure(Exit.REFUSED, text, code)


def _unreachable(url: str, why: str) -> Failure:
    return Failure(Exit.UNREACHABLE, f"连接不上 {url} (cannot be reached): {why}", "unreachable")
