"""The agent's expected failures; bugs are assertions and end the process."""

from __future__ import annotations

from wire.faults import Fault


class AgentError(Exception):
    """The root of the agent's expected failures."""


class DeviceFault(AgentError):
    """A device or part failed in a known way; the code carries severity, retry rule and remedy."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault.value}: {detail}" if detail else fault.value)
        self.fault = fault
        self.detail = detail


class ProfileError(AgentError):
    """A firmware profile cannot be used; the text names file and key."""


class InvalidRecord(AgentError):
    """A record breaks its wire schema or is too large; nothing of it was stored. Names fields, never values."""


class OutboxBusy(AgentError):
    """Another process holds the outbox: two agents share one data directory."""


class IdentityError(AgentError):
    """The kiosk's key and certificates cannot be used; the text says which rule they break."""


class EnrolmentFailed(AgentError):
    """The fleet server did not give an identity; the text says why, `is_final` that asking again will not help."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
