"""What `kiosk-agent firmware list` says: the updates of this kiosk's devices, and whether their images are here."""

from __future__ import annotations

from agent.devices.profiles import find_kiosk, load_kiosk
from agent.firmware.errors import FirmwareRefused, Why
from agent.firmware.image import load_image
from agent.settings import Settings

_SAID = {Why.IMAGE_MISSING: "缺少 (missing)", Why.IMAGE_WRONG: "不符, 不会使用 (wrong, is not used)"}


def firmware_lines(settings: Settings) -> tuple[bool, list[str]]:
    """Whether every image is here and right, and what to print.

    Raises:
        ProfileError: a profile cannot be used.
    """
    chosen = settings.devices
    if chosen.kiosk_profile is None:
        return True, ["本机没有配置设备 (no devices)"]
    folder = chosen.firmware_dir or settings.data_dir / "firmware"
    places = load_kiosk(find_kiosk(chosen.kiosk_profile, settings.profile_dir), chosen.ports)
    lines, is_whole = [f"固件目录 (folder)  {folder}"], True
    for place in places:
        for update in place.profile.firmware.updates:
            try:
                image = f"正确 (ok), {len(load_image(folder, update))} B"
            except FirmwareRefused as refused:
                image, is_whole = _SAID[refused.why], False
            versions = ", ".join(update.replaces)
            lines.append(f"{place.place.component}  {versions} → {update.version}  {update.image}  {image}")
    if len(lines) == 1:
        lines.append("设备档案中没有固件更新 (no profile names an update)")
    return is_whole, lines
