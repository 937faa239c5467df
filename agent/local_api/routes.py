"""HTTP resources of the local API."""

from __future__ import annotations

from typing import Protocol

from agent.local_api.auth import READ
from agent.local_api.metrics import MetricsPage
from kit.web import Call, FileBody, Routes
from wire.device_api import AgentState, EnrolmentView, HealthView


class StateSource(Protocol):
    """What the API shows; the composition root gathers it."""

    def state(self) -> AgentState:
        """Everything at once."""

    def health(self) -> HealthView:
        """Whether this process serves."""

    def enrolment(self) -> EnrolmentView:
        """What the engineer needs to give this kiosk its identity."""


def routes(source: StateSource, metrics: MetricsPage) -> Routes:
    """The resources; `health` and `metrics` are open to programs on this machine, the rest needs the token."""
    api = Routes("kiosk")

    @api.get("/api/v1/state", permission=READ, summary="本机状态 · Everything the agent knows of itself")
    async def state(call: Call) -> AgentState:
        call.headers["Cache-Control"] = "no-store"
        return source.state()

    @api.get("/api/v1/enrolment", permission=READ, summary="登记配对码 · Pairing code while not enrolled")
    async def enrolment(call: Call) -> EnrolmentView:
        call.headers["Cache-Control"] = "no-store"
        return source.enrolment()

    @api.get("/api/v1/health", permission=None, summary="存活检查 · Whether the agent serves")
    async def health(call: Call) -> HealthView:
        return source.health()

    @api.get("/metrics", permission=None, summary="Prometheus metrics")
    async def prometheus(call: Call) -> FileBody:
        return FileBody(*metrics.render())

    return api
