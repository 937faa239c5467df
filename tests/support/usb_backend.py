"""pyusb's back-end over simulated devices, in the place of libusb. The kernel's usbfs and libusb are not in it."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace

import usb.backend  # type: ignore[import-untyped]  # pyusb has no types
import usb.core  # type: ignore[import-untyped]  # the same

from simulators.devices.usb_gadget import PACKET_BYTES, GadgetBusy, GadgetGone, GadgetStalled, UsbGadget

_VALUE = 1


class _Handle:
    def __init__(self, gadget: UsbGadget) -> None:
        self.gadget, self.session = gadget, gadget.session
        self.is_open = True


class GadgetBackend(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """What is plugged in are the gadgets given."""

    def __init__(self, gadgets: Sequence[UsbGadget]) -> None:
        self._gadgets = gadgets
        self.open_handles = 0

    def enumerate_devices(self) -> Iterator[UsbGadget]:
        return (gadget for gadget in self._gadgets if gadget.is_plugged)

    def get_device_descriptor(self, dev: UsbGadget) -> SimpleNamespace:
        vendor, _, product = dev.facts.usb_id.partition(":")
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x200, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=int(vendor, 16), idProduct=int(product, 16), bcdDevice=0x100, iManufacturer=0,
            iProduct=0, iSerialNumber=0, bNumConfigurations=1, address=7, bus=dev.facts.bus,
            port_number=dev.facts.ports[-1], port_numbers=dev.facts.ports, speed=2,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: UsbGadget, config: int) -> SimpleNamespace:
        if config:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=32, bNumInterfaces=1, bConfigurationValue=_VALUE,
            iConfiguration=0, bmAttributes=0x80, bMaxPower=50, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: UsbGadget, intf: int, alt: int, config: int) -> SimpleNamespace:
        if intf or alt:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=0, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=dev.facts.interface_class, bInterfaceSubClass=0, bInterfaceProtocol=0, iInterface=0,
            extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: UsbGadget, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        address = (dev.facts.pipe_in, dev.facts.pipe_out)[ep]
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=address, bmAttributes=2, wMaxPacketSize=PACKET_BYTES,
            bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    def open_device(self, dev: UsbGadget) -> _Handle:
        with _translated():
            handle = _Handle(dev)
        self.open_handles += 1
        return handle

    def close_device(self, dev_handle: _Handle) -> None:
        self.open_handles -= 1

    def get_configuration(self, dev_handle: _Handle) -> int:
        return _VALUE if dev_handle.gadget.facts.is_configured or dev_handle.gadget.configurations else 0

    def set_configuration(self, dev_handle: _Handle, config_value: int) -> None:
        dev_handle.gadget.configurations += 1

    def claim_interface(self, dev_handle: _Handle, intf: int) -> None:
        with _translated():
            dev_handle.gadget.claim(dev_handle.session)

    def release_interface(self, dev_handle: _Handle, intf: int) -> None:
        dev_handle.gadget.release(dev_handle.session)

    def bulk_write(self, dev_handle: _Handle, ep: int, intf: int, data: Iterable[int], timeout: int) -> int:
        assert ep == dev_handle.gadget.facts.pipe_out
        with _translated():
            count = dev_handle.gadget.write(dev_handle.session, bytes(data), timeout / 1_000)
        if not count:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        return count

    def bulk_read(self, dev_handle: _Handle, ep: int, intf: int, buff: array[int], timeout: int) -> int:
        assert ep == dev_handle.gadget.facts.pipe_in
        with _translated():
            data = dev_handle.gadget.read(dev_handle.session, len(buff), timeout / 1_000)
        if not data:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        buff[: len(data)] = array("B", data)
        return len(data)

    def clear_halt(self, dev_handle: _Handle, ep: int) -> None:
        with _translated():
            dev_handle.gadget.clear_halt(dev_handle.session)

    def is_kernel_driver_active(self, dev_handle: _Handle, intf: int) -> bool:
        return dev_handle.gadget.has_kernel_driver

    def detach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        dev_handle.gadget.has_kernel_driver = False

    def attach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        dev_handle.gadget.has_kernel_driver = True


class _translated:  # noqa: N801 - reads like a function
    """The simulator's errors as libusb's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        match error:
            case GadgetGone():
                raise usb.core.USBError("No such device (it may have been disconnected)", -4, errno.ENODEV) from error
            case GadgetStalled():
                raise usb.core.USBError("Pipe error", -9, errno.EPIPE) from error
            case GadgetBusy():
                raise usb.core.USBError("Resource busy", -6, errno.EBUSY) from error
            case _:
                return
