"""The PC/SC link against the real pcscd and vsmartcard's virtual reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.links.base import LinkTimeout
from agent.links.census import card_reader_names
from agent.links.pcsc import CardMute, CardPresence, CardRemoved, PcscLink, ReaderGone, ReaderView, ServiceDown
from simulators.devices.smart_card import SOCIAL_ATR, CardFault, debit_card, social_card
from simulators.devices.vpcd import VpcdSlot
from support.card_service import CardService
from wire.profile import LinkKind, LinkProfile

pytestmark = pytest.mark.timeout(30)

SELECT_PSE = bytes.fromhex("00A404000E") + b"1PAY.SYS.DDF01"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[CardService]:
    async with CardService(tmp_path) as running:
        yield running


@pytest.fixture
async def link(service: CardService) -> AsyncIterator[PcscLink]:
    link = PcscLink("Virtual PCD A 00 00")
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def until(link: PcscLink, wanted: Callable[[ReaderView], bool], *, timeout_s: float = 10.0) -> ReaderView:
    async with asyncio.timeout(timeout_s):
        view = link.view
        while not wanted(view):
            view = await link.changed(view, timeout_s=timeout_s)
    return view


def has(card: CardPresence) -> Callable[[ReaderView], bool]:
    return lambda view: view.card is card


async def test_a_card_comes_answers_and_goes(service: CardService, link: PcscLink) -> None:
    await until(link, has(CardPresence.ABSENT))
    async with VpcdSlot(service.connect) as slot:
        await slot.insert(social_card())
        first = await until(link, has(CardPresence.PRESENT))
        assert first.atr == SOCIAL_ATR
        async with link.card(timeout_s=3.0) as card:
            assert card.is_t0
            assert await card.transmit(SELECT_PSE, timeout_s=3.0) == b"\x6a\x82"
        await slot.remove()
        await until(link, has(CardPresence.ABSENT))
        await slot.insert(debit_card())
        second = await until(link, has(CardPresence.PRESENT))
        assert second.insertion != first.insertion
        assert second.atr != SOCIAL_ATR
        assert "3b6d" not in repr(first).lower()


async def test_pulling_the_card_out_between_two_apdus_is_removal(service: CardService, link: PcscLink) -> None:
    async with VpcdSlot(service.connect) as slot:
        card_in = debit_card()
        card_in.script(CardFault.YANKED, after=1)
        await slot.insert(card_in)
        await until(link, has(CardPresence.PRESENT))
        async with link.card(timeout_s=3.0) as card:
            await card.transmit(SELECT_PSE, timeout_s=3.0)
            with pytest.raises(CardRemoved):
                await card.transmit(SELECT_PSE, timeout_s=5.0)
        await until(link, has(CardPresence.ABSENT))
        with pytest.raises(CardRemoved):
            async with link.card(timeout_s=3.0):
                pass


async def test_a_card_that_never_answers_is_a_timeout_and_the_link_goes_on(
    service: CardService, link: PcscLink
) -> None:
    async with VpcdSlot(service.connect) as slot:
        card_in = debit_card()
        card_in.script(CardFault.NO_ANSWER)
        await slot.insert(card_in)
        await until(link, has(CardPresence.PRESENT))
        async with link.card(timeout_s=3.0) as card:
            with pytest.raises(LinkTimeout):
                await card.transmit(SELECT_PSE, timeout_s=0.3)
        await slot.remove()
        await until(link, has(CardPresence.ABSENT))
        await slot.insert(debit_card())
        await until(link, has(CardPresence.PRESENT))
        async with link.card(timeout_s=5.0) as card:
            assert (await card.transmit(SELECT_PSE, timeout_s=3.0))[0] == 0x61


async def test_the_link_survives_the_end_of_the_service(service: CardService, link: PcscLink) -> None:
    await until(link, has(CardPresence.ABSENT))
    async with VpcdSlot(service.connect) as slot:
        await slot.insert(social_card())
        before = await until(link, has(CardPresence.PRESENT))
        service.child.kill9()
        down = await until(link, lambda view: not view.service_up)
        assert down.card is CardPresence.UNKNOWN
        with pytest.raises(ServiceDown):
            async with link.card(timeout_s=3.0):
                pass
        await service.start()
        await until(link, has(CardPresence.ABSENT))
        await slot.insert(social_card())
        after = await until(link, has(CardPresence.PRESENT))
        assert after.insertion != before.insertion
        async with link.card(timeout_s=3.0) as card:
            assert await card.transmit(SELECT_PSE, timeout_s=3.0) == b"\x6a\x82"


async def test_a_reader_that_is_gone_is_told_from_a_service_that_is_down(service: CardService, link: PcscLink) -> None:
    await until(link, has(CardPresence.ABSENT))
    service.child.kill9()
    await service.start(readers=("B",))
    view = await until(link, lambda view: view.service_up and view.reader is None)
    assert view.card is CardPresence.UNKNOWN
    with pytest.raises(ReaderGone):
        async with link.card(timeout_s=3.0):
            pass


async def test_a_card_without_a_proper_atr_is_mute(service: CardService, link: PcscLink) -> None:
    async with VpcdSlot(service.connect) as slot:
        silent = social_card()
        silent.script(CardFault.MUTE_ATR)
        await until(link, has(CardPresence.ABSENT))
        await slot.insert(silent)
        view = await until(link, lambda view: view.card is not CardPresence.ABSENT)
        assert view.card is CardPresence.MUTE
        with pytest.raises(CardMute):
            async with link.card(timeout_s=3.0):
                pass


async def test_without_a_service_the_link_opens_and_says_so() -> None:
    link = PcscLink("no such reader")
    await link.open()
    try:
        view = await until(link, lambda view: view.looked)
        assert not view.service_up
        with pytest.raises(LinkTimeout):
            await link.changed(view, timeout_s=0.05)
    finally:
        await link.close()


def test_more_numbers_that_mean_removal_come_from_the_profile() -> None:
    options: dict[str, str | int | float | bool | None] = {"removed_codes": "0x8010FFFF", "reader": "ACS"}
    link = PcscLink.of(LinkProfile(kind=LinkKind.PCSC, options=options), None)
    assert link.name == "ACS"
    assert link._removed == {0x8010FFFF}


async def test_a_scan_lists_what_the_service_lists(service: CardService) -> None:
    names = await asyncio.to_thread(card_reader_names)
    assert names == ["Virtual PCD A 00 00", "Virtual PCD A 00 01"]  # vpcd has two slots
    service.child.close()
    assert await asyncio.to_thread(card_reader_names) is None
    await service.start(())
    assert await asyncio.to_thread(card_reader_names) == []
