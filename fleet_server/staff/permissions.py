"""The one permission table: roles and what each may do. An operation with a permission that is not here is a bug.

System, security and audit administration are separate (GB/T 22239-2019, 8.1.4): who manages accounts does not
run the fleet, and who reads the audit trail changes nothing. Everybody may have API tokens: a token can do no
more than its owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """What an operation may ask for."""

    KIOSKS_READ = "kiosks.read"
    KIOSKS_ENROL = "kiosks.enrol"
    KIOSKS_REVOKE = "kiosks.revoke"
    ASSETS_IMPORT = "assets.import"
    TELEMETRY_READ = "telemetry.read"
    PRESENCE_READ = "presence.read"
    ALARMS_READ = "alarms.read"
    ALARMS_REPORT = "alarms.report"
    """For the token of Alertmanager: what monitoring finds becomes alarms of the server."""
    INCIDENTS_READ = "incidents.read"
    INCIDENTS_ACT = "incidents.act"
    ORDERS_READ = "orders.read"
    ORDERS_WORK = "orders.work"
    ORDERS_APPROVE = "orders.approve"
    WINDOWS_PLAN = "windows.plan"
    SLA_READ = "sla.read"
    SLA_MANAGE = "sla.manage"
    LIVE_READ = "live.read"
    USERS_MANAGE = "users.manage"
    SESSIONS_MANAGE = "sessions.manage"
    TOKENS_OWN = "tokens.own"
    SECURITY_MANAGE = "security.manage"
    AUDIT_READ = "audit.read"


class Role(StrEnum):
    """What a person is to the fleet."""

    ENGINEER = "engineer"
    LEAD = "lead"
    SYSTEM_ADMIN = "system_admin"
    SECURITY_ADMIN = "security_admin"
    AUDITOR = "auditor"
    VIEWER = "viewer"


_LOOK = frozenset(
    {
        Permission.KIOSKS_READ,
        Permission.TELEMETRY_READ,
        Permission.PRESENCE_READ,
        Permission.ALARMS_READ,
        Permission.INCIDENTS_READ,
        Permission.ORDERS_READ,
        Permission.SLA_READ,
        Permission.LIVE_READ,
        Permission.TOKENS_OWN,
    }
)
_WORK = _LOOK | {Permission.KIOSKS_ENROL, Permission.ORDERS_WORK, Permission.INCIDENTS_ACT}
_LEAD = _WORK | {
    Permission.ORDERS_APPROVE,
    Permission.KIOSKS_REVOKE,
    Permission.ASSETS_IMPORT,
    Permission.WINDOWS_PLAN,
    Permission.SLA_MANAGE,
}

GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: _LOOK,
        Role.ENGINEER: _WORK,
        Role.LEAD: _LEAD,
        Role.SYSTEM_ADMIN: _LEAD | {Permission.ALARMS_REPORT},
        Role.SECURITY_ADMIN: frozenset(
            {
                Permission.USERS_MANAGE,
                Permission.SESSIONS_MANAGE,
                Permission.SECURITY_MANAGE,
                Permission.TOKENS_OWN,
                Permission.KIOSKS_REVOKE,
            }
        ),
        Role.AUDITOR: frozenset({Permission.AUDIT_READ, Permission.TOKENS_OWN}),
    }
)

FIRST_ADMIN_ROLES = (Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN, Role.AUDITOR)
"""The first account has all powers, so that it can hand them to separate people."""


def permissions_of(roles: Iterable[Role]) -> frozenset[str]:
    """The union of what the roles may do."""
    return frozenset(permission.value for role in roles for permission in GRANTS[role])
