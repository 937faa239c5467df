"""Patients at the kiosk's page: real agent API, real platform, simulated HIS and wallets, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor
from e2e.marks import E2E
from e2e.patient_rig import DIST, PatientRig
from e2e.test_accessible import findings_now, overlaps
from playwright.async_api import Page

from kit.store import upgrade
from patient_platform.app import MIGRATIONS
from simulators.payments.keys import Keys, prepare
from support.patient_site import patient_site
from wire.presence import Activity

pytestmark = [*E2E, pytest.mark.timeout(120)]
SMALL = """() => [...document.querySelectorAll("button")]
  .map(one => [one.textContent.trim(), one.getBoundingClientRect()])
  .filter(([, box]) => box.width < 87.5 || box.height < 87.5)
  .concat([...document.querySelectorAll("button")]
    .map(one => [one.textContent.trim(), one.getBoundingClientRect()])
    .filter(([, box]) => box.right > innerWidth + 1 || box.bottom > innerHeight + 1))
  .map(([text, box]) => `${text} ${box.width}x${box.height} to ${box.right},${box.bottom}`)"""
"""Targets that are too small for a finger, or not on the screen."""
CUT = """() => [...document.querySelectorAll(".panel, button")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.trim())"""
"""Boxes whose text does not fit into them."""


@pytest.fixture(scope="session")
def patient_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return prepare(tmp_path_factory.mktemp("patient-keys"))


@pytest_asyncio.fixture(loop_scope="session")
async def rig(patient_keys: Keys, tmp_path: Path) -> AsyncIterator[tuple[PatientRig, str]]:
    if not (DIST / "index.html").is_file():
        pytest.fail("the page for patients is not built: npm run build")
    store = f"sqlite+aiosqlite:///{tmp_path / 'patient.db'}"
    await asyncio.to_thread(upgrade, store, MIGRATIONS)
    async with patient_site(patient_keys, tmp_path, store) as site:
        made = PatientRig(site)
        async with made.serving() as url:
            yield made, url


@pytest_asyncio.fixture(loop_scope="session")
async def screen(make_visitor: MakeVisitor) -> Watched:
    return await make_visitor(Visit(width=1080, height=1920))


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name).first.click(timeout=10_000)


async def shows(page: Page, title: str) -> None:
    await page.get_by_role("heading", name=title, level=1).wait_for(timeout=15_000)


async def to_pay(page: Page, rig: PatientRig, patient: int = 1) -> None:
    await press(page, "点击开始")
    await press(page, "缴费")
    rig.lay_card(patient)
    await press(page, "是我本人")
    await press(page, "确认，去支付")
    await shows(page, "请选择付款方式")


async def looked_at(page: Page) -> None:
    assert await findings_now(page) == []
    assert await page.evaluate(SMALL) == []
    assert await page.evaluate(CUT) == []
    assert await overlaps(page) == []


async def test_a_bill_is_paid_by_the_code_on_the_screen(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    page = screen.page
    await page.goto(url)
    await to_pay(page, kiosk)
    await looked_at(page)
    await press(page, "微信支付")
    await shows(page, "请用手机扫码付款")
    await looked_at(page)
    assert kiosk.lease.activity() is Activity.PAYING
    order = (await kiosk.site.call("GET", "open-orders"))["orders"][0]
    await kiosk.site.phone("pay", qr=order["qr_text"])
    await shows(page, "缴费成功")
    await page.get_by_text("请取走凭条").wait_for()
    await looked_at(page)
    assert "缴费凭条" in kiosk.papers[f"order-{order['order']}"]
    await press(page, "完成")
    await page.get_by_role("button", name="点击开始").wait_for()
    assert page.url == url
    assert kiosk.lease.activity() is Activity.IDLE
    assert (await kiosk.site.call("GET", f"sessions/{order['session']}/bills")).status == 410


@pytest.mark.parametrize(
    ("size", "modes"),
    [((1920, 1080), ("Large print",)), ((1080, 1920), ("Large print", "Low position"))],
    ids=["landscape", "portrait-low"],
)
async def test_large_print_in_the_longer_language_fits(
    rig: tuple[PatientRig, str], make_visitor: MakeVisitor, size: tuple[int, int], modes: tuple[str, ...]
) -> None:
    kiosk, url = rig
    page = (await make_visitor(Visit(*size))).page
    await page.goto(url)
    for name in ("English", *modes):
        await press(page, name)
    await looked_at(page)
    for name, title in (
        ("Touch to start", "What would you like to do?"),
        ("Pay a bill", "Show your card or visit code"),
    ):
        await press(page, name)
        await shows(page, title)
        await looked_at(page)
    kiosk.lay_card(5)
    await shows(page, "Is this you?")
    await looked_at(page)
    await press(page, "Yes, this is me")
    await shows(page, "Please check your bill")
    await looked_at(page)
    await press(page, "Confirm and pay")
    await shows(page, "How would you like to pay?")
    await looked_at(page)


async def test_a_payment_survives_a_reload(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    page = screen.page
    await page.goto(url)
    await to_pay(page, kiosk, 2)
    kiosk.show_code(await kiosk.site.code("alipay", asks_password=True))
    await shows(page, "请在手机上确认付款")
    await page.reload()
    await shows(page, "请在手机上确认付款")
    order = (await kiosk.site.call("GET", "open-orders"))["orders"][0]
    await kiosk.site.phone("password", trade=order["order"] + "01")
    await shows(page, "缴费成功")
    await page.get_by_text("请取走凭条").wait_for()
    assert len(kiosk.papers) == 1


async def test_without_the_platform_nobody_pays_twice(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    page = screen.page
    await page.goto(url)
    await to_pay(page, kiosk, 3)
    await press(page, "微信支付")
    await shows(page, "请用手机扫码付款")
    order = (await kiosk.site.call("GET", "open-orders"))["orders"][0]
    kiosk.link.is_cut = True
    await kiosk.site.phone("pay", qr=order["qr_text"])
    await shows(page, "正在核实，请勿重复支付")
    assert order["case_number"] in await page.inner_text("main")
    await looked_at(page)
    kiosk.link.is_cut = False
    await shows(page, "缴费成功")
    screen.complaints.clear()  # the browser tells of every request without an answer


async def test_a_doctor_is_booked_and_the_printer_has_no_paper(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    kiosk.has_paper = False
    page = screen.page
    await page.goto(url)
    await press(page, "点击开始")
    await press(page, "挂号")
    kiosk.lay_card(4)
    await press(page, "是我本人")
    for title in ("请选择科室", "请选择医生", "请选择时段"):
        await shows(page, title)
        await looked_at(page)
        await page.locator("ul.list button:enabled").first.click()
    await shows(page, "已为您保留号源")
    await looked_at(page)
    await press(page, "确认，去支付")
    kiosk.show_code(await kiosk.site.code())
    await shows(page, "挂号成功")
    await page.get_by_text("凭条没有打印出来").wait_for()
    await looked_at(page)
    kiosk.has_paper = True
    await press(page, "再打印一次")
    await page.get_by_text("请取走凭条").wait_for()
    assert len(kiosk.papers) == 1
    assert "挂号凭条" in next(iter(kiosk.papers.values()))


async def test_what_the_his_does_not_book_goes_back(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    page = screen.page
    await page.goto(url)
    await to_pay(page, kiosk, 5)
    order = (await kiosk.site.call("GET", "open-orders"))["orders"][0]
    for bill in [one for one in kiosk.site.his.desk.hospital.books.bills.values() if one.patient_id == "P000005"]:
        bill.state = "void"
    kiosk.show_code(await kiosk.site.code())
    await shows(page, "已为您退款")
    assert order["case_number"] in await page.inner_text("main")
    await looked_at(page)
    assert kiosk.papers == {}


async def test_a_code_without_money_may_be_followed_by_another(rig: tuple[PatientRig, str], screen: Watched) -> None:
    kiosk, url = rig
    page = screen.page
    await page.goto(url)
    await to_pay(page, kiosk, 6)
    kiosk.show_code(await poor_code(kiosk))
    await page.get_by_text("余额不足").wait_for(timeout=15_000)
    await shows(page, "请选择付款方式")
    kiosk.show_code(await kiosk.site.code())
    await shows(page, "缴费成功")


async def poor_code(kiosk: PatientRig) -> str:
    return str((await kiosk.site.phone("code", wallet="wechat", balance_fen=1))["code"])


@pytest.mark.parametrize(("width", "height"), [(1080, 1920), (1920, 1080)], ids=["portrait", "landscape"])
async def test_large_print_low_position_and_english(
    rig: tuple[PatientRig, str], make_visitor: MakeVisitor, width: int, height: int
) -> None:
    kiosk, url = rig
    visitor = await make_visitor(Visit(width=width, height=height))
    page = visitor.page
    await page.goto(url)
    for name in ("English", "Large print", "Low position", "Touch to start"):
        await press(page, name)
        await looked_at(page)
    await press(page, "Pay a bill")
    await shows(page, "Show your card or visit code")
    await looked_at(page)
    kiosk.lay_card(7)
    await shows(page, "Is this you?")
    await looked_at(page)
    await press(page, "Yes, this is me")
    await shows(page, "Please check your bill")
    await looked_at(page)
    await press(page, "Confirm and pay")
    await shows(page, "How would you like to pay?")
    await looked_at(page)
    await press(page, "Finish and leave")
    await page.get_by_role("button", name="点击开始").wait_for()
    assert (await kiosk.site.call("GET", "open-orders"))["orders"] == []
