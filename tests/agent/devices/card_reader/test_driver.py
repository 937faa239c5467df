"""The driver and simulated cards, with the real pcscd and a virtual reader between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from agent.devices.card_reader.driver import PcscCardReader
from agent.devices.card_reader.types import BankCard, CardKind, SocialCard
from agent.devices.types import DeviceStatus
from agent.errors import DeviceFault
from agent.links.pcsc import PcscLink
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.smart_card import CardFault, Holder, SmartCard, debit_card, social_card
from simulators.devices.vpcd import VpcdSlot
from support.card_service import CardService
from support.tree import ROOT
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

pytestmark = pytest.mark.timeout(120)

BOTH = (CardKind.SOCIAL, CardKind.BANK)
PAN = "6217000012345678906"


@dataclass
class FakeOwner:
    statuses: list[DeviceStatus] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    signs: int = 0

    def status(self, status: DeviceStatus) -> None:
        self.statuses.append(status)

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        assert not fields
        self.events.append(name)

    def alive(self) -> None:
        self.signs += 1

    @property
    def values(self) -> Mapping[str, Scalar]:
        return self.statuses[-1].values if self.statuses else {}

    @property
    def faults(self) -> set[Fault]:
        return set(self.statuses[-1].faults) if self.statuses else set()


@dataclass
class Bench:
    service: CardService
    slot: VpcdSlot
    link: PcscLink
    reader: PcscCardReader
    owner: FakeOwner


def profile(name: str = "generic-pcsc") -> DeviceProfile:
    text = (ROOT / f"firmware_profiles/devices/{name}.yaml").read_text(encoding="utf-8")
    found = DeviceProfile.model_validate(yaml.safe_load(text))
    return found.model_copy(update={"quirks": {**found.quirks, "answer_s": 1.0}})


@asynccontextmanager
async def running(service: CardService, made: DeviceProfile | None = None) -> AsyncIterator[Bench]:
    link, owner = PcscLink("Virtual PCD A 00 00"), FakeOwner()
    reader = PcscCardReader(link, made or profile(), owner, SystemClock())
    await link.open()
    try:
        async with VpcdSlot(service.connect) as slot, asyncio.TaskGroup() as group:
            await reader.start()
            task = spawn(group, reader.run(), "reader")
            yield Bench(service, slot, link, reader, owner)
            task.cancel()
    finally:
        await link.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with CardService(tmp_path) as service, running(service) as made:
        yield made


@pytest.mark.parametrize("by_tag", [False, True])
@pytest.mark.parametrize("is_t0", [False, True])
async def test_a_social_card_is_read(bench: Bench, by_tag: bool, is_t0: bool) -> None:
    card_in = social_card(by_tag=by_tag, is_t0=is_t0)
    await bench.slot.insert(card_in)
    card = await bench.reader.read_card(BOTH, wait_s=5.0)
    assert isinstance(card, SocialCard)
    assert card.holder is not None
    assert (card.holder.name, card.holder.id_number) == ("王䶮", "11010519491231002X")
    assert (card.holder.sex, card.holder.birth_date, card.holder.area) == ("2", "19491231", "110105")
    assert (card.card_number, card.version, card.issued_on) == ("A12345678", "3.00", "20240115")
    assert card.reset_information == card_in.atr[4:].hex().upper()
    assert not card.needs_pin
    assert card_in.verifies == 0
    for secret in ("王", "110105", "A1234", "1949"):
        assert secret not in repr(card)


async def test_a_protected_card_says_needs_pin_and_no_pin_is_tried(bench: Bench) -> None:
    card_in = social_card(is_protected=True)
    await bench.slot.insert(card_in)
    card = await bench.reader.read_card((CardKind.SOCIAL,), wait_s=5.0)
    assert isinstance(card, SocialCard)
    assert card.needs_pin
    assert card.holder is None
    assert card.card_number == "A12345678"
    assert card_in.verifies == 0


@pytest.mark.parametrize(("has_pse", "with_pdol"), [(True, True), (True, False), (False, True)])
async def test_a_bank_card_is_read_and_masked(bench: Bench, has_pse: bool, with_pdol: bool) -> None:
    await bench.slot.insert(debit_card(PAN, has_pse=has_pse, with_pdol=with_pdol))
    card = await bench.reader.read_card(BOTH, wait_s=5.0)
    assert isinstance(card, BankCard)
    assert (card.masked_pan, card.expires) == ("621700*********8906", "2912")
    assert (card.label, card.application) == ("UnionPay Debit", "A000000333010101")
    assert "8906" not in repr(card)


async def test_no_card_is_no_fault_and_another_kind_is_said(bench: Bench) -> None:
    assert await bench.reader.read_card(BOTH, wait_s=0.1) is None
    await bench.slot.insert(debit_card())
    with pytest.raises(DeviceFault, match="card_unreadable: other_kind"):
        await bench.reader.read_card((CardKind.SOCIAL,), wait_s=5.0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [social_card, debit_card])
async def test_a_card_pulled_out_at_any_command_is_removal_and_the_next_card_is_read(
    bench: Bench, make: Callable[[], SmartCard]
) -> None:
    whole = make()
    await bench.slot.insert(whole)
    assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None
    total = whole.longest
    assert total > 5
    await bench.slot.remove()
    await wait_for(lambda: bench.owner.values.get("media") == "notPresent")
    for after in range(total):
        yanked = make()
        yanked.script(CardFault.YANKED, after=after)
        await bench.slot.insert(yanked)
        with pytest.raises(DeviceFault, match="card_unreadable: removed"):
            await bench.reader.read_card(BOTH, wait_s=5.0)
        await wait_for(lambda: bench.owner.values.get("media") == "notPresent")
    await bench.slot.insert(make())
    assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("make", [social_card, debit_card])
async def test_a_card_put_back_before_the_service_looked_is_read(bench: Bench, make: Callable[[], SmartCard]) -> None:
    """The service looks every 0.4 s and powers no card that came in between; pulled out at each command, it is read."""
    whole = make()
    await bench.slot.insert(whole)
    assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None
    for after in range(whole.longest):
        yanked = make()
        yanked.script(CardFault.YANKED, after=after)
        await bench.slot.insert(yanked)
        with pytest.raises(DeviceFault, match="card_unreadable: removed"):
            await bench.reader.read_card(BOTH, wait_s=5.0)
        await bench.slot.insert(make())
        assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None, f"after command {after}"


async def test_a_card_put_back_at_once_is_read(bench: Bench) -> None:
    for after in (0, 2, 5):
        yanked = social_card()
        yanked.script(CardFault.YANKED, after=after)
        await bench.slot.insert(yanked)
        with pytest.raises(DeviceFault, match="card_unreadable: removed"):
            await bench.reader.read_card(BOTH, wait_s=5.0)
        back = social_card()
        await bench.slot.insert(back)
        card = await bench.reader.read_card(BOTH, wait_s=5.0)
        assert isinstance(card, SocialCard)
        assert card.reset_information == back.atr[4:].hex().upper()


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (CardFault.WRONG_STATUS, "damaged"),
        (CardFault.SHORT_ANSWER, "damaged"),
        (CardFault.GARBAGE, "damaged"),
        (CardFault.NO_ANSWER, "no_answer"),
        (CardFault.SLOW, "no_answer"),
        (CardFault.MUTE_ATR, "mute"),
    ],
)
async def test_each_fault_of_a_card_has_its_word(bench: Bench, fault: CardFault, detail: str) -> None:
    bad = social_card()
    bad.delay_s = 3.0
    bad.script(fault, after=3, times=20)
    await bench.slot.insert(bad)
    with pytest.raises(DeviceFault, match=f"card_unreadable: {detail}"):
        await bench.reader.read_card(BOTH, wait_s=5.0)
    await bench.slot.remove()
    await wait_for(lambda: bench.owner.values.get("media") == "notPresent")
    await bench.slot.insert(social_card())
    assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None


async def test_a_slow_card_within_the_deadline_is_read(bench: Bench) -> None:
    slow = social_card(Holder(name="李四"))
    slow.delay_s = 0.05
    slow.script(CardFault.SLOW, times=100)
    await bench.slot.insert(slow)
    assert isinstance(await bench.reader.read_card(BOTH, wait_s=5.0), SocialCard)


async def test_coming_and_going_is_told_once(bench: Bench) -> None:
    await wait_for(lambda: bench.owner.values.get("media") == "notPresent")
    await bench.slot.insert(social_card())
    await wait_for(lambda: bench.owner.values.get("media") == "present")
    await bench.slot.remove()
    await wait_for(lambda: bench.owner.values.get("media") == "notPresent")
    assert bench.owner.events == ["CardReader.MediaInsertedEvent", "CardReader.MediaRemovedEvent"]


async def test_the_end_of_the_service_is_a_fault_that_heals(bench: Bench) -> None:
    bench.service.child.kill9()
    await wait_for(lambda: bench.owner.faults == {Fault.READER_SERVICE_DOWN})
    assert bench.owner.values["media"] == "unknown"
    with pytest.raises(DeviceFault, match="reader_service_down"):
        await bench.reader.read_card(BOTH, wait_s=1.0)
    await bench.service.start()
    await wait_for(lambda: not bench.owner.faults, timeout_s=10.0)
    await bench.slot.insert(social_card())
    assert await bench.reader.read_card(BOTH, wait_s=5.0) is not None


async def test_a_reader_that_is_missing_is_unplugged(bench: Bench) -> None:
    bench.service.child.kill9()
    await bench.service.start(readers=("B",))
    await wait_for(lambda: bench.owner.faults == {Fault.UNPLUGGED}, timeout_s=10.0)
    with pytest.raises(DeviceFault, match="unplugged"):
        await bench.reader.read_card(BOTH, wait_s=1.0)


async def test_a_profile_may_leave_out_bank_cards(tmp_path: Path) -> None:
    social_only = profile().model_copy(update={"capabilities": {"social": True, "bank": False}})
    async with CardService(tmp_path) as service, running(service, social_only) as bench:
        card_in = debit_card()
        await bench.slot.insert(card_in)
        with pytest.raises(DeviceFault, match="card_unreadable: other_kind"):
            await bench.reader.read_card(BOTH, wait_s=5.0)
        assert card_in.longest == 1


def test_an_unknown_option_is_refused() -> None:
    strange = profile().model_copy(update={"quirks": {"colour": "red"}})
    with pytest.raises(ValueError, match="colour"):
        PcscCardReader(PcscLink(), strange, FakeOwner(), SystemClock())
