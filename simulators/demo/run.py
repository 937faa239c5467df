"""Brings the product up step by step, says what it does, and takes it down again."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import pwd
import secrets
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
from rich.console import Console

from kit.clock import Clock
from kit.supervise import TaskGroup
from simulators.demo.facts import BrokerFacts, DemoFacts, KioskFacts, StaffFacts, write_private
from simulators.demo.fleet_client import FleetClient, FleetRefused
from simulators.demo.full_kiosks import HOST, FullKiosk, Lab, full_kiosks
from simulators.demo.hospital import Asset, asset_csv, assets
from simulators.demo.outside import Outside
from simulators.demo.plan import Plan, PlanError, entry_point
from simulators.demo.processes import ChildFailed, Children

USERNAME = "demo"
TOTP_STEP_S = 30
UP_TIMEOUT_S = 60.0
ALL_ONLINE_TIMEOUT_S = 120.0
POLL_S = 0.2
_WATCH_S = 1.0


class DemoFailed(RuntimeError):
    """A step did not come about; the text says which and why."""


class Demo:
    """One demo from start to end."""

    def __init__(self, plan: Plan, clock: Clock, console: Console) -> None:
        self._plan = plan
        self._clock = clock
        self._console = console
        self._children = Children(plan.folder / "logs")
        self._assets = assets(plan.kiosks, plan.seed)
        self._full = full_kiosks(plan, self._assets)
        self._lab = Lab(plan)
        self._outside = Outside(plan)
        self._base_url = f"http://{HOST}:{plan.ports.dashboard}"
        self._started_s = clock.monotonic()

    async def run(self) -> None:
        """Bring everything up, wait for Ctrl-C or DEMO_SECONDS, take everything down.

        Raises:
            DemoFailed: a step did not come about; what was started is stopped.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        self._plan.folder.mkdir(parents=True, exist_ok=True)
        with _only_one(self._plan.folder / "lock"):
            try:
                await self._until_stopped(stopping)
            except* (ChildFailed, FleetRefused, PlanError, DemoFailed, aiohttp.ClientError) as group:
                raise DemoFailed("; ".join(str(error) for error in leaves(group))) from None
            finally:
                self._say("正在停止 · stopping")
                await self._children.stop()
                self._plan.facts_file.unlink(missing_ok=True)

    async def _until_stopped(self, stopping: asyncio.Event) -> None:
        async with TaskGroup() as group:
            up = group.create_task(self._bring_up(), name="bring-up")
            ended = group.create_task(stopping.wait(), name="stop-asked")
            await asyncio.wait((up, ended), return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            ended.cancel()
        until_s = None if self._plan.seconds is None else self._clock.monotonic() + self._plan.seconds
        while not stopping.is_set() and (until_s is None or self._clock.monotonic() < until_s):
            self._children.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await stopping.wait()

    async def _bring_up(self) -> None:
        await self._start_broker()
        await self._start_fleet_server()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            client = FleetClient(http, self._base_url)
            await self._wait_for("管理服务器 · fleet server", client.is_up, UP_TIMEOUT_S)
            staff = await self._sign_in(client)
            await client.import_assets(asset_csv(self._assets))
            self._say(f"资产清单已导入 · {len(self._assets)} assets imported")
            await self._start_light_kiosks()
            await self._start_lab()
            await self._start_platform(http)
            await self._start_full_kiosks(http, client)
            await self._wait_online(client)
        self._write_facts(staff)
        self._show(staff)

    def _fleet_environ(self) -> dict[str, str]:
        plan = self._plan
        environ = {
            "FLEET_DATA_DIR": str(plan.fleet_dir),
            "FLEET_LAB": "true",
            "FLEET_PUBLIC_URL": self._base_url,
            "FLEET_HTTP__HOST": HOST,
            "FLEET_HTTP__PORT": str(plan.ports.dashboard),
            "FLEET_KIOSK_API__HOST": HOST,
            "FLEET_KIOSK_API__PORT": str(plan.ports.kiosk_api),
            "FLEET_BROKER__PORT": str(plan.ports.broker),
            "FLEET_BROKER__LISTEN": HOST,
        }
        if os.geteuid() == 0:
            environ["FLEET_BROKER__USER"] = pwd.getpwuid(0).pw_name
        return environ

    async def _start_broker(self) -> None:
        if shutil.which("mosquitto", path=_SYSTEM_PATH) is None:
            raise PlanError("mosquitto is missing: apt-get install mosquitto")
        command = [entry_point("fleet-server"), "init", "--data-dir", str(self._plan.fleet_dir)]
        await self._children.run("fleet-init", command, self._fleet_environ())
        conf = self._plan.fleet_dir / "broker" / "mosquitto.conf"
        await self._children.start("mosquitto", [shutil.which("mosquitto", path=_SYSTEM_PATH) or "", "-c", str(conf)])
        await self._wait_for("消息代理 · Mosquitto (TLS 1.3, mTLS)", self._broker_listens, UP_TIMEOUT_S)

    async def _broker_listens(self) -> bool:
        return await _listens(self._plan.ports.broker)

    async def _start_fleet_server(self) -> None:
        command = [entry_point("fleet-server"), "run", "--data-dir", str(self._plan.fleet_dir)]
        await self._children.start("fleet-server", command, self._fleet_environ())

    async def _sign_in(self, client: FleetClient) -> StaffFacts:
        """The administrator of this folder: made once by the one-time token, kept in a private file."""
        file = self._plan.folder / "staff.json"
        token_file = self._plan.fleet_dir / "first-admin.token"
        if file.is_file():
            staff = StaffFacts.model_validate_json(file.read_bytes())
        else:
            password = f"{secrets.token_urlsafe(12)}-Aa1"
            answer = await client.first_admin(token_file.read_text(encoding="ascii").strip(), USERNAME, password)
            staff = StaffFacts(
                username=USERNAME,
                password=password,
                totp_secret=answer["totp_secret"],
                totp_uri=answer["totp_uri"],
            )
            write_private(file, staff.model_dump_json(indent=2))
        try:
            await client.sign_in(staff.username, staff.password, staff.totp_secret)
        except FleetRefused:
            self._say("等待下一个动态口令 · waiting for the next TOTP step")
            await asyncio.sleep(TOTP_STEP_S - self._clock.utc().timestamp() % TOTP_STEP_S + 1)
            await client.sign_in(staff.username, staff.password, staff.totp_secret)
        return staff

    async def _start_light_kiosks(self) -> None:
        light = self._light()
        if not light:
            return
        plan = self._plan
        missing = [asset.kid for asset in light if not (plan.identities_dir / asset.kid / "cert.pem").is_file()]
        if missing:
            kids = plan.folder / "light-kids.txt"
            kids.write_text("\n".join(missing) + "\n", encoding="ascii")
            command = [entry_point("fleet-server"), "lab-identities", "--data-dir", str(plan.fleet_dir)]
            command += ["--kids", str(kids), "--out", str(plan.identities_dir)]
            await self._children.run("lab-identities", command, self._fleet_environ())
            self._say(f"已签发 {len(missing)} 张证书 · certificates issued")
        command = [entry_point("kiosk-sim"), "fleet", "run", "--identities", str(plan.identities_dir)]
        command += ["--broker", f"localhost:{plan.ports.broker}", "--control-port", str(plan.ports.control)]
        command += ["--count", str(len(light)), "--seed", str(plan.seed)]
        await self._children.start("light-kiosks", command)

    def _light(self) -> Sequence[Asset]:
        return self._assets[self._plan.full :]

    async def _start_lab(self) -> None:
        await self._lab.start(self._children)
        await self._wait_for("模拟设备 · simulated devices", self._lab.is_up, UP_TIMEOUT_S)

    async def _start_platform(self, http: aiohttp.ClientSession) -> None:
        await self._outside.start(self._children)
        await self._wait_for("微信、支付宝、HIS 模拟 · simulated wallets and HIS", self._outside.is_up, UP_TIMEOUT_S)
        await self._outside.start_platform(self._children, self._fleet_environ())
        is_up = functools.partial(_answers, http, f"{self._outside.facts().notify_url}/metrics")
        await self._wait_for("患者服务平台 · patient platform", is_up, UP_TIMEOUT_S)

    async def _start_full_kiosks(self, http: aiohttp.ClientSession, client: FleetClient) -> None:
        for kiosk in self._full:
            await self._lab.start_agent(self._children, kiosk)
        for kiosk in self._full:
            is_up = functools.partial(_answers, http, f"{kiosk.url}/api/v1/health")
            await self._wait_for(f"自助机代理 · agent of {kiosk.asset.kid}", is_up, UP_TIMEOUT_S)
            await self._pair(http, client, kiosk)

    async def _pair(self, http: aiohttp.ClientSession, client: FleetClient, kiosk: FullKiosk) -> None:
        """Do the engineer's part: read the code off the kiosk, type it into the fleet server."""
        asset = kiosk.asset
        until_s = self._clock.monotonic() + UP_TIMEOUT_S
        while self._clock.monotonic() < until_s:
            self._children.check()
            view = await kiosk.view(http, "enrolment")
            if view["state"] not in {"not_enrolled", "enrolling"}:
                return
            code = view.get("pairing_code")
            waiting = [item for item in await client.pending_enrolments() if item["serial"] == asset.serial]
            if code and waiting:
                await client.confirm(waiting[-1]["id"], code, asset.kid)
                self._say(f"{asset.kid} 已用配对码 {code} 登记 · enrolled by its pairing code")
                return
            await asyncio.sleep(POLL_S)
        raise DemoFailed(f"{asset.kid} showed no pairing code within {UP_TIMEOUT_S:g} s")

    async def _wait_online(self, client: FleetClient) -> None:
        wanted = len(self._assets)
        until_s = self._clock.monotonic() + ALL_ONLINE_TIMEOUT_S
        last = -1
        while (online := await client.kiosks_online()) < wanted:
            self._children.check()
            if online != last and online * 10 // wanted != last * 10 // wanted:
                self._say(f"{online}/{wanted} 台在线 · kiosks online")
            last = online
            if self._clock.monotonic() > until_s:
                raise DemoFailed(f"only {online} of {wanted} kiosks came online; see {self._plan.folder / 'logs'}")
            await asyncio.sleep(POLL_S)
        self._say(f"{online}/{wanted} 台在线 · kiosks online")

    async def _wait_for(self, what: str, ready: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        until_s = self._clock.monotonic() + timeout_s
        while not await ready():
            self._children.check()
            if self._clock.monotonic() > until_s:
                raise DemoFailed(f"{what} is not ready after {timeout_s:g} s; see {self._plan.folder / 'logs'}")
            await asyncio.sleep(POLL_S)
        self._say(f"{what} 就绪 · ready")

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{self._clock.monotonic() - self._started_s:6.1f} s[/]  {text}", highlight=False)

    def _write_facts(self, staff: StaffFacts) -> None:
        plan = self._plan
        facts = DemoFacts(
            started_at=self._clock.utc().isoformat(),
            dashboard_url=f"{self._base_url}/",
            fleet_api_url=f"{self._base_url}/api/v1",
            kiosk_api_url=f"https://localhost:{plan.ports.kiosk_api}",
            metrics_url=f"{self._base_url}/metrics",
            control_url=f"http://{HOST}:{plan.ports.control}",
            database_url=f"sqlite+aiosqlite:///{plan.fleet_dir / 'fleet.db'}",
            mqtt=BrokerFacts(host="localhost", port=plan.ports.broker, ca_file=str(plan.fleet_dir / "pki" / "ca.pem")),
            staff=staff,
            lab=self._lab.facts(),
            platform=self._outside.facts(),
            kiosks=[*(kiosk.facts() for kiosk in self._full), *(self._light_facts(asset) for asset in self._light())],
            pids={child.name: child.pid for child in self._children.running},
        )
        write_private(plan.facts_file, json.dumps(facts.model_dump(), indent=2, ensure_ascii=False) + "\n")

    def _light_facts(self, asset: Asset) -> KioskFacts:
        folder = self._plan.identities_dir / asset.kid
        return KioskFacts(
            kid=asset.kid,
            kind="light",
            local_api_url=None,
            token_file=None,
            cert_file=str(folder / "cert.pem"),
            key_file=str(folder / "key.pem"),
        )

    def _show(self, staff: StaffFacts) -> None:
        plan = self._plan
        lines = [
            "",
            f"[bold]运维管理 Fleet dashboard[/]   {self._base_url}/",
            f"[bold]设备实验台 Device bench[/]     {self._lab.facts().bench_url}",
            *(f"[bold]自助机 Full kiosk[/]           {kiosk.url}/  ({kiosk.asset.kid})" for kiosk in self._full),
            f"[bold]付款手机 A phone that pays[/]    {self._outside.facts().payments_url}phone",
            f"[bold]支付渠道模拟 Wallets[/]        {self._outside.facts().payments_url}",
            f"[bold]HIS 模拟 Simulated HIS[/]      {self._outside.facts().his_url}",
            f"[bold]用户名 / 密码[/]               {staff.username} / {staff.password}",
            f"[bold]动态口令密钥 TOTP secret[/]    {staff.totp_secret}",
            "动态口令 TOTP now              kiosk-sim demo-code",
            f"脚本用 For scripts             {plan.facts_file}",
            f"日志 Logs                      {plan.folder / 'logs'}",
            "",
            "Ctrl-C 结束 · ends everything this demo started"
            if plan.seconds is None
            else f"{plan.seconds:g} 秒后自动结束 · ends by itself",
        ]
        self._console.print("\n".join(lines), highlight=False)


_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextlib.contextmanager
def _only_one(lock_file: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        DemoFailed: another demo uses this folder.
    """
    with lock_file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(f"another demo is running in {lock_file.parent}; set DEMO_DIR for a second one") from None
        yield


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    """The failures inside a group, however nested."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as response:
            return response.ok
    except aiohttp.ClientError:
        return False
