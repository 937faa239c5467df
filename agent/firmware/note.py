"""What is being done to a device's firmware, on disk before its first byte: after a power cut nobody has to guess."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.envelope import ComponentName, ShortText

FOLDER: Final = "firmware-notes"
_BYTES_MAX: Final = 4_096
Write = Callable[[Path, bytes], None]
"""Replaces a file whole and durably."""


class Note(BaseModel):
    """An update that was begun and whose end is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    component: ComponentName
    before: ShortText
    version: ShortText
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    by: ShortText
    begun_at: datetime
    attempts: int = Field(default=1, ge=1)


class Notes:
    """One file a component. File work: belongs in a thread."""

    def __init__(self, folder: Path, write: Write, sync: Callable[[Path], None]) -> None:
        self._folder = folder
        self._write = write
        self._sync = sync

    def put(self, note: Note) -> None:
        """On disk when it returns. Raises: OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self._file(note.component), note.model_dump_json().encode())

    def drop(self, component: str) -> None:
        """Off the disk when it returns. Raises: OSError."""
        file = self._file(component)
        if file.exists():
            file.unlink()
            self._sync(self._folder)

    def all(self) -> list[Note]:
        """What is open; a file that makes no sense is renamed to `NAME.bad` and counts as nothing."""
        found = []
        for file in sorted(self._folder.glob("*.json")):
            try:
                with file.open("rb") as stream:
                    note = Note.model_validate_json(stream.read(_BYTES_MAX))
            except (OSError, ValidationError):
                file.replace(file.with_suffix(".bad"))
                continue
            if file == self._file(note.component):
                found.append(note)
        return found

    def _file(self, component: str) -> Path:
        return self._folder / f"{component}.json"
