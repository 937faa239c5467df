"""`kiosk-sim`: the testers' command. Exit codes: 0 done, 1 a demo failed, 2 usage, 3 refused, 4 no answer."""

from __future__ import annotations

import asyncio
import json
import os

import pyotp
import typer
from rich.console import Console
from rich.markup import escape

from kit.clock import SystemClock
from kit.logs import configure
from simulators.demo.plan import PlanError, read_plan
from simulators.demo.run import Demo, DemoFailed, leaves
from simulators.devices.cli import app as device_app
from simulators.fleet.cli import app as fleet_app
from simulators.his.cli import app as his_app
from simulators.lab.cli import app as lab_app
from simulators.lab.single import add_to
from simulators.payments.cli import app as payments_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="测试人员工具：模拟自助机群与演示环境（simulators for testers）",
)
app.add_typer(fleet_app, name="fleet")
add_to(device_app)
app.add_typer(device_app, name="device")
app.add_typer(lab_app, name="lab")
app.add_typer(his_app, name="his")
app.add_typer(payments_app, name="payments")
console = Console()


@app.command()
def demo() -> None:
    """在本机启动整套系统（DEMO_KIOSKS、DEMO_SECONDS、DEMO_DIR、DEMO_PORT、DEMO_SEED）。"""
    configure("demo", level="warning", json=False)
    failure: str | None = None
    try:
        plan = read_plan(os.environ)
        asyncio.run(Demo(plan, SystemClock(), console).run())
    except* (PlanError, DemoFailed) as group:
        failure = "; ".join(str(error) for error in leaves(group))
    if failure is not None:
        console.print("[red]错误[/]", escape(failure), highlight=False)
        raise typer.Exit(1)


@app.command("demo-code")
def demo_code() -> None:
    """显示演示管理员当前的动态口令。"""
    try:
        facts = json.loads(read_plan(os.environ).facts_file.read_bytes())
    except (OSError, PlanError) as error:
        console.print(f"[red]错误[/] 没有正在运行的演示 ({error})", highlight=False)
        raise typer.Exit(1) from None
    typer.echo(pyotp.TOTP(facts["staff"]["totp_secret"]).now())


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
