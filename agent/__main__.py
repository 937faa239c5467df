"""`kiosk-agent`. Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage or settings, 4 the agent does not answer.

The command line is argparse's: the agent must not load a larger library to read two words.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.lean import lean_imports

with lean_imports():
    from agent.errors import OutboxBusy, ProfileError
    from agent.settings import Settings, load_settings
    from kit.clock import SystemClock
    from kit.logs import configure, get_logger
    from kit.settings import SettingsError
    from kit.supervise import SdNotifier
    from wire import __version__

CONFIG_FILE = Path("/etc/kiosk-agent/agent.toml")
EXIT_FAILED, EXIT_USAGE, EXIT_SILENT = 1, 2, 4
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMEOUT_S = 5.0
log = get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    given = _parser().parse_args(arguments)
    if given.command == "profile":
        sys.exit(_check_profiles(given.files))
    if given.command in {"asyncapi", "openapi"}:
        sys.exit(_describe(given.command))
    try:
        with lean_imports():  # the first validation of all brings what finds plugins
            settings = load_settings(given.config)
    except SettingsError as error:
        print(f"设置错误 (settings): {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    if given.command == "maintenance":
        sys.exit(_maintenance_code(settings))
    if given.command == "firmware":
        sys.exit(_firmware(settings))
    if given.command == "devices":
        sys.exit(_scan(settings, given.config, as_json=given.json, is_writing=given.write))
    if given.command == "recording":
        sys.exit(_recordings(settings, given.name if given.action == "show" else None))
    sys.exit(_status(settings, as_json=given.json) if given.command == "status" else _run(settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kiosk-agent", description="自助机代理程序 (headless kiosk agent)")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--config", type=Path, default=CONFIG_FILE, help=f"设置文件, 默认 {CONFIG_FILE} (settings file)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="命令")
    commands.add_parser("run", help="运行 (run)")
    status = commands.add_parser("status", help="本机状态: 连接、待发记录、告警 (ask the running agent)")
    status.add_argument("--json", action="store_true", help="输出 JSON")
    commands.add_parser("asyncapi", help="输出设备接口文档 (print the AsyncAPI document of the device WebSocket)")
    commands.add_parser("openapi", help="输出 HTTP 接口文档 (print the OpenAPI document of the local API)")
    profile = commands.add_parser("profile", help="设备配置文件 (firmware profiles)")
    actions = profile.add_subparsers(dest="action", required=True, metavar="操作")
    check = actions.add_parser("check", help="检查配置文件 (check profile files)")
    check.add_argument("files", type=Path, nargs="+", metavar="FILE", help="devices/*.yaml 或 kiosks/*.yaml")
    devices = commands.add_parser("devices", help="接入的设备 (devices that are plugged in)")
    looks_at = devices.add_subparsers(dest="action", required=True, metavar="操作")
    scan = looks_at.add_parser(
        "scan", help="查找设备并对照自助机型号, 不向设备发送任何数据 (find devices; nothing is sent)"
    )
    scan.add_argument("--json", action="store_true", help="输出 JSON")
    scan.add_argument(
        "--write", action="store_true", help="把确定的端口写入设置文件 (write ports that are sure to the settings)"
    )
    firmware = commands.add_parser("firmware", help="设备固件 (firmware of devices)")
    tells = firmware.add_subparsers(dest="action", required=True, metavar="操作")
    tells.add_parser(
        "list", help="列出可用更新与固件文件是否正确; 更新在维护页面进行 (updates and their images; nothing is sent)"
    )
    maintenance = commands.add_parser("maintenance", help="现场维护 (maintenance at the kiosk)")
    doings = maintenance.add_subparsers(dest="action", required=True, metavar="操作")
    doings.add_parser("code", help="生成一次性维护码, 10 分钟内有效 (one-time code for the maintenance page)")
    recording = commands.add_parser("recording", help="设备黑匣子记录 (flight recordings of devices)")
    looks = recording.add_subparsers(dest="action", required=True, metavar="操作")
    looks.add_parser("list", help="列出记录, 新的在前 (list, newest first)")
    show = looks.add_parser("show", help="显示一份记录 (show one)")
    show.add_argument("name", metavar="NAME", help="记录名, 或 .kfr 文件的路径 (name, or path of a file)")
    parser.set_defaults(json=False)
    return parser


def _recordings(settings: Settings, name: str | None) -> int:
    """List what there is, or show one; the agent need not run for it."""
    from agent.recorder.shelf import FOLDER, Shelf  # noqa: PLC0415 - `run` and `status` do without it
    from agent.recorder.table import list_lines, show_lines  # noqa: PLC0415 - the same
    from wire.recording import RecordingError, decode_recording  # noqa: PLC0415 - the same

    shelf = Shelf(settings.data_dir / FOLDER)
    if name is None:
        print("\n".join(list_lines(shelf.all())))
        return 0
    try:
        recording = decode_recording((shelf.file(name) or Path(name)).read_bytes())
    except (OSError, RecordingError) as error:
        print(f"无法读取记录 (recording) {name}: {error}", file=sys.stderr)
        return EXIT_FAILED
    try:
        for line in show_lines(recording):
            print(line)
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def _check_profiles(files: Sequence[Path]) -> int:
    from agent.devices.profiles import check  # noqa: PLC0415 - `run` and `status` do without it

    wrong = 0
    for file in files:
        try:
            print(f"正确 (ok)    {file}: {check(file)}")
        except ProfileError as error:
            wrong += 1
            print(f"错误 (wrong) {error}", file=sys.stderr)
    return EXIT_USAGE if wrong else 0


def _scan(settings: Settings, config: Path, *, as_json: bool, is_writing: bool) -> int:
    from agent.devices.ports_file import PortsFileError  # noqa: PLC0415 - `run` and `status` do without it
    from agent.devices.scan import scan  # noqa: PLC0415 - the same

    try:
        is_whole = scan(settings, config, as_json=as_json, is_writing=is_writing)
    except ProfileError as error:
        print(f"设备配置文件错误 (profile): {error}", file=sys.stderr)
        return EXIT_USAGE
    except PortsFileError as error:
        print(f"无法写入设置文件 (cannot write): {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0 if is_whole else EXIT_FAILED


def _firmware(settings: Settings) -> int:
    from agent.firmware.table import firmware_lines  # noqa: PLC0415 - `run` and `status` do without it

    try:
        is_whole, lines = firmware_lines(settings)
    except ProfileError as error:
        print(f"设备配置文件错误 (profile): {error}", file=sys.stderr)
        return EXIT_USAGE
    print("\n".join(lines))
    return 0 if is_whole else EXIT_FAILED


def _describe(what: str) -> int:
    from agent.local_api import documents  # noqa: PLC0415 - `run` and `status` do without it

    document = documents.asyncapi_document() if what == "asyncapi" else documents.openapi()
    print(json.dumps(document, ensure_ascii=False, indent=2))
    return 0


def _maintenance_code(settings: Settings) -> int:
    from agent.maintenance.access import FILE, LIFE_S, CodeFile  # noqa: PLC0415 - the others do without it

    try:
        codes = CodeFile(settings.data_dir / FILE, _BOOT_ID.read_text(encoding="ascii").strip())
        code = codes.issue(SystemClock())
    except OSError as error:
        print(f"无法写入数据目录 (data directory) {settings.data_dir}: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"维护码 (code)        {code}")
    print(f"有效期 (valid for)   {LIFE_S / 60:.0f} 分钟, 只能使用一次 (minutes, once)")
    print(f"页面 (page)          http://127.0.0.1:{settings.local_api.port}/maintenance")
    return 0


def _run(settings: Settings) -> int:
    with lean_imports():
        from agent.app import Agent, prepare  # noqa: PLC0415 - `status` and wrong settings need none of it
        from kit.web import ListenError  # noqa: PLC0415 - the same

    os.umask(0o077)
    configure("kiosk-agent", level=settings.log_level, json=settings.log_json)
    try:
        prepare(settings.data_dir)
        agent = Agent(settings, SystemClock(), _BOOT_ID.read_text(encoding="ascii").strip())
    except ProfileError as error:
        print(f"设备配置文件错误 (profile): {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"无法使用数据目录 (data directory) {settings.data_dir}: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        asyncio.run(agent.run(notifier=SdNotifier()))
    except* OutboxBusy:
        print(f"另一个代理程序正在使用 (another agent uses) {settings.data_dir}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except* (OSError, ListenError) as group:
        for failure in group.exceptions:
            print(f"启动失败 (cannot start): {failure}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    return 0


def _status(settings: Settings, *, as_json: bool) -> int:
    """Ask the running agent with this boot's token and show what matters."""
    api = settings.local_api
    try:
        token = (settings.data_dir / "token").read_text(encoding="ascii").strip()
        link = http.client.HTTPConnection(api.host, api.port, timeout=_TIMEOUT_S)
        link.request("GET", "/api/v1/state", headers={"Authorization": f"Bearer {token}"})
        answer = link.getresponse()
        state = json.loads(answer.read())
        link.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"代理程序没有应答 (no answer on {api.host}:{api.port}): {error}", file=sys.stderr)
        return EXIT_SILENT
    if answer.status != http.client.OK:
        print(f"代理程序拒绝 (refused): {state.get('title')}", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps(state, ensure_ascii=False) if as_json else _summary(state))
    return 0


def _summary(state: dict[str, object]) -> str:
    uplink, alarms = state["uplink"], state["alarms"]
    lines = [
        f"自助机 (kiosk)      {state.get('kid') or '未登记 (not enrolled)'}",
        f"版本 (version)      {state['agent_version']}",
    ]
    if isinstance(uplink, dict):
        queue = uplink["queue"]
        lines += [
            f"连接 (link)         {uplink['state']}",
            f"待发 (waiting)      P0 {queue['p0']}  P1 {queue['p1']}  P2 {queue['p2']}",
        ]
    if isinstance(alarms, list):
        lines += [f"告警 (alarm)        {alarm['title']} · {alarm['component']} · {alarm['since']}" for alarm in alarms]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
