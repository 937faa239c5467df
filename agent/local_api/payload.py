"""What all payloads of the device API share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """What a command answers or tells.

    Its schema is built at the first use: most kiosks never hear most commands, and each schema is memory.
    """

    model_config = ConfigDict(defer_build=True)


class Request(Payload):
    """The payload of a command; an unknown key is a mistake of the page and is told."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Nothing(Request):
    """A command without a payload."""
