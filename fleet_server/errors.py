"""Why the fleet server says no: one base class per way to react."""

from __future__ import annotations


class FleetError(Exception):
    """Something expected went wrong; the text is for the operator and repeats no secret."""


class Refusal(FleetError):
    """A rule said no; `code` is stable and in the API documentation."""

    def __init__(self, code: str, message: str, *, status: int = 409) -> None:
        """Refuse with a stable code; `status` is the HTTP status the API answers with."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class SetupError(FleetError):
    """The installation is incomplete or wrong; the text says what to run or change."""


class BrokerError(FleetError):
    """The broker did not do what it was asked: reload its files, or end a connection."""
