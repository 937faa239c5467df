"""The short way for batches that hold nothing but telemetry, which is nearly all there is.

The schema is made from the wire models themselves, so that it cannot drift from them; it yields plain dictionaries
and leaves out what telemetry does not keep (unknown fields), which takes pydantic two thirds of the time. What it
does not accept is read the long way, by the models, and judged there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from wire.telemetry import METRIC_PATTERN, METRICS
from wire.uplink import BATCH_RECORDS_LIMIT, Batch, TelemetryRecord

_ANY_KIND: Final = b'"kind":'
_TELEMETRY: Final = b'"kind":"telemetry"'
_NAME: Final = re.compile(METRIC_PATTERN.removeprefix("^").removesuffix("$"))
_NAMES_KEPT: Final = 10_000

Plain = dict[str, Any]  # Any: one field each
"""A telemetry record, or a batch of them, as a dictionary; optional fields may be missing."""


class TelemetryLane:
    """Reads batches of telemetry and remembers metric names that were looked at."""

    def __init__(self) -> None:
        """Make the schema from the wire models."""
        values = Annotated[dict[str, float], *TelemetryRecord.model_fields["values"].metadata]
        record = _dictionary(TelemetryRecord, {"kind": Literal["telemetry"], "values": values})
        records = Annotated[list[record], Field(max_length=BATCH_RECORDS_LIMIT)]  # type: ignore[valid-type]  # made above
        self._adapter: TypeAdapter[Plain] = TypeAdapter(_dictionary(Batch, {"records": records}))
        self._good_names = set(METRICS)

    def read(self, payload: bytes) -> Plain | None:
        """A batch of telemetry only; None for every other payload, good or bad."""
        telemetry = payload.count(_TELEMETRY)
        if telemetry == 0 or telemetry != payload.count(_ANY_KIND):
            return None
        try:
            batch = self._adapter.validate_json(payload)
        except ValidationError:
            return None
        return batch if all(self._has_good_names(record["values"]) for record in batch["records"]) else None

    def _has_good_names(self, values: Plain) -> bool:
        """Asking a set costs a tenth of what matching the pattern does."""
        if self._good_names.issuperset(values):
            return True
        if any(_NAME.fullmatch(name) is None for name in values):
            return False
        if len(self._good_names) < _NAMES_KEPT:
            self._good_names.update(values)
        return True


def _dictionary(model: type[BaseModel], replaced: Plain) -> Any:  # noqa: ANN401 - a TypedDict made here has no name
    """The model's fields as a TypedDict with the same rules."""
    fields: Plain = {}
    for name, field in model.model_fields.items():
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[name] = kind if field.is_required() else NotRequired[kind]
    made = TypedDict(model.__name__, fields | replaced)  # type: ignore[misc]  # made from another type
    setattr(made, "__pydantic_config__", ConfigDict(extra="ignore", allow_inf_nan=False))  # noqa: B010 - no field of it
    return made
