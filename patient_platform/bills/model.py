"""Bills as the kiosk shows them."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel


class BillLineView(BaseModel):
    """One thing on a bill."""

    name: str
    specification: str
    quantity: str
    unit: str
    amount_fen: int


class BillView(BaseModel):
    """An unpaid bill."""

    bill: str
    kind: str
    department: str
    doctor: str
    issued_at: AwareDatetime
    amount_fen: int
    lines: list[BillLineView]


class BillsView(BaseModel):
    """All unpaid bills; the hash names exactly what is shown here."""

    bills: list[BillView]
    bill_hash: str
    total_fen: int
