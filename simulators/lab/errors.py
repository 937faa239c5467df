"""What a lab refuses."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot be built or run as told."""


class ActionRefused(Exception):
    """An action makes no sense now; the text is for the tester, Chinese first."""


class UnknownAction(ActionRefused):
    """This device has no action of that name."""


class BadArguments(ActionRefused):
    """Arguments of an action are wrong; `errors` names each with what it takes."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{error['location']}: {error['message']}" for error in errors))
        self.errors = errors
