"""The documents of the local API: OpenAPI of its resources, AsyncAPI of its WebSocket. Nothing of a kiosk is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from agent.local_api import asyncapi, consumables, device_news, feed, help_call, lease, maintenance
from agent.local_api.dialogue import Verb
from agent.local_api.metrics import MetricsPage
from agent.local_api.payload import Payload
from agent.local_api.server import local_api
from agent.local_api.verbs import camera_verbs, device_verbs
from agent.local_api.verbs.printers import EVENT as JOB_EVENT
from agent.local_api.verbs.printers import JobDone
from wire.device_api import ConsumablesChanged, FunctionsChanged, HelpState, OrdersChanged
from wire.envelope import ComponentName, Scalar, ShortText


class StatusChanged(Payload):
    """How a component is: everything on joining, afterwards what changed; null takes a value back.

    The words beside these are those of CWA 17852 for its kind, such as `media` or `paper`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar | list[str]]

    component: ComponentName
    kind: ShortText | None = None
    device: ShortText | None = None
    faults: list[ShortText] | None = None


class DeviceHappened(Payload):
    """An event of a device that belongs to no command."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar]

    component: ComponentName
    name: ShortText


UNSOLICITED: Final[Mapping[str, type[BaseModel]]] = {
    feed.STATUS: StatusChanged,
    device_news.EVENT: DeviceHappened,
    JOB_EVENT: JobDone,
    device_news.FUNCTIONS: FunctionsChanged,
    device_news.CONSUMABLES: ConsumablesChanged,
    device_news.ORDERS: OrdersChanged,
    help_call.EVENT: HelpState,
}
_NOBODY: Final[Any] = None  # stands for what commands work on; a description does not touch it


def commands() -> dict[str, Verb]:
    """Every command there is, on no kiosk at all: to be described, not to be run."""
    found = {
        **lease.verbs(_NOBODY),
        **help_call.help_verbs(_NOBODY),
        **help_call.check_in_verbs(_NOBODY, _NOBODY),
        **device_verbs(_NOBODY, _NOBODY),
        **camera_verbs(_NOBODY, _NOBODY, bool),
        **consumables.verbs(_NOBODY, _NOBODY),
    }
    return {**found, **maintenance.verbs(_NOBODY, _NOBODY)}


def openapi() -> dict[str, Any]:  # Any: a JSON document
    """The OpenAPI 3.1 document of the HTTP resources."""
    return local_api(_NOBODY, MetricsPage(_NOBODY)).openapi()


def asyncapi_document() -> dict[str, Any]:  # Any: a JSON document
    """The AsyncAPI 3.0 document of the WebSocket."""
    return asyncapi.document(commands(), UNSOLICITED)
