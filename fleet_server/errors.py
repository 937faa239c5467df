"""Why the fleet server says no: one base class per way to react."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class FleetError(Exception):
    """Something expected went wrong; the text is for the operator and repeats no secret."""


class Refusal(FleetError):
    """A rule said no; `code` is stable and in the API documentation."""

    def __init__(self, code: str, message: str, *, status: int = 409) -> None:
        """Refuse with a stable code; `status` is the HTTP status the API answers with."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


CONSOLE_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "account_disabled": "账户已停用, 请先启用",
        "code_exhausted": "配对码输错次数过多, 请求已作废, 请在自助机上重新发起",
        "code_wrong": "配对码与屏幕显示不一致",
        "enrolment_decided": "登记请求已被处理",
        "enrolment_expired": "登记请求已过期, 请在自助机上重新发起",
        "enrolment_unknown": "没有这个登记请求",
        "kiosk_id_refused": "自助机编号不可用",
        "kiosk_unknown": "没有这台自助机",
        "lab_refused": "数量或名称不符合要求",
        "serial_mismatch": "序列号与资产清单不一致, 核对后加 --accept-serial-mismatch",
        "serial_taken": "该序列号属于另一台自助机",
        "state_conflict": "自助机当前状态不允许此操作",
        "unknown_user": "没有这个账户, 可用 fleet-server staff list 查看",
    }
)
"""What the server's own command line says first to a refusal with this code; the English words follow."""


class SetupError(FleetError):
    """The installation is incomplete or wrong; the text says what to run or change."""


class BrokerError(FleetError):
    """The broker did not do what it was asked: reload its files, or end a connection."""
