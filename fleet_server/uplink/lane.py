"""The short way for batches that hold nothing but telemetry, which is nearly all there is.

The schema is made from the wire models themselves, so that it cannot drift from them; it yields plain dictionaries
and leaves out what telemetry does not keep (unknown fields), which takes pydantic two thirds of the time. What it
does not accept is read the long way, by the models, and judged there.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from wire.uplink import BATCH_RECORDS_LIMIT, Batch, TelemetryRecord

_ANY_KIND: Final = b'"kind":'
_TELEMETRY: Final = b'"kind":"telemetry"'

Plain = dict[str, Any]  # Any: one field each
"""A telemetry record, or a batch of them, as a dictionary; optional fields may be missing."""


def read_telemetry(payload: bytes) -> Plain | None:
    """A batch of telemetry only; None for every other payload, good or bad."""
    telemetry = payload.count(_TELEMETRY)
    if telemetry == 0 or telemetry != payload.count(_ANY_KIND):
        return None
    try:
        return _adapter().validate_json(payload)
    except ValidationError:
        return None


@cache
def _adapter() -> TypeAdapter[Plain]:
    record = _dictionary(TelemetryRecord, {"kind": Literal["telemetry"]})
    records = Annotated[list[record], Field(max_length=BATCH_RECORDS_LIMIT)]  # type: ignore[valid-type]  # made above
    return TypeAdapter(_dictionary(Batch, {"records": records}))


def _dictionary(model: type[BaseModel], replaced: Plain) -> Any:  # noqa: ANN401 - a TypedDict made here has no name
    """The model's fields as a TypedDict with the same rules."""
    fields: Plain = {}
    for name, field in model.model_fields.items():
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[name] = kind if field.is_required() else NotRequired[kind]
    made = TypedDict(model.__name__, fields | replaced)  # type: ignore[misc]  # made from another type
    setattr(made, "__pydantic_config__", ConfigDict(extra="ignore", allow_inf_nan=False))  # noqa: B010 - no field of it
    return made
