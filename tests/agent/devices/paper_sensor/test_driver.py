"""The driver against the simulated board, on a pseudo-terminal and over TCP, and against pymodbus' server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymodbus.framer import FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.devices.paper_sensor.driver import ModbusPaperSensor
from agent.devices.paper_sensor.options import Options
from agent.devices.paper_sensor.types import InputRole, LightMode
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.links.serial_port import SerialLink
from agent.links.tcp import TcpLink
from kit.clock import SystemClock
from simulators.devices.io_board import BoardFault, IoBoardCore
from simulators.devices.transports import PtyServer, TcpServer
from support.owner import RecordingOwner
from support.ports import free_port
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

WIRING: dict[str, Scalar] = {
    "input_0": "paper_low",
    "input_1": "paper_out",
    "input_2": "!door_open",
    "input_9": "tampered",
    "input_10": "person_near",
    "light_0": "receipt_printer",
    "light_3": "card_reader",
}


def board_profile(dialect: str, **more: Scalar) -> DeviceProfile:
    return DeviceProfile(
        vendor="Simulated",
        model="Board",
        capability=Capability.PAPER_SENSOR,
        link=LinkProfile(kind=LinkKind.SERIAL),
        dialect=dialect,
        capabilities=WIRING,
        quirks={"poll_s": 0.02, "answer_s": 0.2, "blink_s": 0.1, **more},
    )


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture(params=["rtu", "tcp"])
def core(request: pytest.FixtureRequest) -> IoBoardCore:
    board = IoBoardCore(framing=request.param)
    board.inputs[2] = True  # the door's contact is closed while the door is
    return board


@pytest.fixture
async def line(core: IoBoardCore, tmp_path: Path) -> AsyncIterator[PtyServer | TcpServer]:
    async with PtyServer(core, tmp_path / "board") if core.framing == "rtu" else TcpServer(core) as server:
        yield server


@pytest.fixture
async def board(
    core: IoBoardCore, line: PtyServer | TcpServer, owner: RecordingOwner
) -> AsyncIterator[ModbusPaperSensor]:
    link = SerialLink(str(line.path)) if isinstance(line, PtyServer) else TcpLink("127.0.0.1", line.port)
    await link.open()
    yield ModbusPaperSensor(link, board_profile(f"modbus_{core.framing}"), owner, SystemClock())
    await link.close()


async def test_start_knows_every_input_and_switches_lights_off(
    board: ModbusPaperSensor, core: IoBoardCore, owner: RecordingOwner
) -> None:
    core.lights[0] = core.inputs[1] = True
    await board.start()
    assert board.levels == {
        InputRole.PAPER_LOW: False,
        InputRole.PAPER_OUT: True,
        InputRole.DOOR_OPEN: False,
        InputRole.TAMPERED: False,
        InputRole.PERSON_NEAR: False,
    }
    assert owner.faults == {Fault.PAPER_OUT}
    assert owner.events == []
    assert not any(core.lights)


async def test_levels_and_edges_after_a_chatter(
    board: ModbusPaperSensor, core: IoBoardCore, owner: RecordingOwner
) -> None:
    await board.start()
    running = asyncio.get_running_loop().create_task(board.run())  # ended below
    try:
        core.inputs[2] = False
        core.bounce(2, reads=5)
        await wait_for(lambda: owner.faults == {Fault.DOOR_OPEN}, what="the open door")
        core.inputs[9] = core.inputs[10] = True
        await wait_for(lambda: board.levels[InputRole.PERSON_NEAR], what="a person")
        assert owner.faults == {Fault.DOOR_OPEN, Fault.TAMPERED}
        core.inputs[2] = True
        await wait_for(lambda: owner.faults == {Fault.TAMPERED}, what="the closed door")
    finally:
        running.cancel()
        await asyncio.wait([running])
    doors = [fields["is_on"] for _, fields in owner.events if fields["input"] == "door_open"]
    assert doors == [True, False]
    assert {name for name, _ in owner.events} == {"Auxiliaries.InputChanged"}


async def test_lights(board: ModbusPaperSensor, core: IoBoardCore) -> None:
    await board.start()
    await board.set_light("card_reader", LightMode.ON)
    assert core.lights[:4] == [False, False, False, True]
    with pytest.raises(KeyError):
        await board.set_light("moon", LightMode.ON)
    await board.set_light("receipt_printer", LightMode.BLINK)
    running = asyncio.get_running_loop().create_task(board.run())  # ended below
    try:
        await wait_for(lambda: core.lights[0], what="the light")
        await wait_for(lambda: not core.lights[0], what="the pause")
        await wait_for(lambda: core.lights[0], what="the light again")
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert core.lights[3]
    await board.stop()
    assert not any(core.lights)


@pytest.mark.parametrize("scripted", [BoardFault.SILENT, BoardFault.HALF_ANSWER, BoardFault.WRONG_UNIT])
async def test_one_lost_answer_is_asked_again(
    board: ModbusPaperSensor, core: IoBoardCore, owner: RecordingOwner, scripted: BoardFault
) -> None:
    core.script(scripted)
    await board.start()
    assert owner.faults == set()


@pytest.mark.parametrize(
    ("scripted", "fault"),
    [
        (BoardFault.SILENT, Fault.NOT_RESPONDING),
        (BoardFault.HALF_ANSWER, Fault.NOT_RESPONDING),
        (BoardFault.EXCEPTION, Fault.WRONG_DEVICE),
    ],
)
async def test_a_board_that_does_not_answer_is_unknown_and_closes_no_door(
    board: ModbusPaperSensor, core: IoBoardCore, owner: RecordingOwner, scripted: BoardFault, fault: Fault
) -> None:
    core.inputs[2] = False
    await board.start()
    assert owner.faults == {Fault.DOOR_OPEN}
    core.script(scripted, times=2)
    with pytest.raises(DeviceFault) as caught:
        await board.run()
    assert caught.value.fault is fault
    assert owner.faults == {Fault.DOOR_OPEN, fault}
    assert set(owner.last.values.values()) == {"unknown"}


@pytest.mark.parametrize("core", ["rtu"], indirect=True)
@pytest.mark.parametrize("scripted", [BoardFault.BAD_CHECKSUM, BoardFault.NOISE, BoardFault.OLD_ANSWER])
async def test_noise_on_a_serial_line(
    board: ModbusPaperSensor, core: IoBoardCore, owner: RecordingOwner, scripted: BoardFault
) -> None:
    core.script(scripted)
    await board.start()
    assert owner.faults == set()


async def test_a_pulled_plug(board: ModbusPaperSensor, line: PtyServer | TcpServer, owner: RecordingOwner) -> None:
    await board.start()
    line.unplug()
    with pytest.raises(LinkLost):
        await board.run()
    assert owner.faults == {Fault.UNPLUGGED}
    assert board.levels[InputRole.DOOR_OPEN] is None


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
async def test_pymodbus_server(framing: str, owner: RecordingOwner) -> None:
    def bits(*values: bool) -> list[SimData]:
        return [SimData(0, values=list(values), datatype=DataType.BITS)]

    inputs = [False] * 16
    inputs[0] = inputs[2] = True
    plain = [SimData(0, count=1, values=0, datatype=DataType.REGISTERS)]
    device = SimDevice(id=1, simdata=(bits(*[True] * 16), bits(*inputs), plain, plain))
    framer = FramerType.RTU if framing == "rtu" else FramerType.SOCKET
    port = free_port()
    server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", port))
    await server.listen()
    link = TcpLink("127.0.0.1", port)
    try:
        await link.open()
        board = ModbusPaperSensor(link, board_profile(f"modbus_{framing}"), owner, SystemClock())
        await board.start()
        assert owner.faults == {Fault.PAPER_LOW}
        await board.set_light("card_reader", LightMode.ON)
        lights = await server.async_getValues(1, 1, 0, 4)
        assert lights == [False, False, False, True]
    finally:
        await link.close()
        await server.shutdown()  # type: ignore[no-untyped-call] # theirs


@pytest.mark.parametrize(
    ("capabilities", "why"),
    [
        ({"input_0": "door"}, "role"),
        ({"input_x": "door_open"}, "channel"),
        ({"input_0": "door_open", "input_1": "!door_open"}, "one input twice"),
        ({"light_0": "card_reader", "light_1": "card_reader"}, "card_reader twice"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wiring_that_makes_no_sense_is_refused(capabilities: dict[str, Scalar], why: str) -> None:
    profile = board_profile("modbus_rtu").model_copy(update={"capabilities": capabilities})
    with pytest.raises(ValueError, match=why):
        Options.of(profile)


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_pymodbus_server_names_itself(framing: str, owner: RecordingOwner) -> None:
    names = {"VendorName": "Example", "ProductCode": "IO16", "MajorMinorRevision": "V2.11"}
    plain = [SimData(0, count=16, values=0, datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    port = free_port()
    server = ModbusTcpServer(
        SimDevice(id=1, simdata=(bits, bits, plain, plain)),
        framer=FramerType.RTU if framing == "rtu" else FramerType.SOCKET,
        identity=ModbusDeviceIdentification(info_name=names),  # type: ignore[no-untyped-call] # theirs
        address=("127.0.0.1", port),
    )
    await server.listen()
    link = TcpLink("127.0.0.1", port)
    try:
        await link.open()
        facts = await ModbusPaperSensor(
            link, board_profile(f"modbus_{framing}", model_answer="IO16"), owner, SystemClock()
        ).start()
        assert (facts.model, facts.firmware) == ("Example IO16", "V2.11")
        with pytest.raises(DeviceFault) as caught:
            await ModbusPaperSensor(
                link, board_profile(f"modbus_{framing}", model_answer="IO8"), owner, SystemClock()
            ).start()
        assert caught.value.fault is Fault.WRONG_DEVICE
    finally:
        await link.close()
        await server.shutdown()  # type: ignore[no-untyped-call] # theirs
