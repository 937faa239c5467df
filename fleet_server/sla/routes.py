"""HTTP of the service level."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from fleet_server.sla.contract import Contract
from fleet_server.sla.documents import Format
from fleet_server.sla.model import Month, Report
from fleet_server.sla.service import SlaService
from fleet_server.staff.model import StaffPrincipal
from fleet_server.staff.permissions import Permission
from kit.web import Call, FileBody, Routes

CONTRACT_BYTES = 65_536


class MonthQuery(BaseModel):
    """Which month."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    month: Month


class FileQuery(MonthQuery):
    """Which month, and as what."""

    format: Format = Format.PDF


class SealQuery(BaseModel):
    """Which days."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    since: date = Field(alias="from")
    until: date = Field(alias="to")


class ContractText(BaseModel):
    """A contract file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    toml: str = Field(min_length=1, max_length=CONTRACT_BYTES)


class ContractView(BaseModel):
    """The contract in force."""

    contract: Contract
    set_at: datetime
    set_by: str


class SealView(BaseModel):
    """The end of a day: note `head` elsewhere, and nobody can present another past."""

    day: str
    rows: int
    head: str
    key: str
    signature: str
    sealed_us: int


class SealsView(BaseModel):
    """The seals of some days, the oldest first."""

    seals: list[SealView]


def routes(service: SlaService) -> Routes:
    """Contract, monthly report, export and seals."""
    api = Routes("sla")
    read, manage = Permission.SLA_READ, Permission.SLA_MANAGE

    @api.get("/api/v1/sla/report", permission=read, summary="A month as far as it is known")
    async def report(call: Call, query: MonthQuery) -> Report:
        return await service.report(query.month)

    @api.get("/api/v1/sla/report/file", permission=read, summary="A month as JSON, CSV, XLSX or PDF")
    async def report_file(call: Call, query: FileQuery) -> FileBody:
        made = await service.file(query.month, query.format)
        return FileBody(made.content, made.content_type, made.name)

    @api.get("/api/v1/sla/export", permission=read, summary="Sealed evidence of a month, for tools/verify_sla")
    async def export(call: Call, query: MonthQuery) -> FileBody:
        made = await service.export(query.month)
        return FileBody(made.content, made.content_type, made.name)

    @api.get("/api/v1/sla/seals", permission=read, summary="The seals of days")
    async def seals(call: Call, query: SealQuery) -> SealsView:
        found = await service.seals(query.since.isoformat(), query.until.isoformat())
        return SealsView(
            seals=[
                SealView(
                    day=seal.day,
                    rows=seal.rows,
                    head=seal.head,
                    key=seal.key,
                    signature=seal.signature,
                    sealed_us=seal.sealed_us,
                )
                for seal in found
            ]
        )

    @api.get("/api/v1/sla/contract", permission=read, summary="The contract in force")
    async def contract(call: Call) -> ContractView:
        found, at, by = await service.contract()
        return ContractView(contract=found, set_at=at, set_by=by)

    @api.put("/api/v1/sla/contract", permission=manage, summary="Have another contract from now on")
    async def set_contract(call: Call[StaffPrincipal], body: ContractText) -> ContractView:
        await service.set_contract(body.toml, call.principal.id)
        found, at, by = await service.contract()
        return ContractView(contract=found, set_at=at, set_by=by)

    return api
