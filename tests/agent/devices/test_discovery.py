"""What is plugged in, against what should be: a sysfs of real folders and links, and no device is asked anything."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.devices.discovery import Component, Discovery, Fit
from agent.devices.ports_file import PortsFileError, write_ports
from agent.devices.scan import Machine, look, scan
from agent.devices.scan_report import ports_to_set, report_document, report_lines
from agent.links.census import card_reader_names, take_census
from agent.settings import Settings
from support.sysfs import Sysfs

READER, SCANNER, PRINTER, ADAPTER = "2b8b:2721", "0c2e:0caa", "0416:5011", "1a86:7523"


@dataclass
class Bench:
    """A machine and the profiles of its kiosk."""

    folder: Path
    sysfs: Sysfs
    dev: Path
    readers: list[str] | None = None
    answering: set[tuple[str, int]] = field(default_factory=set)
    reached: list[tuple[str, int]] = field(default_factory=list)

    def profile(self, name: str, capability: str, link: str, dialect: str, usb: str = "") -> str:
        text = f"vendor: V\nmodel: {name}\ncapability: {capability}\nlink: {link}\ndialect: {dialect}\n"
        text += f'match: {{usb: "{usb}"}}\n' if usb else ""
        (self.folder / "devices" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return name

    def look(self, components: dict[str, str], ports: dict[str, str] | None = None) -> Discovery:
        return look(self.settings(components, ports), self.machine())

    def settings(self, components: dict[str, str], ports: dict[str, str] | None = None) -> Settings:
        rows = ", ".join(f"{{component: {name}, device: {device}}}" for name, device in components.items())
        text = f"model: k\ntitle_zh: 一\ntitle_en: One\ndevices: [{rows}]\n"
        (self.folder / "kiosks" / "k.yaml").write_text(text, encoding="utf-8")
        chosen = {"kiosk_profile": "k", "ports": ports or {}} if components else {}
        return Settings.model_validate({"profile_dir": self.folder, "devices": chosen})

    def machine(self) -> Machine:
        def reach(host: str, port: int) -> bool:
            self.reached.append((host, port))
            return (host, port) in self.answering

        return Machine(self.sysfs.root, self.dev, lambda: self.readers, reach)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    for folder in ("profiles/devices", "profiles/kiosks", "dev"):
        (tmp_path / folder).mkdir(parents=True)
    made = Bench(tmp_path / "profiles", Sysfs(tmp_path / "sys"), tmp_path / "dev")
    made.profile("hid-reader", "id_card_reader", "{kind: hid}", "sdt_hid", READER)
    made.profile("com-scanner", "qr_scanner", "{kind: serial}", "honeywell", SCANNER)
    made.profile("usb-printer", "receipt_printer", "{kind: usb, options: {interface_class: 7}}", "escpos", PRINTER)
    made.profile("plain-sdt", "id_card_reader", "{kind: serial}", "sdt")
    made.profile("ccid", "card_reader", "{kind: pcsc, options: {reader: ACR}}", "pcsc")
    made.profile("a4", "report_printer", "{kind: ipp, options: {port: 631}}", "ipp")
    return made


def only(found: Discovery) -> Component:
    (component,) = found.components
    return component


def test_by_its_ids_and_nothing_has_to_be_set(bench: Bench) -> None:
    bench.sysfs.plug("1-4", READER, classes="03", product="Reader")
    bench.sysfs.node("1-4", "hidraw", "hidraw0")
    component = only(bench.look({"id_reader": "hid-reader"}))
    assert (component.fit, component.port, component.candidates[0].where) == (Fit.IN_PLACE, None, "1-4")


@pytest.mark.parametrize(
    ("ports", "fit", "port"),
    [
        (None, Fit.SEVERAL, None),
        ({"id_reader": "1-4"}, Fit.IN_PLACE, "1-4"),
        ({"id_reader": "1-5.2"}, Fit.IN_PLACE, "1-5.2"),
        ({"id_reader": "1-6"}, Fit.WRONG, "1-6"),
        ({"id_reader": "/dev/hidraw3"}, Fit.IN_PLACE, "/dev/hidraw3"),
        ({"id_reader": "2-1"}, Fit.SEVERAL, "2-1"),
    ],
)
def test_two_of_a_kind_need_a_socket(bench: Bench, ports: dict[str, str] | None, fit: Fit, port: str | None) -> None:
    for place, node in (("1-4", "hidraw0"), ("1-5.2", "hidraw3")):
        bench.sysfs.plug(place, READER, classes="03")
        bench.sysfs.node(place, "hidraw", node)
    bench.sysfs.plug("1-6", PRINTER, classes="07")
    component = only(bench.look({"id_reader": "hid-reader"}, ports))
    assert (component.fit, component.port) == (fit, port)
    if fit is Fit.SEVERAL:
        assert [one.port for one in component.candidates] == ["1-4", "1-5.2"]


def test_a_serial_device_gets_its_name_by_id(bench: Bench) -> None:
    bench.sysfs.plug("1-2", SCANNER, serial="S1", product="1950g")
    bench.sysfs.serial(bench.dev, "1-2", "ttyACM0", by_id="usb-Honeywell_1950g_S1-if00")
    found = bench.look({"scanner": "com-scanner"})
    assert ports_to_set(found) == {"scanner": str(bench.dev / "serial/by-id/usb-Honeywell_1950g_S1-if00")}
    assert found.is_whole


def test_two_equal_adapters_get_their_names_by_path(bench: Bench) -> None:
    """Without a serial number they have one name by-id between them: it leads to whichever came last."""
    bench.profile("adapter", "qr_scanner", "{kind: serial}", "plain", ADAPTER)
    for place, name in (("1-1.1", "ttyUSB0"), ("1-1.2", "ttyUSB1")):
        bench.sysfs.plug(place, ADAPTER, product="USB Serial")
        bench.sysfs.serial(bench.dev, place, name, by_id="usb-1a86_USB_Serial-if00-port0")
    component = only(bench.look({"scanner": "adapter"}))
    assert component.fit is Fit.SEVERAL
    assert [Path(str(one.port)).parent.name for one in component.candidates] == ["by-path", "by-path"]
    (other,) = (one.port for one in component.candidates if "1.2" in str(one.port))
    chosen = only(bench.look({"scanner": "adapter"}, {"scanner": str(other)}))
    assert (chosen.fit, chosen.candidates[0].where) == (Fit.IN_PLACE, "1-1.2 ttyUSB1")


def test_another_device_at_the_port_that_is_set(bench: Bench) -> None:
    bench.sysfs.plug("1-2", ADAPTER)
    bench.sysfs.serial(bench.dev, "1-2", "ttyUSB0")
    port = str(bench.dev / "serial/by-path/*-usb-0:2:1.0-port0")
    assert only(bench.look({"scanner": "com-scanner"}, {"scanner": port})).fit is Fit.WRONG


def test_what_has_no_ids_is_never_found_but_possible(bench: Bench) -> None:
    bench.sysfs.uart(bench.dev, "ttyS0", 4)
    bench.sysfs.uart(bench.dev, "ttyS1", 0)
    bench.sysfs.plug("1-3", ADAPTER, product="USB Serial")
    bench.sysfs.serial(bench.dev, "1-3", "ttyUSB0", by_id="usb-1a86-if00")
    component = only(bench.look({"id_reader": "plain-sdt"}))
    assert component.fit is Fit.POSSIBLE
    names = [str(one.port).removeprefix(str(bench.dev)) for one in component.candidates]
    assert names == ["/dev/ttyS0", "/serial/by-id/usb-1a86-if00"]
    assert ports_to_set(bench.look({"id_reader": "plain-sdt"})) == {}


def test_a_device_with_ids_that_is_away_is_missing_whatever_ports_are_free(bench: Bench) -> None:
    bench.sysfs.uart(bench.dev, "ttyS0", 4)
    assert only(bench.look({"scanner": "com-scanner"})).fit is Fit.MISSING


def test_one_thing_is_not_two_components(bench: Bench) -> None:
    bench.sysfs.plug("1-2", SCANNER)
    bench.sysfs.serial(bench.dev, "1-2", "ttyACM0", by_id="usb-x")
    found = bench.look({"scanner": "com-scanner", "scanner_2": "com-scanner"})
    assert [one.fit for one in found.components] == [Fit.SEVERAL, Fit.SEVERAL]


@pytest.mark.parametrize(
    ("readers", "fit"),
    [(None, Fit.MISSING), ([], Fit.MISSING), (["ACR38U 00 00"], Fit.IN_PLACE), (["ACR 0", "ACR 1"], Fit.SEVERAL)],
)
def test_card_readers(bench: Bench, readers: list[str] | None, fit: Fit) -> None:
    bench.readers = readers
    assert only(bench.look({"card_reader": "ccid"})).fit is fit


@pytest.mark.parametrize(
    ("port", "reached"),
    [
        ("10.0.0.2", ("10.0.0.2", 631)),
        ("10.0.0.2:8631", ("10.0.0.2", 8631)),
        ("[fd00::2]:8631", ("fd00::2", 8631)),
        ("ipps://printer.local:443/ipp/print", ("printer.local", 443)),
    ],
)
def test_a_configured_address_is_tried_and_no_other(bench: Bench, port: str, reached: tuple[str, int]) -> None:
    assert only(bench.look({"report_printer": "a4"}, {"report_printer": port})).fit is Fit.MISSING
    bench.answering.add(reached)
    assert only(bench.look({"report_printer": "a4"}, {"report_printer": port})).fit is Fit.IN_PLACE
    assert set(bench.reached) == {reached}
    assert only(bench.look({"report_printer": "a4"})).fit is Fit.MISSING


def test_strangers_and_what_they_could_be(bench: Bench) -> None:
    bench.sysfs.plug("1-1", "1d6b:0002", classes="09")
    bench.sysfs.plug("1-2", "0951:1666", product="DataTraveler", classes="08")
    bench.sysfs.plug("1-3", PRINTER, product="POS80", classes="07")
    found = bench.look({})
    assert [(one.device.place, one.device.kinds, one.known_as) for one in found.strangers] == [
        ("1-2", ("storage",), ()),
        ("1-3", ("printer",), ("usb-printer",)),
    ]
    assert [one.device.place for one in bench.look({"receipt_printer": "usb-printer"}).strangers] == ["1-2"]


def test_a_renumbered_port_keeps_its_name(bench: Bench) -> None:
    bench.sysfs.plug("1-2", SCANNER)
    bench.sysfs.serial(bench.dev, "1-2", "ttyUSB0", by_id="usb-x")
    ports = ports_to_set(bench.look({"scanner": "com-scanner"}))
    bench.sysfs.unplug("1-2")
    assert only(bench.look({"scanner": "com-scanner"}, ports)).fit is Fit.MISSING
    bench.sysfs.plug("1-2", SCANNER)
    bench.sysfs.serial(bench.dev, "1-2", "ttyUSB1", by_id="usb-x")
    component = only(bench.look({"scanner": "com-scanner"}, ports))
    assert (component.fit, component.candidates[0].where) == (Fit.IN_PLACE, "1-2 ttyUSB1")


# --- what people and programs see ------------------------------------------------------------------------------


@pytest.fixture
def busy(bench: Bench) -> Bench:
    bench.sysfs.plug("1-2", SCANNER, product="1950g")
    bench.sysfs.serial(bench.dev, "1-2", "ttyACM0", by_id="usb-Honeywell-if00")
    bench.sysfs.plug("1-9", "0951:1666", product="优盘", classes="08")
    bench.sysfs.uart(bench.dev, "ttyS0", 4)
    bench.readers = ["ACR38U 00 00"]
    return bench


ALL = {"id_reader": "plain-sdt", "scanner": "com-scanner", "card_reader": "ccid", "receipt_printer": "usb-printer"}


def test_the_table(busy: Bench) -> None:
    lines = list(report_lines(busy.look(ALL)))
    text = "\n".join(lines)
    for word in ("无法辨认, 请选", "已找到", "就位", "未找到", "优盘 [storage]", "未知 (unknown)", "ttyS0"):
        assert word in text
    assert not any("None" in line for line in lines)


def test_the_document(busy: Bench) -> None:
    document = json.loads(json.dumps(report_document(busy.look(ALL))))
    assert [one["fit"] for one in document["components"]] == ["possible", "found", "in_place", "missing"]
    assert document["strangers"][0]["device"]["usb_id"] == "0951:1666"
    assert document["is_whole"] is False


def test_nothing_is_opened(busy: Bench) -> None:
    """The nodes are folders here: whoever opens one for writing fails."""
    for name in ("ttyACM0", "ttyS0"):
        (busy.dev / name).unlink()
        (busy.dev / name).mkdir()
    assert only(busy.look({"scanner": "com-scanner"})).fit is Fit.FOUND


def test_scan_writes_what_is_sure(busy: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    before = (
        '# ours\nserial = "S1"\n\n[devices]\nkiosk_profile = "k"\n\n[devices.ports]\nups = "10.0.0.9"\n\n[uplink]\n'
    )
    config.write_text(before, encoding="utf-8")
    config.chmod(0o600)
    is_whole = scan(busy.settings(ALL), config, as_json=False, is_writing=False, machine=busy.machine())
    assert not is_whole
    assert config.read_text(encoding="utf-8") == before
    assert "--write" in capsys.readouterr().out
    scan(busy.settings(ALL), config, as_json=True, is_writing=True, machine=busy.machine())
    port = str(busy.dev / "serial/by-id/usb-Honeywell-if00")
    assert json.loads(capsys.readouterr().out)["written"] == {"scanner": port}
    assert config.read_text(encoding="utf-8") == before.replace('"10.0.0.9"\n', f'"10.0.0.9"\nscanner = "{port}"\n')
    assert config.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[uplink]\n",
        '[devices]\nkiosk_profile = "k"',
        '[devices.ports] # here\nscanner="old"\n"id reader" = "x"\n[local_api]\nport = 0\n',
    ],
)
def test_ports_are_written_into_any_settings(tmp_path: Path, before: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(before, encoding="utf-8")
    write_ports(file, {"scanner": '/dev/a"b\\c', "id reader": "/dev/张"})
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    assert document["devices"]["ports"] == {"scanner": '/dev/a"b\\c', "id reader": "/dev/张"}
    assert {**document, "devices": None} == {**tomllib.loads(before), "devices": None}


@pytest.mark.parametrize(
    "before", ['[devices]\nports = {a = "b"}\n', 'devices.ports.a = "b"\n', "devices = 1\n", "[", "\udcff"]
)
def test_settings_of_another_shape_are_left_alone(tmp_path: Path, before: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(before.encode("utf-8", "surrogateescape"))
    with pytest.raises(PortsFileError):
        write_ports(file, {"scanner": "/dev/x"})
    assert file.read_bytes() == before.encode("utf-8", "surrogateescape")
    assert [path.name for path in tmp_path.iterdir()] == ["agent.toml"]


def test_a_name_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(PortsFileError, match="cannot be written"):
        write_ports(tmp_path / "agent.toml", {"scanner": "/dev/\n[x]"})
    assert list(tmp_path.iterdir()) == []


def test_this_machine_can_be_looked_at() -> None:
    census = take_census(card_readers=card_reader_names())
    assert all(device.usb_id.count(":") == 1 for device in census.usb)
    assert census.card_readers is None


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ("", 0, "没有选择自助机型号"),
        ('[devices]\nkiosk_profile = "wall_compact"\n', 1, "epson-tm-t88vi"),
        ('[devices]\nkiosk_profile = "none"\n', 2, "设备配置文件错误"),
    ],
)
def test_the_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv("KIOSK_DEVICES__PORTS", '{receipt_printer = "127.0.0.1:9"}' if code == 1 else "{}")
    file = tmp_path / "agent.toml"
    file.write_text(settings, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(file), "devices", "scan"])
    assert ended.value.code == code
    said = capsys.readouterr()
    assert words in said.out + said.err
