"""What a code may be, and that nobody keeps it."""

from __future__ import annotations

import pytest

from agent.devices.qr_scanner.classify import classify, rules
from agent.devices.qr_scanner.types import LIFETIME_S, PAYMENTS, CodeKind, CodeSpent, OneUseCode, Scan
from kit.clock import ManualClock

K = CodeKind
HEALTH = "0123456789ABCDEF" * 4


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("134567890123456789", (K.WECHAT_PAY,)),
        ("164567890123456789", ()),
        ("2812345678901234", (K.ALIPAY_PAY,)),
        ("301234567890123456789012", (K.ALIPAY_PAY,)),
        ("3012345678901234567890123", ()),
        ("6201234567890123456", (K.UNIONPAY_PAY,)),
        ("620123456789012345", ()),
        (f"{HEALTH}:1", (K.HEALTH_CARD,)),
        (f"{HEALTH}:1:20261123", (K.HEALTH_CARD,)),
        (HEALTH, ()),
        ("1" * 28, (K.INSURANCE_VOUCHER,)),
        ("11010519491231002X", (K.RESIDENT_ID,)),
        ("110105194912310021", (K.WECHAT_PAY,)),
        ("110105194912310038", (K.WECHAT_PAY, K.RESIDENT_ID)),
        ("134567890123456789\n", ()),
        ("１３４５６７８９０１２３４５６７８９", ()),
        ("", ()),
    ],
)
def test_rules(text: str, kinds: tuple[CodeKind, ...]) -> None:
    assert classify(text, ()) == kinds


def test_what_the_screen_expects_comes_first() -> None:
    both = "110105194912310038"
    assert classify(both, PAYMENTS) == (K.WECHAT_PAY,)
    assert classify(both, {K.RESIDENT_ID, K.INSURANCE_VOUCHER}) == (K.RESIDENT_ID,)
    assert classify(f"{HEALTH}:1", PAYMENTS) == ()


def test_a_hospital_has_its_own_patterns() -> None:
    own = rules({K.HOSPITAL: r"MZ[0-9]{8}", K.INSURANCE_VOUCHER: r"[0-9]{32}"})
    assert classify("MZ00012345", (), own) == (K.HOSPITAL,)
    assert classify("1" * 28, (), own) == ()
    with pytest.raises(ValueError, match="hospital"):
        rules({K.HOSPITAL: "(("})


def test_a_code_is_given_once_within_a_minute_and_never_shown(manual_clock: ManualClock) -> None:
    code = OneUseCode("134567890123456789", manual_clock, b"salt")
    scan = Scan(code, (K.WECHAT_PAY,))
    assert "1345" not in f"{code!r} {code} {scan!r} {scan}"
    assert code.take() == "134567890123456789"
    with pytest.raises(CodeSpent):
        code.take()
    old = OneUseCode("134567890123456789", manual_clock, b"salt")
    manual_clock.advance(LIFETIME_S + 1)
    with pytest.raises(CodeSpent):
        old.take()
    assert code.fingerprint == old.fingerprint
    assert code.fingerprint != OneUseCode("134567890123456789", manual_clock, b"other").fingerprint
