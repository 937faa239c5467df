"""Keys that are replaced in the middle of a day, certificates that run out, clocks that are wrong (section 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs
from typer.testing import CliRunner

from kit.clock import ManualClock, SystemClock
from patient_platform.__main__ import Exit, cli
from patient_platform.app import certificate_files
from patient_platform.payment.channels.certificates import CertificateWatch, Urgency
from patient_platform.settings import Settings
from support.pki import Authority
from support.stepped_site import START, SteppedSite

NEW_SERIAL = "3A5C7E9102"
SKEW_S = 360


def with_keys(settings: Settings, keys: Mapping[str, Path]) -> Settings:
    assert settings.wechat is not None
    return settings.model_copy(update={"wechat": settings.wechat.model_copy(update={"platform_keys": dict(keys)})})


async def metrics(till: SteppedSite) -> str:
    async with till.site.http.get(f"{till.site.notify_url}/metrics") as response:
        return await response.text()


# --- keys ----------------------------------------------------------------------------------------------------


async def test_25_wechat_signs_with_another_key_from_noon_on(till: SteppedSite, tmp_path: Path) -> None:
    settings = till.site.platform.settings
    assert settings.wechat is not None
    old, desk = settings.wechat.platform_keys, till.site.wallets.desk
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    certificate = Authority.new(moment=START).issue("Tenpay.com Root CA", key=key).write(tmp_path, "new").certificate
    await till.restart(with_keys(settings, {**old, NEW_SERIAL: certificate}))
    morning = await till.order_bills(1)
    begun = await till.pay_by_code(morning, asks_password=True)
    assert begun["money"] == "pending"
    desk.keys = replace(desk.keys, platform=key, public_key_id=NEW_SERIAL)
    await till.site.phone("password", trade=f"{morning}01")
    await till.pass_time(5.0)
    assert (await till.show(morning))["advice"] == "print"
    noon = await till.order_bills(2)
    assert (await till.pay_by_code(noon))["advice"] == "print"


async def test_25_a_key_nobody_knows_is_no_answer_and_no_failure(till: SteppedSite) -> None:
    desk = till.site.wallets.desk
    known = desk.keys
    desk.keys = replace(known, public_key_id="PUB_KEY_ID_OF_SOMEBODY_ELSE")
    order = await till.order_bills()
    told = await till.pay_by_code(order)
    assert (told["money"], told["advice"]) == ("unknown", "do_not_pay_again")
    desk.keys = known
    await till.pass_time(5.0)
    told = await till.show(order)
    assert (told["money"], told["posting"]) == ("paid", "posted")
    assert await till.charged() == told["amount_fen"]


def test_25_certificates_are_told_of_30_and_7_days_before_they_end(tmp_path: Path) -> None:
    authority = Authority.new(moment=START)
    span = (START - timedelta(days=1), START + timedelta(days=40))
    merchant = authority.issue("merchant", validity=span).write(tmp_path, "merchant").certificate
    clock = ManualClock(START)
    watch = CertificateWatch({"wechat_merchant": merchant, "none": tmp_path / "none.pem"}, clock)
    said = []
    with capture_logs() as logs:
        for _ in range(42):
            said.append(watch.look()[0].urgency)
            clock.advance(86_400)
    assert [said.count(urgency) for urgency in Urgency] == [10, 23, 7, 2, 0]
    told = [(line["log_level"], line["left_days"]) for line in logs if line["certificate"] == "wechat_merchant"]
    assert told == [("warning", 30.0), ("error", 7.0), ("error", 0.0)]
    assert [line["urgency"] for line in logs if line["certificate"] == "none"] == ["unreadable"]
    merchant.write_bytes(authority.issue("merchant", validity=(START, START + timedelta(days=400))).certificate_pem)
    with capture_logs() as logs:
        watch.look()
    assert [line["event"] for line in logs] == ["certificate.renewed"]


async def test_25_days_left_are_a_figure(till: SteppedSite, tmp_path: Path) -> None:
    settings = till.site.platform.settings
    assert settings.wechat is not None
    file = Authority.new(moment=START).issue("merchant").write(tmp_path, "merchant").certificate
    wechat = settings.wechat.model_copy(update={"merchant_certificate_file": file})
    files = certificate_files(settings.model_copy(update={"wechat": wechat}))
    till.site.platform.certificates = CertificateWatch(files, till.clock)
    await asyncio.to_thread(till.site.platform.certificates.look)
    assert 'patient_certificate_left_days{certificate="wechat_merchant"} 15.0' in await metrics(till)


def test_25_the_doctor_names_what_runs_out(tmp_path: Path) -> None:
    now = SystemClock().utc()
    span = (now - timedelta(days=1), now + timedelta(days=20))
    certificate = Authority.new().issue("platform", validity=span).write(tmp_path, "server").certificate
    (tmp_path / "patient.toml").write_text(f"[kiosk_api]\ncertificate_file = '{certificate}'\n")
    found = CliRunner().invoke(cli, ["doctor", "--data-dir", str(tmp_path)])
    assert found.exit_code == Exit.SETUP
    assert "kiosk_api" in found.output
    assert "30 天内到期" in found.output
    certificate.write_bytes(
        Authority.new().issue("platform", validity=(span[0], now + timedelta(days=90))).certificate_pem
    )
    assert CliRunner().invoke(cli, ["doctor", "--data-dir", str(tmp_path)]).exit_code == 0


# --- clocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [SKEW_S, -SKEW_S])
async def test_26_the_channels_clock_is_wrong(till: SteppedSite, skew_s: int) -> None:
    for operation in ("wechat.codepay", "wechat.query", "wechat.query"):
        await till.site.wallet_fault(operation, "clock_skew", seconds=skew_s)
    order = await till.order_bills()
    with capture_logs() as logs:
        told = await till.pay_by_code(order)
        assert (told["money"], told["reason"]) == ("unknown", None)
        await till.pass_time(10.0)
        assert (await till.show(order))["money"] == "unknown"
        shown = await metrics(till)
        assert f'patient_channel_skew_seconds{{channel="wechat"}} {skew_s}.0' in shown
        assert 'patient_channel_calls_total{channel="wechat",outcome="lost"} 3.0' in shown
        assert 'patient_channel_calls_total{channel="alipay",outcome="refused"} 0.0' in shown
        await till.pass_time(10.0)
    told = await till.show(order)
    assert (told["money"], told["posting"]) == ("paid", "posted")
    edges = [(line["event"], line["skew_s"]) for line in logs if line["event"].startswith("channel.clock")]
    assert edges == [("channel.clock_differs", skew_s), ("channel.clock_agrees", 0)]
    assert await till.charged() == told["amount_fen"]


@pytest.mark.parametrize("skew_s", [SKEW_S, -SKEW_S])
async def test_26_our_clock_is_wrong_and_wechat_refuses_our_signature(till: SteppedSite, skew_s: int) -> None:
    till.site.wallets.clock.offset_s = skew_s
    order = await till.order_bills()
    with capture_logs() as logs:
        told = await till.pay_by_code(order)
    assert (told["money"], told["advice"]) == ("unknown", "do_not_pay_again")
    assert [line["skew_s"] for line in logs if line["event"] == "channel.clock_differs"] == [skew_s]
    till.site.wallets.clock.offset_s = 0.0
    await till.pass_time(30.0)
    assert (await till.show(order))["advice"] == "pay"
    assert await till.charged() == 0
    assert (await till.pay_by_code(order))["advice"] == "print"


@pytest.mark.parametrize("date", ["Fri, 01 Jan 1999 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT"])
async def test_26_a_kiosks_clock_has_no_say(till: SteppedSite, date: str) -> None:
    order = await till.order_bills()
    headers = {"X-Test-Kiosk": "kiosk-1", "Date": date, "Idempotency-Key": "k-1"}
    body = {"channel": "wechat", "method": "payment_code", "code": await till.site.code()}
    url = f"{till.site.url}/platform/v1/orders/{order}/pay"
    async with till.site.http.post(url, json={**body, "at": "1999-01-01T00:00:00Z"}, headers=headers) as refused:
        assert refused.status == 422
    async with till.site.http.post(url, json=body, headers=headers) as begun:
        assert begun.status == 202
    kept = await till.kept(order)
    await till.driver.drive(kept)
    paid = (await till.kept(order)).legs[0]
    assert (kept.created_at, paid.submitted_at, paid.paid_at) == (START, START, START)
    told = await till.site.call("GET", "status")
    assert datetime.fromisoformat(told["now"]).astimezone(UTC) == START
    receipt = await till.site.call("GET", f"orders/{order}/receipt")
    assert receipt["fields"]["paid_at"] == "2026-11-23 10:00:00"
