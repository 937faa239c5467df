from __future__ import annotations

import pickle

import pytest

from agent.devices.pin_pad.options import Options
from agent.devices.pin_pad.types import BlockSpent, EncryptedBlock, PinRequest
from wire.envelope import Scalar
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile


def test_a_block_is_used_once_and_is_zero_afterwards() -> None:
    block = EncryptedBlock(b"\x01\x02\x03\x04\x05\x06\x07\x08", "pin")
    with block.use() as view:
        assert bytes(view) == b"\x01\x02\x03\x04\x05\x06\x07\x08"
    assert bytes(block._data) == bytes(8)
    with pytest.raises(BlockSpent), block.use():
        pass


def test_a_block_is_zero_after_a_failure_and_when_dropped() -> None:
    block = EncryptedBlock(b"\x01" * 8, "pin")
    with pytest.raises(KeyError), block.use():
        raise KeyError
    assert bytes(block._data) == bytes(8)
    other = EncryptedBlock(b"\x01" * 8, "pin")
    other.drop()
    assert bytes(other._data) == bytes(8)


def test_nothing_shows_or_stores_it() -> None:
    block = EncryptedBlock(b"\x41" * 8, "pin")
    assert "41" not in repr(block)
    assert "A" * 4 not in repr(block)
    with pytest.raises(TypeError, match="not stored"):
        pickle.dumps(block)
    assert "601234" not in repr(PinRequest("601234567890"))


@pytest.mark.parametrize(
    ("dialect", "capabilities", "why"),
    [
        ("legacy_clear", {"encrypts": True}, "in clear"),
        ("gz_b", {}, "has to encrypt"),
        ("gz_b", {"encrypts": False}, "has to encrypt"),
        ("gz_b", {"encrypts": True, "key_mark": 0x31}, "digit"),
        ("gz_b", {"encrypts": True, "colour": "red"}, "colour"),
    ],
)
def test_pads_that_give_a_pin_in_clear_are_refused(dialect: str, capabilities: dict[str, Scalar], why: str) -> None:
    profile = DeviceProfile(
        vendor="Simulated",
        model="Pad",
        capability=Capability.PIN_PAD,
        link=LinkProfile(kind=LinkKind.SERIAL, baud=9600),
        dialect=dialect,
        capabilities=capabilities,
    )
    with pytest.raises(ValueError, match=why):
        Options.of(profile)
