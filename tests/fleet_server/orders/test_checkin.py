"""The code on a kiosk's screen: a golden one made by the agent's key program in November 2026, and every wrong one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.errors import Refusal
from fleet_server.orders.checkin import read_code, verify
from fleet_server.registry.model import CertificateState, IssuedCertificate
from support.tree import ROOT
from wire.checkin import CheckIn, CheckInError, parse

GOLDEN = ROOT / "tests" / "golden" / "checkin"
AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
CODE = (GOLDEN / "zzj-001.txt").read_text(encoding="ascii").strip()
CERTIFICATE = IssuedCertificate(
    fingerprint="f",
    kid="zzj-001",
    serial="5eed0001",
    key_digest="k",
    pem=(GOLDEN / "zzj-001.pem").read_text(encoding="ascii"),
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2027, 1, 1, tzinfo=UTC),
    issued_at=datetime(2026, 1, 1, tzinfo=UTC),
    issued_by="li",
    state=next(state for state in CertificateState if state is not CertificateState.REVOKED),
)


def checked(code: str, certificate: IssuedCertificate = CERTIFICATE, now: datetime = AT) -> CheckIn:
    said, signature = read_code(code)
    verify(said, signature, [certificate], now)
    return said


def test_the_golden_code_is_read_and_proved() -> None:
    said = checked(CODE)
    assert (said.kid, said.at_s, said.certificate) == ("zzj-001", int(AT.timestamp()), "5eed0001")
    assert CODE.startswith("HKC1.zzj-001.1795482000.01KAV2Y8Q00000000000000001.5eed0001.")
    assert checked(CODE, now=AT + timedelta(minutes=10)) == said


@pytest.mark.parametrize("minutes", [-11, 11])
def test_a_code_is_good_for_ten_minutes_around_its_time(minutes: int) -> None:
    with pytest.raises(Refusal) as refused:
        checked(CODE, now=AT + timedelta(minutes=minutes))
    assert refused.value.code == "checkin_stale"


def test_whatever_is_changed_in_a_code_makes_it_worthless() -> None:
    for place, character in enumerate(CODE):
        other = "2" if character != "2" else "3"
        with pytest.raises(Refusal) as refused:
            checked(CODE[:place] + other + CODE[place + 1 :])
        assert refused.value.code in {"checkin_invalid", "checkin_forged", "checkin_stale"}


@pytest.mark.parametrize(
    "certificate",
    [
        replace(CERTIFICATE, kid="zzj-002"),
        replace(CERTIFICATE, serial="5eed0002"),
        replace(CERTIFICATE, state=CertificateState.REVOKED),
        replace(CERTIFICATE, not_after=AT - timedelta(days=1)),
    ],
)
def test_only_the_kiosks_own_certificate_that_opens_doors_proves_it(certificate: IssuedCertificate) -> None:
    with pytest.raises(Refusal) as refused:
        checked(CODE, certificate)
    assert refused.value.code == "checkin_forged"


@pytest.mark.parametrize("code", ["", "HKC1", CODE + "x" * 400, CODE.replace("HKC1", "HKC2"), f"https://x/{CODE}"])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(CheckInError):
        parse(code)
