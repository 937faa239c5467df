"""Who may come in, what is kept sealed, and what channels may tell us."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from kit.clock import ManualClock, SystemClock
from patient_platform.errors import SetupError
from patient_platform.identity.access import RevocationList
from patient_platform.identity.masking import is_resident_number, mask_name, mask_phone, tail
from patient_platform.identity.vault import Unsealable, Vault, open_vault, rotate
from patient_platform.payment.channels.wechat_signing import BadSignature
from simulators.payments.keys import Keys, prepare
from simulators.payments.signatures import answer_text, rsa_sign
from simulators.people import People
from support.patient_site import PatientSite, patient_site

pytestmark = pytest.mark.timeout(60)  # lost answers are asked about again after seconds


@pytest.fixture(scope="module")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("guard-keys"))


@pytest.fixture
async def site(site_keys: Keys, tmp_path: Path, sqlite_platform_url: str) -> AsyncIterator[PatientSite]:
    """Run everything."""
    async with patient_site(site_keys, tmp_path, sqlite_platform_url) as found:
        yield found


# --- the vault -------------------------------------------------------------------------------------------------


def test_what_is_sealed_opens_for_its_field_only(tmp_path: Path) -> None:
    vault = open_vault(tmp_path / "keys.json")
    sealed = vault.seal("510101199001011234", "number")
    assert "510101" not in sealed
    assert sealed != vault.seal("510101199001011234", "number")
    assert vault.open(sealed, "number") == "510101199001011234"
    for wrong in (sealed[:-4] + "AAAA", "k9" + sealed[2:], "k1.", "nothing"):
        with pytest.raises(Unsealable):
            vault.open(wrong, "number")
    with pytest.raises(Unsealable):
        vault.open(sealed, "name")


def test_an_old_key_still_opens_what_it_sealed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    sealed = open_vault(file).seal("张三", "name")
    index = open_vault(file).blind("1", "number")
    assert rotate(file) == "k2"
    vault = open_vault(file)
    assert vault.open(sealed, "name") == "张三"
    assert vault.seal("张三", "name").startswith("k2.")
    assert vault.blind("1", "number") == index


@pytest.mark.parametrize("content", ["", "{}", '{"active":"k1","keys":{"k1":"AA=="},"index":"AA=="}'])
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(SetupError):
        open_vault(file)
    file.write_text(content)
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod"):
        open_vault(file)


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_comes_back(text: str, field: str) -> None:
    vault = Vault("k1", {"k1": b"k" * 32}, b"i" * 32)
    assert vault.open(vault.seal(text, field), field) == text


def test_masks_show_little() -> None:
    assert (mask_name("张三"), mask_name("欧阳娜娜"), mask_name("王")) == ("张*", "欧**", "王*")
    assert (tail("51010119900101123X"), tail("1234")) == ("123X", None)
    assert (mask_phone("13812341234"), mask_phone("1381234"), mask_phone("")) == ("138****1234", None, None)


def test_resident_numbers_have_their_check_digit() -> None:
    numbers = [People(seed).person().number for seed in range(200)]
    assert all(is_resident_number(number) for number in numbers)
    assert not any(is_resident_number(number[:-2] + str((int(number[-2]) + 1) % 10) + number[-1]) for number in numbers)


# --- kiosks ----------------------------------------------------------------------------------------------------


def crl_of(key: ec.EllipticCurvePrivateKey, *serials: int) -> bytes:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    )
    builder = builder.last_update(now).next_update(now + timedelta(days=30))
    for serial in serials:
        row = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(row)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def test_44_a_certificate_that_is_revoked_in_the_middle_is_refused_at_the_next_request(tmp_path: Path) -> None:
    clock, file, key = ManualClock(), tmp_path / "crl.pem", ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(crl_of(key, 7))
    revoked = RevocationList(file, clock)
    assert await revoked.holds(7)
    assert not await revoked.holds(8)
    file.write_bytes(crl_of(key, 7, 8))
    os.utime(file, ns=(1, 1))
    clock.advance(2)
    assert await revoked.holds(8)
    file.write_bytes(b"damaged")
    clock.advance(2)
    assert await revoked.holds(8)  # the last good list stays in force


# --- what channels tell us -------------------------------------------------------------------------------------


async def test_24_a_true_notice_is_taken_and_anything_else_refused(site: PatientSite) -> None:
    order = await site.order_bills(await site.identify())
    await site.pay(order["order"], channel="wechat", method="qr_code")
    shown = await site.until(order["order"], advice="show_code")
    await site.phone("pay", qr=shown["qr_text"])
    url = f"{site.notify_url}/notify/wechat"
    forged = {
        "Wechatpay-Serial": site.wallets.desk.keys.public_key_id,
        "Wechatpay-Timestamp": str(int(SystemClock().utc().timestamp())),
        "Wechatpay-Nonce": "n",
        "Wechatpay-Signature": "AAAA",
    }
    body = json.dumps({"event_type": "TRANSACTION.SUCCESS", "resource": {}}).encode()
    for signed in (forged, {**forged, "Wechatpay-Signature": "WECHATPAY/SIGNTEST/AAAA"}, {}):
        headers = {**signed, "Content-Type": "application/json"}
        async with site.http.post(url, data=body, headers=headers) as response:
            assert response.status == 401
    async with site.http.post(
        f"{site.notify_url}/notify/alipay", data={"out_trade_no": f"{order['order']}01", "sign": "AAAA"}
    ) as response:
        assert (response.status, await response.text()) == (401, "failure")
    await site.until(order["order"], advice="print")


async def test_a_notice_of_yesterday_is_no_notice(site: PatientSite) -> None:
    wechat = site.platform.raw[next(name for name in site.platform.raw if name.value == "wechat")]
    keys = wechat._merchant.keys  # type: ignore[attr-defined]
    clock = ManualClock(datetime(2025, 12, 31, tzinfo=UTC))
    stamp = str(int(clock.utc().timestamp()))
    headers = {
        "Wechatpay-Serial": next(iter(keys.public)),
        "Wechatpay-Timestamp": stamp,
        "Wechatpay-Nonce": "n",
        "Wechatpay-Signature": rsa_sign(site.wallets.desk.keys.platform, answer_text(stamp, "n", b"{}")),
    }
    keys.verify(headers, b"{}", clock)
    clock.advance(86_400)
    with pytest.raises(BadSignature, match="five minutes"):
        keys.verify(headers, b"{}", clock)


# --- nothing leaks ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
async def test_forty_identities_are_nowhere_in_clear(
    site: PatientSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, numbers, phones and codes of forty people: not in the store, logs, metrics or answers beyond the mask."""
    patients = [site.his.desk.hospital.books.patients[f"P{number:06d}"] for number in range(60, 100)]
    answers = ""
    codes: list[str] = []
    for number, patient in enumerate(patients, start=60):
        kiosk = f"kiosk-{number}"
        session = await site.identify(number, kiosk)
        order = await site.order_bills(session, kiosk)
        codes.append(await site.code())
        await site.pay(order["order"], kiosk, channel="wechat", method="payment_code", code=codes[-1])
        answers += json.dumps((await site.until(order["order"], kiosk, advice="print")).body, ensure_ascii=False)
        receipt = await site.call("GET", f"orders/{order['order']}/receipt", kiosk=kiosk)
        answers += json.dumps(receipt.body, ensure_ascii=False)
        assert patient.id_card not in answers
    async with site.http.get(f"{site.notify_url}/metrics") as response:
        metrics = await response.text()
    database = Path(str(site.platform.database.url.database))
    stored = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    logged = "".join(capsys.readouterr())
    for patient, code in zip(patients, codes, strict=True):
        secrets = [patient.id_card, patient.phone, patient.card_no, code]
        secrets += [patient.name] if len(patient.name) > 1 else []
        for secret in secrets:
            assert secret.encode() not in stored
            assert secret not in metrics
            assert secret not in logged
            assert secret == patient.name or secret not in answers  # a doctor may have the same name
