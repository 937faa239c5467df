"""The security policy in force: read by every process, set by the security administrator."""

from __future__ import annotations

from typing import Final

from fleet_server.errors import Refusal
from fleet_server.staff.model import Policy, PolicyForm, PolicyView
from fleet_server.staff.ports import AuditEntry, Auditor
from fleet_server.staff.store import PolicyStore
from kit.clock import Clock

FRESH_S: Final = 5.0
"""So long another process may still follow the policy before."""


class Policies:
    """The policy, read from the store at most every few seconds."""

    def __init__(self, store: PolicyStore, auditor: Auditor, clock: Clock) -> None:
        """Use this store."""
        self._store = store
        self._auditor = auditor
        self._clock = clock
        self._policy = Policy()
        self._read_s: float | None = None

    async def now(self) -> Policy:
        """The policy in force. Raises: StoreBusy."""
        now_s = self._clock.monotonic()
        if self._read_s is None or now_s - self._read_s >= FRESH_S:
            self._policy = Policy.model_validate(self._values(await self.view()))
            self._read_s = now_s
        return self._policy

    async def view(self) -> PolicyView:
        """The policy with who set it and when."""
        kept = await self._store.policy()
        return kept if kept is not None else PolicyView(version=0, changed_at=None, changed_by=None)

    async def set(self, form: PolicyForm, actor: str, source: str) -> PolicyView:
        """Put another policy in force; what changed is in the audit trail.

        Raises:
            Refusal: somebody else changed it since it was looked at.
        """
        before, after, at = await self.view(), Policy.model_validate(self._values(form)), self._clock.utc()
        if not await self._store.put_policy(after, at=at, by=actor, expected_version=form.version):
            raise Refusal("policy_changed", "The policy was changed meanwhile: look at it again", status=409)
        self._read_s = None
        changed = {
            name: f"{getattr(before, name)} -> {getattr(after, name)}"
            for name in Policy.model_fields
            if getattr(before, name) != getattr(after, name)
        }
        await self._auditor.record(AuditEntry(actor, "policy_set", None, "ok", changed, source))
        return await self.view()

    @staticmethod
    def _values(document: Policy) -> dict[str, int]:
        return {name: getattr(document, name) for name in Policy.model_fields}
