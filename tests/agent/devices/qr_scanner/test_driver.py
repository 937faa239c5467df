"""The driver and the simulated scanner on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from agent.devices.qr_scanner.driver import SerialQrScanner
from agent.devices.qr_scanner.types import PAYMENTS, CodeKind, Scan
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.links.serial_port import SerialLink
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.qr_scanner import QrScannerCore, ScannerFault, Speech
from simulators.devices.transports import LinkFault, LinkFaults, PtyServer
from support.owner import RecordingOwner
from support.tree import ROOT
from support.waiting import wait_for
from wire.profile import DeviceProfile

WECHAT = "134567890123456789"
PROFILES = {
    Speech.PLAIN: "generic-cdc_scanner",
    Speech.NEWLAND: "newland-fm530",
    Speech.HONEYWELL: "honeywell-1950g",
    Speech.FRAMED: "honeywell-n3680",
    Speech.SSI: "zebra-se4500",
}


def profile(speech: Speech, **quirks: str | float | bool) -> DeviceProfile:
    text = (ROOT / f"firmware_profiles/devices/{PROFILES[speech]}.yaml").read_text(encoding="utf-8")
    found = DeviceProfile.model_validate(yaml.safe_load(text))
    return found.model_copy(update={"quirks": {**found.quirks, "answer_s": 0.3, **quirks}})


@dataclass
class Bench:
    core: QrScannerCore
    port: PtyServer
    faults: LinkFaults
    link: SerialLink
    scanner: SerialQrScanner
    owner: RecordingOwner
    ended: asyncio.Future[Exception]

    async def scan(self, code: str | bytes, expect: Collection[CodeKind] = (), *, wait_s: float = 2.0) -> Scan | None:
        """Show a code as soon as the scanner is waited for and lit."""
        async with asyncio.TaskGroup() as group:
            reading = spawn(group, self.scanner.read_code(expect, wait_s=wait_s), "read")
            await wait_for(lambda: self.core.is_lit and self.owner.last.values.get("scanner") == "on")
            self.core.show(code)
        return reading.result()


@asynccontextmanager
async def running(core: QrScannerCore, path: Path, made: DeviceProfile) -> AsyncIterator[Bench]:
    owner, faults = RecordingOwner(), LinkFaults()
    ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    async with PtyServer(core, path / "scanner", faults) as port:
        link = SerialLink(str(port.path))
        scanner = SerialQrScanner(link, made, owner, SystemClock())
        await link.open()

        async def run() -> None:
            try:
                await scanner.run()
            except (DeviceFault, LinkLost) as error:
                ended.set_result(error)

        try:
            await scanner.start()
            async with asyncio.TaskGroup() as group:
                task = spawn(group, run(), "scanner")
                yield Bench(core, port, faults, link, scanner, owner, ended)
                task.cancel()
        finally:
            await link.close()


def core_of(speech: Speech) -> QrScannerCore:
    return QrScannerCore(speech, suffix=b"" if speech is Speech.PLAIN else b"\r")


@pytest.mark.parametrize("speech", list(Speech))
async def test_a_code_is_read_and_the_light_goes_out(speech: Speech, tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(core_of(speech), tmp_path, profile(speech)) as bench:
            for code in (WECHAT, "门诊号:王䶮"):
                scan = await bench.scan(code)
                assert scan is not None
                assert scan.code.take() == code
            assert bench.owner.last.values == {"scanner": "off"}
            assert bench.core.is_lit is (speech is Speech.PLAIN)
    assert WECHAT not in str(logs)
    assert "王" not in str(logs)


@pytest.mark.parametrize("fault", [LinkFault.SPLIT, LinkFault.DRIBBLE])
@pytest.mark.parametrize("speech", list(Speech))
async def test_a_code_in_pieces_is_one_code(speech: Speech, fault: LinkFault, tmp_path: Path) -> None:
    async with running(core_of(speech), tmp_path, profile(speech)) as bench:
        bench.faults.script(fault, value=5, times=10)
        scan = await bench.scan(WECHAT, PAYMENTS)
        assert scan is not None
        assert (scan.code.take(), scan.kinds) == (WECHAT, (CodeKind.WECHAT_PAY,))


@pytest.mark.parametrize("code", ["\x1b[2J挂号", "1345678\x00", "a\x1bp\x00\x19\xfab", "\x16M1", "a\x08b"])
@pytest.mark.parametrize("speech", list(Speech))
async def test_a_code_with_control_characters_is_nobodys_code(speech: Speech, code: str, tmp_path: Path) -> None:
    async with running(core_of(speech), tmp_path, profile(speech)) as bench:
        assert await bench.scan(code, wait_s=0.3) is None
        scan = await bench.scan(WECHAT, PAYMENTS)
        assert scan is not None
        assert scan.code.take() == WECHAT


async def test_a_long_ssi_code_comes_in_several_packets(tmp_path: Path) -> None:
    code = "健康" * 300
    async with running(core_of(Speech.SSI), tmp_path, profile(Speech.SSI)) as bench:
        await wait_for(lambda: bench.core.acknowledged == 1, what="the revision to be acknowledged")
        scan = await bench.scan(code)
        assert scan is not None
        assert (scan.code.take(), scan.symbology) == (code, "qr")
        await wait_for(lambda: bench.core.acknowledged == 9)


async def test_gbk_is_read_too(tmp_path: Path) -> None:
    async with running(core_of(Speech.HONEYWELL), tmp_path, profile(Speech.HONEYWELL)) as bench:
        scan = await bench.scan("门诊号:王䶮".encode("gb18030"))
        assert scan is not None
        assert scan.code.take() == "门诊号:王䶮"


async def test_what_nobody_waited_for_is_dropped(tmp_path: Path) -> None:
    async with running(core_of(Speech.PLAIN), tmp_path, profile(Speech.PLAIN)) as bench:
        bench.core.show(WECHAT)
        await wait_for(lambda: bench.scanner._dropped == 1)
        assert await bench.scanner.read_code((), wait_s=0.2) is None
        scan = await bench.scan("134567890123450000")
        assert scan is not None
        assert scan.code.take() == "134567890123450000"


async def test_a_code_sent_twice_is_one_code(tmp_path: Path) -> None:
    core = QrScannerCore(Speech.HONEYWELL, always_lit=True)
    async with running(core, tmp_path, profile(Speech.HONEYWELL, same_code_s=10.0)) as bench:
        core.script(ScannerFault.TWICE)
        first = await bench.scan(WECHAT)
        assert first is not None
        await wait_for(lambda: bench.scanner._dropped == 1)
        core.show(WECHAT)
        await wait_for(lambda: bench.scanner._dropped == 2)


async def test_no_code_is_none_and_dark(tmp_path: Path) -> None:
    async with running(core_of(Speech.NEWLAND), tmp_path, profile(Speech.NEWLAND)) as bench:
        assert await bench.scanner.read_code((), wait_s=0.1) is None
        assert bench.core.commands[-2:] == ["on", "off"]
        assert not bench.core.show(WECHAT)


async def test_setup_codes_are_switched_off_at_start(tmp_path: Path) -> None:
    async with running(core_of(Speech.NEWLAND), tmp_path, profile(Speech.NEWLAND)) as bench:
        assert bench.core.settings == ["#SETUPE0", "#SCNMOD0", "#GRBENA1"]


@pytest.mark.parametrize(
    "fault", [ScannerFault.NOISE, ScannerFault.OVERLONG, ScannerFault.NO_SUFFIX, ScannerFault.UNREADABLE]
)
async def test_a_broken_code_is_no_code_and_the_next_one_is_read(fault: ScannerFault, tmp_path: Path) -> None:
    core = QrScannerCore(Speech.HONEYWELL, always_lit=True)
    async with running(core, tmp_path, profile(Speech.HONEYWELL)) as bench:
        core.script(fault)
        spoilt = await bench.scan(WECHAT, wait_s=0.3)
        assert spoilt is None or spoilt.kinds == ()
        whole = await bench.scan(WECHAT)
        assert whole is not None
        assert whole.code.take() == WECHAT


async def test_a_broken_ssi_packet_is_asked_for_again(tmp_path: Path) -> None:
    async with running(core_of(Speech.SSI), tmp_path, profile(Speech.SSI)) as bench:
        bench.core.script(ScannerFault.BAD_CHECKSUM)
        scan = await bench.scan(WECHAT)
        assert scan is not None
        assert scan.code.take() == WECHAT


@pytest.mark.parametrize("speech", [Speech.NEWLAND, Speech.SSI])
async def test_one_lost_command_is_said_again_and_two_are_a_fault(speech: Speech, tmp_path: Path) -> None:
    async with running(core_of(speech), tmp_path, profile(speech)) as bench:
        bench.core.script(ScannerFault.SILENT)
        assert await bench.scan(WECHAT) is not None
        bench.core.script(ScannerFault.SILENT, times=2)
        with pytest.raises(DeviceFault, match="not_responding"):
            await bench.scanner.read_code((), wait_s=1.0)
        assert "not_responding" in str(await bench.ended)


@pytest.mark.parametrize("speech", [Speech.NEWLAND, Speech.SSI])
async def test_a_scanner_that_refuses_or_is_silent_at_start(speech: Speech, tmp_path: Path) -> None:
    silent = core_of(speech)
    silent.script(ScannerFault.SILENT, times=2)
    with pytest.raises(DeviceFault, match="not_responding"):
        async with running(silent, tmp_path, profile(speech)):
            pass
    refusing = core_of(speech)
    refusing.script(ScannerFault.REFUSES)
    with pytest.raises(DeviceFault, match="wrong_device"):
        async with running(refusing, tmp_path, profile(speech)):
            pass


async def test_a_scanner_that_sends_only_noise_is_a_fault(tmp_path: Path) -> None:
    async with running(core_of(Speech.SSI), tmp_path, profile(Speech.SSI)) as bench:

        async def noise() -> None:
            seen = bench.scanner._garbage
            bench.core._send(b"\x07\xf3\x00")
            await wait_for(lambda: bench.scanner._garbage > seen, what=f"noise after {seen}")

        await wait_for(lambda: bench.core.commands == ["off"])
        for _ in range(8):
            await noise()
        assert "protocol_error" in str(await bench.ended)


async def test_pulling_the_plug_while_somebody_waits(tmp_path: Path) -> None:
    async with running(core_of(Speech.NEWLAND), tmp_path, profile(Speech.NEWLAND)) as bench:
        async with asyncio.TaskGroup() as group:

            async def read() -> None:
                with pytest.raises(LinkLost):
                    await bench.scanner.read_code((), wait_s=5.0)

            reading = spawn(group, read(), "read")
            await wait_for(lambda: bench.core.is_lit)
            bench.port.unplug()
            await reading
        assert isinstance(await bench.ended, LinkLost)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        SerialQrScanner(SerialLink("/dev/null"), profile(Speech.PLAIN, colour="red"), RecordingOwner(), SystemClock())
