"""Make the release bundle of one deployable: its own packages, its own dependencies, nothing else.

A bundle is `dist/hospital-kiosk-<part>-<version>.tar.gz` with a wheel of the part's packages, the wheels of the
part's extra as the lock file pins them, their hashes, SHA256SUMS and install.sh (docs/runbooks/install-bundle.md).
A kiosk gets `agent`, `wire`, `kit` and the firmware profiles; the server's code never reaches it. The same commit
gives the same wheel of ours, byte for byte. Bundles are not signed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from packaging.utils import parse_wheel_filename

from wire import __version__

NAME = "hospital-kiosk-platform"
ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = Path("dashboards/fleet/dist")
KIOSK_PAGE = Path("kiosk_ui/dist")
_EPOCH = (2026, 1, 1, 0, 0, 0)  # of every file in a wheel, so that the time of building leaves no trace


@dataclass(frozen=True, slots=True)
class Part:
    """What goes onto one kind of machine."""

    extra: str
    packages: Sequence[str]
    scripts: Sequence[str]
    pages: Path | None = None
    """The built web application it serves."""
    is_lean: bool = False
    """Whether its service runs on bytecode without docstrings (`kit.bytecode`)."""


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "agent": Part(
            "agent", ("agent", "wire", "kit", "firmware_profiles"), ("kiosk-agent",), pages=KIOSK_PAGE, is_lean=True
        ),
        "fleet": Part("fleet", ("fleet_server", "wire", "kit"), ("fleet-server", "kioskctl"), pages=DASHBOARD),
        "sim": Part("sim", ("simulators", "wire", "kit"), ("kiosk-sim",)),
    }
)

INSTALL = """#!/bin/sh
# Install this bundle into the directory given: a virtual environment with everything, from here alone.
set -eu
target=${1:?usage: install.sh DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)
(cd "$here" && sha256sum --check --quiet SHA256SUMS)
/usr/bin/python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --no-index --find-links "$here/wheelhouse" --require-hashes \\
  -r "$here/requirements.txt"
"$target/bin/python" -m pip install --quiet --no-index --no-deps "$here"/*.whl
"$target/bin/python" -m pip check
"""
LEAN = """"$target/bin/python" -X no_debug_ranges -m kit.bytecode "$target/bytecode"
"""
INSTALLED = """echo "installed into $target"
"""


class BundleError(Exception):
    """The bundle cannot be made; the text says what is missing."""


def _committed(folder: str) -> Iterator[Path]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--", folder]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return (Path(name) for name in sorted(listed.split("\0")) if name and (ROOT / name).is_file())


def _metadata(part: Part) -> dict[str, bytes]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"][part.extra]]
    lines = ["Metadata-Version: 2.1", f"Name: {NAME}", f"Version: {__version__}"]
    lines += [f"Requires-Python: {project['requires-python']}", *(f"Requires-Dist: {line}" for line in needed)]
    scripts = [f"{name} = {project['scripts'][name]}" for name in part.scripts]
    return {
        "METADATA": ("\n".join(lines) + "\n").encode(),
        "WHEEL": b"Wheel-Version: 1.0\nGenerator: tools/bundle.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": ("[console_scripts]\n" + "\n".join(scripts) + "\n").encode(),
    }


def _contents(part: Part) -> dict[str, bytes]:
    found = {str(path): (ROOT / path).read_bytes() for name in part.packages for path in _committed(name)}
    if part.pages is not None:
        pages = [path for path in sorted((ROOT / part.pages).rglob("*")) if path.is_file()]
        if not pages:
            raise BundleError(f"{part.pages} is empty: run `make web` first")
        found |= {str(path.relative_to(ROOT)): path.read_bytes() for path in pages}
    return found


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def wheel(part: Part, folder: Path) -> Path:
    """Write the wheel of one part's packages, as committed, into `folder`.

    Raises:
        BundleError: the web application is not built.
    """
    stem = f"{NAME.replace('-', '_')}-{__version__}"
    info = f"{stem}.dist-info"
    files = _contents(part) | {f"{info}/{name}": content for name, content in _metadata(part).items()}
    record = [_record_line(name, content) for name, content in sorted(files.items())]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    target = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target


def _gather_wheels(lock: Path, folder: Path) -> str:
    """Fetch the pinned wheels, build those that come as source only; the same pins with the hashes of these wheels."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--require-hashes", "--no-deps"]
    ended = subprocess.run([*command, "-r", str(lock), "-w", str(folder)], check=False)
    if ended.returncode != 0:
        raise BundleError("the wheels of the lock file cannot be downloaded or built")
    lines = []
    for path in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return "\n".join([*lines, ""])


def _sums(folder: Path) -> bytes:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}" for path in files]
    return ("\n".join(lines) + "\n").encode()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    return entry


def bundle(name: str, out: Path) -> Path:
    """Write the whole bundle of a part into `out` and return its path.

    Raises:
        BundleError: the web application is not built, or wheels cannot be had.
    """
    part = PARTS[name]
    label = f"hospital-kiosk-{name}-{__version__}"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / label
        (folder / "wheelhouse").mkdir(parents=True)
        wheel(part, folder)
        pins = _gather_wheels(ROOT / f"requirements-{part.extra}.txt", folder / "wheelhouse")
        (folder / "requirements.txt").write_text(pins, encoding="utf-8")
        (folder / "install.sh").write_text(INSTALL + (LEAN if part.is_lean else "") + INSTALLED, encoding="utf-8")
        (folder / "install.sh").chmod(0o755)
        (folder / "SHA256SUMS").write_bytes(_sums(folder))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            archive.add(folder, arcname=label, filter=_anonymous)
        target = out / f"{label}.tar.gz"
        target.write_bytes(packed.getvalue())
    return target


def main() -> None:
    """Make one bundle.

    Raises:
        SystemExit: 1 when it cannot be made.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    try:
        target = bundle(options.part, options.out)
    except BundleError as error:
        raise SystemExit(str(error)) from error
    print(f"{target}: {target.stat().st_size / 1_048_576:.1f} MiB")


if __name__ == "__main__":
    main()
