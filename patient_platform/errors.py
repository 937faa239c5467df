"""Why the patient platform says no: one base class per way to react."""

from __future__ import annotations


class PlatformError(Exception):
    """Something expected went wrong; the text is for the operator and repeats no identity."""


class Refusal(PlatformError):
    """A rule said no; `code` is stable, the kiosk page chooses its words by it."""

    def __init__(self, code: str, message: str, *, status: int = 409) -> None:
        """Refuse with a stable code; `status` is the HTTP status the API answers with."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class SetupError(PlatformError):
    """The installation is incomplete or wrong; the text says what to run or change."""


class Unreachable(PlatformError):
    """An outside system gave no answer that can be used; whether it did its part is not known."""
