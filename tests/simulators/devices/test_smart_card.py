"""Simulated cards against the same golden bytes as the driver's codecs."""

from __future__ import annotations

from simulators.devices.smart_card import CardFault, SmartCard, debit_card, social_card
from support.tree import ROOT


def _golden() -> dict[str, bytes]:
    lines = (ROOT / "tests/golden/frames/card_reader.hex").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if line and not line.startswith("#"))
    return {name: bytes.fromhex(value) for name, value in pairs}


GOLDEN = _golden()


def _ask(card: SmartCard, apdu: bytes) -> bytes:
    data = card.exchange(apdu).data
    assert data is not None
    return data


def test_a_social_card_answers_in_two_steps_with_t0() -> None:
    card = social_card()
    assert _ask(card, GOLDEN["select_ssse_t0"])[0] == 0x61
    assert _ask(card, GOLDEN["select_ef05"]) == b"\x90\x00"
    assert _ask(card, GOLDEN["read_record_7"]) == b"\x6c\x0b"
    assert _ask(card, bytes.fromhex("00B207040B")) == GOLDEN["reply_card_number"]


def test_the_same_card_without_t0() -> None:
    card = social_card(is_t0=False, by_tag=True)
    assert _ask(card, GOLDEN["select_ssse"]).endswith(b"\x90\x00")
    _ask(card, bytes.fromhex("00A4000002EF06"))
    assert _ask(card, GOLDEN["read_tag_8"]) == GOLDEN["reply_id_number"]


def test_a_protected_card_and_a_pin_that_is_counted() -> None:
    card = social_card(is_protected=True)
    _ask(card, GOLDEN["select_ssse_t0"])
    _ask(card, bytes.fromhex("00A4000002EF06"))
    assert _ask(card, bytes.fromhex("00B2010414")) == GOLDEN["sw_6982"]
    assert _ask(card, bytes.fromhex("0020000003123456")) == b"\x63\xc2"
    assert card.verifies == 1


def test_a_bank_card_wants_what_its_pdol_says() -> None:
    card = debit_card()
    assert _ask(card, GOLDEN["gpo_empty"]) == b"\x69\x85"
    assert _ask(card, bytes.fromhex("00A4040008A000000333010101"))[0] == 0x61
    assert _ask(card, GOLDEN["gpo_empty"]) == b"\x69\x85"
    assert _ask(card, bytes.fromhex("80A800000B8309") + bytes(9)) == b"\x61\x0c"
    assert _ask(card, bytes.fromhex("00C000000C")) == bytes.fromhex("800A7C001001010018010100") + b"\x90\x00"


def test_faults_happen_when_they_are_due_and_as_often_as_said() -> None:
    card = debit_card()
    card.script(CardFault.WRONG_STATUS, after=1, times=2)
    seen = [_ask(card, GOLDEN["sw_6a82"] + b"\x00\x00") for _ in range(4)]
    assert [answer == b"\x6f\x00" for answer in seen] == [False, True, True, False]
    card.script(CardFault.YANKED, after=0)
    card.power_up()
    assert card.exchange(GOLDEN["select_pse"]).is_yanked
