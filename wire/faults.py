"""The closed list of fault codes: what it is, how bad, what the engineer does, what a patient is told.

A code is stable for ever: it may be retired, never reused. Texts here are the short forms; pages keep
their own wording under the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """How bad, for people on duty; ordered by `RANK`."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


RANK: Mapping[Severity, int] = MappingProxyType(
    {Severity.INFO: 0, Severity.MINOR: 1, Severity.MAJOR: 2, Severity.CRITICAL: 3}
)


class Retry(StrEnum):
    """Whether the failing operation may be tried again without a person."""

    NEVER = "never"
    BACKOFF = "backoff"
    AFTER_CHANGE = "after_change"


class Fault(StrEnum):
    """Stable codes; the same word names the alarm raised for it."""

    # devices
    UNPLUGGED = "unplugged"
    NOT_RESPONDING = "not_responding"
    PROTOCOL_ERROR = "protocol_error"
    DEVICE_BUSY = "device_busy"
    PAPER_OUT = "paper_out"
    PAPER_LOW = "paper_low"
    PAPER_JAM = "paper_jam"
    COVER_OPEN = "cover_open"
    CUTTER_ERROR = "cutter_error"
    COMPONENT_SILENT = "component_silent"
    WRONG_DEVICE = "wrong_device"
    DEVICE_ERROR = "device_error"
    TONER_LOW = "toner_low"
    TONER_EMPTY = "toner_empty"
    OUTPUT_FULL = "output_full"
    RETRACT_BIN_FULL = "retract_bin_full"
    MEDIA_NOT_TAKEN = "media_not_taken"
    HEAD_HOT = "head_hot"
    PRINT_UNKNOWN = "print_unknown"
    CARD_UNREADABLE = "card_unreadable"
    SAM_FAILED = "sam_failed"
    READER_SERVICE_DOWN = "reader_service_down"
    NO_PICTURE = "no_picture"
    DOOR_OPEN = "door_open"
    TAMPERED = "tampered"
    ON_BATTERY = "on_battery"
    BATTERY_LOW = "battery_low"
    BATTERY_WORN = "battery_worn"
    FIRMWARE_INTERRUPTED = "firmware_interrupted"
    # the machine
    CLOCK_SKEW = "clock_skew"
    DISK_LOW = "disk_low"
    DISK_FULL = "disk_full"
    MEMORY_LOW = "memory_low"
    TEMPERATURE_HIGH = "temperature_high"
    CPU_BUSY = "cpu_busy"
    DISK_WEARING = "disk_wearing"
    USB_UNKNOWN = "usb_unknown"
    USB_STORAGE = "usb_storage"
    # uplink and identity
    OUTBOX_CORRUPT = "outbox_corrupt"
    OUTBOX_DROPPING = "outbox_dropping"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    RENEWAL_FAILING = "renewal_failing"
    SESSION_TAKEN_OVER = "session_taken_over"
    KIOSK_OFFLINE = "kiosk_offline"
    KIOSK_UNSTABLE = "kiosk_unstable"
    KIOSK_CLONED = "kiosk_cloned"
    KIOSK_FLOODING = "kiosk_flooding"
    UPLINK_REJECTED = "uplink_rejected"
    WIRE_VERSION_UNSUPPORTED = "wire_version_unsupported"
    EVIDENCE_CHAIN_BROKEN = "evidence_chain_broken"
    # the server itself
    REVOCATION_NOT_ENFORCED = "revocation_not_enforced"
    BROKER_DOWN = "broker_down"
    STORE_FAILING = "store_failing"
    BACKUP_OLD = "backup_old"
    QUEUE_LAG = "queue_lag"
    SERVER_CERTIFICATE_EXPIRING = "server_certificate_expiring"
    # what patients run into
    TRANSACTIONS_FAILING = "transactions_failing"
    PAID_NOT_POSTED = "paid_not_posted"
    CARD_RETAINED = "card_retained"
    RECEIPT_MISSING = "receipt_missing"
    HELP_REQUESTED = "help_requested"
    # systems that are not ours
    HIS_DOWN = "his_down"
    CHANNEL_DOWN = "channel_down"


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """What the product knows about a code before anything happens."""

    severity: Severity
    retry: Retry
    zh: str
    en: str
    remedy_zh: str
    remedy_en: str
    patient_key: str | None = None


def _facts(  # noqa: PLR0913, PLR0917 - a row of the table below, written once per code
    severity: Severity, retry: Retry, zh: str, en: str, remedy_zh: str, remedy_en: str, patient_key: str | None = None
) -> FaultFacts:
    return FaultFacts(severity, retry, zh, en, remedy_zh, remedy_en, patient_key)


_MINOR, _MAJOR, _CRITICAL = Severity.MINOR, Severity.MAJOR, Severity.CRITICAL
_NEVER, _BACKOFF, _AFTER = Retry.NEVER, Retry.BACKOFF, Retry.AFTER_CHANGE

# fmt: off
FACTS: Mapping[Fault, FaultFacts] = MappingProxyType({
    Fault.UNPLUGGED:        _facts(_MAJOR, _BACKOFF, "设备已断开", "Device unplugged", "检查线缆与供电, 重新插接", "Check cable and power, plug in again", "device_unavailable"),
    Fault.NOT_RESPONDING:   _facts(_MAJOR, _BACKOFF, "设备无响应", "Device does not answer", "断电重启设备, 仍无响应则更换", "Power-cycle the device, replace it if still mute", "device_unavailable"),
    Fault.PROTOCOL_ERROR:   _facts(_MAJOR, _BACKOFF, "设备通信异常", "Device talks nonsense", "核对设备型号与配置文件", "Compare device model and profile", "device_unavailable"),
    Fault.DEVICE_BUSY:      _facts(Severity.INFO, _BACKOFF, "设备忙", "Device busy", "等待当前任务结束", "Wait for the running job", "please_wait"),
    Fault.PAPER_OUT:        _facts(_MAJOR, _AFTER, "缺纸", "Out of paper", "更换纸卷或纸张", "Put in paper", "paper_out"),
    Fault.PAPER_LOW:        _facts(_MINOR, _AFTER, "纸将用尽", "Paper low", "下次巡检时换纸", "Change paper on the next round"),
    Fault.PAPER_JAM:        _facts(_MAJOR, _AFTER, "卡纸", "Paper jam", "打开机盖取出卡纸", "Open the cover and clear the path", "device_unavailable"),
    Fault.COVER_OPEN:       _facts(_MAJOR, _AFTER, "机盖打开", "Cover open", "关好机盖", "Close the cover", "device_unavailable"),
    Fault.CUTTER_ERROR:     _facts(_MAJOR, _AFTER, "切刀故障", "Cutter error", "清理切刀并断电重启", "Clear the cutter, power-cycle", "device_unavailable"),
    Fault.COMPONENT_SILENT: _facts(_MAJOR, _BACKOFF, "部件长时间无数据", "Component silent", "查看部件状态, 检查连接", "Look at the component, check its link"),
    Fault.WRONG_DEVICE:     _facts(_MAJOR, _AFTER, "端口上的设备与配置不符", "Another device than the profile says", "核对设备型号, 更新配置文件", "Compare the device with the profile, correct one of them", "device_unavailable"),
    Fault.DEVICE_ERROR:     _facts(_MAJOR, _BACKOFF, "设备报告故障", "Device reports an error", "断电重启设备, 仍故障则更换", "Power-cycle the device, replace it if the error stays", "device_unavailable"),
    Fault.TONER_LOW:        _facts(_MINOR, _AFTER, "碳粉将用尽", "Toner low", "下次巡检时更换碳粉", "Change the toner on the next round"),
    Fault.TONER_EMPTY:      _facts(_MAJOR, _AFTER, "碳粉用尽", "Toner empty", "更换碳粉", "Change the toner", "device_unavailable"),
    Fault.OUTPUT_FULL:      _facts(_MAJOR, _AFTER, "出纸口已满", "Output tray full", "取走出纸口的纸张", "Empty the output tray", "device_unavailable"),
    Fault.RETRACT_BIN_FULL: _facts(_MAJOR, _AFTER, "回收箱已满", "Retract bin full", "清空回收箱", "Empty the retract bin", "device_unavailable"),
    Fault.MEDIA_NOT_TAKEN:  _facts(Severity.INFO, _NEVER, "单据未被取走", "Print not taken", "回收遗留单据, 按规定销毁", "Collect what was left, shred it by the rules"),
    Fault.HEAD_HOT:         _facts(_MINOR, _BACKOFF, "打印头过热", "Print head hot", "等待冷却, 检查通风", "Let it cool, check the vents", "please_wait"),
    Fault.PRINT_UNKNOWN:    _facts(_MINOR, _NEVER, "打印结果未知", "Print outcome unknown", "查看出纸口与日志, 必要时补打", "Look at the output and the journal, reprint if needed", "ask_staff"),
    Fault.CARD_UNREADABLE:  _facts(Severity.INFO, _NEVER, "证卡无法读取", "Card cannot be read", "频繁出现时清洁读卡器", "Clean the reader when this comes often", "card_unreadable"),
    Fault.SAM_FAILED:       _facts(_MAJOR, _BACKOFF, "身份证阅读器安全模块故障", "Security module of the ID card reader failed", "断电重启, 仍故障则更换阅读器", "Power-cycle, replace the reader if it stays", "device_unavailable"),
    Fault.READER_SERVICE_DOWN: _facts(_MAJOR, _BACKOFF, "智能卡服务停止", "Smart card service down", "检查 pcscd 服务", "Check the pcscd service", "device_unavailable"),
    Fault.NO_PICTURE:       _facts(_MAJOR, _BACKOFF, "摄像头无画面", "Camera gives no picture", "检查摄像头连接与遮挡", "Check the camera's cable and view", "device_unavailable"),
    Fault.DOOR_OPEN:        _facts(_MINOR, _AFTER, "柜门打开", "Cabinet door open", "关好柜门", "Close the door"),
    Fault.TAMPERED:         _facts(_CRITICAL, _NEVER, "设备防拆触发", "Tamper switch triggered", "停止使用并上报安全管理员", "Take it out of use, call the security administrator", "device_unavailable"),
    Fault.ON_BATTERY:       _facts(_MAJOR, _AFTER, "市电中断, 电池供电", "Mains lost, on battery", "检查供电", "Check the mains", "please_wait"),
    Fault.BATTERY_LOW:      _facts(_CRITICAL, _AFTER, "电池电量低", "Battery low", "恢复供电, 机器即将安全关机", "Restore the mains, the kiosk is about to shut down"),
    Fault.BATTERY_WORN:     _facts(_MINOR, _AFTER, "电池需要更换", "Battery worn out", "更换 UPS 电池", "Replace the battery of the UPS"),
    Fault.FIRMWARE_INTERRUPTED: _facts(_MAJOR, _AFTER, "固件更新中断", "Firmware update interrupted", "重新执行固件更新", "Run the firmware update again", "device_unavailable"),
    Fault.CLOCK_SKEW:       _facts(_MINOR, _AFTER, "时钟偏差过大", "Clock skew", "检查时间同步服务与主板电池", "Check time synchronisation and the RTC battery"),
    Fault.DISK_LOW:         _facts(_MINOR, _AFTER, "磁盘空间不足", "Disk space low", "清理磁盘", "Free disk space"),
    Fault.DISK_FULL:        _facts(_MAJOR, _AFTER, "磁盘已满", "Disk full", "立即清理磁盘", "Free disk space now"),
    Fault.MEMORY_LOW:       _facts(_MINOR, _AFTER, "内存不足", "Memory low", "查看占用内存的进程", "Find the process that grows"),
    Fault.TEMPERATURE_HIGH: _facts(_MAJOR, _AFTER, "温度过高", "Temperature high", "检查风扇与通风口", "Check fan and vents"),
    Fault.CPU_BUSY:         _facts(_MINOR, _AFTER, "处理器持续繁忙", "CPU busy for long", "查看占用处理器的进程", "Find the busy process"),
    Fault.DISK_WEARING:     _facts(_MINOR, _AFTER, "磁盘寿命将尽", "Disk wearing out", "备份并更换磁盘", "Replace the disk"),
    Fault.USB_UNKNOWN:      _facts(_MAJOR, _AFTER, "接入未知 USB 设备", "Unknown USB device", "查明并拔除该设备", "Find out what it is, unplug it"),
    Fault.USB_STORAGE:      _facts(_CRITICAL, _AFTER, "接入 USB 存储设备", "USB mass storage plugged in", "立即拔除并上报安全管理员", "Unplug it now, call the security administrator"),
    Fault.OUTBOX_CORRUPT:   _facts(_MAJOR, _NEVER, "待发记录库损坏已隔离", "Outbox corrupt, quarantined", "导出隔离文件并检查磁盘", "Save the quarantined file, check the disk"),
    Fault.OUTBOX_DROPPING:  _facts(_MINOR, _AFTER, "待发记录超限已稀释", "Outbox over its cap, thinning", "恢复网络或扩大磁盘", "Restore the network or enlarge the disk"),
    Fault.CERTIFICATE_EXPIRING: _facts(_MINOR, _BACKOFF, "证书即将到期", "Certificate expiring", "检查证书续期", "Check certificate renewal"),
    Fault.RENEWAL_FAILING:  _facts(_MAJOR, _BACKOFF, "证书续期失败", "Certificate renewal failing", "检查到管理服务器的网络", "Check the way to the fleet server"),
    Fault.SESSION_TAKEN_OVER: _facts(_MAJOR, _BACKOFF, "身份被另一连接占用", "Session taken over", "查找使用同一身份的机器", "Find the machine with the same identity"),
    Fault.KIOSK_OFFLINE:    _facts(_MAJOR, _NEVER, "自助机离线", "Kiosk offline", "检查电源与网络", "Check power and network"),
    Fault.KIOSK_UNSTABLE:   _facts(_MINOR, _NEVER, "自助机连接不稳定", "Kiosk connection unstable", "检查网线与交换机端口", "Check cable and switch port"),
    Fault.KIOSK_CLONED:     _facts(_CRITICAL, _NEVER, "检测到身份克隆, 已隔离", "Cloned identity, quarantined", "找到克隆的机器, 重新登记", "Find the clone, enrol again"),
    Fault.KIOSK_FLOODING:   _facts(_MAJOR, _NEVER, "自助机数据洪泛, 已隔离", "Kiosk floods the server, quarantined", "查看该机程序日志", "Read the agent's log on that kiosk"),
    Fault.UPLINK_REJECTED:  _facts(_MAJOR, _NEVER, "上报数据格式错误", "Uplink data rejected", "核对程序版本, 查看隔离记录", "Compare versions, read the quarantined records"),
    Fault.WIRE_VERSION_UNSUPPORTED: _facts(_MAJOR, _NEVER, "上报协议版本过新", "Wire version too new", "升级管理服务器", "Upgrade the fleet server"),
    Fault.EVIDENCE_CHAIN_BROKEN: _facts(_CRITICAL, _NEVER, "证据链断裂", "Evidence chain broken", "保留现场并上报安全管理员", "Keep the evidence, call the security administrator"),
    Fault.REVOCATION_NOT_ENFORCED: _facts(_CRITICAL, _BACKOFF, "消息代理未采用吊销列表", "Broker does not use the revocation list", "在服务器上运行 fleet-server doctor, 检查消息代理与 broker.reload_command", "Run fleet-server doctor on the server, check the broker and broker.reload_command"),
    Fault.BROKER_DOWN:      _facts(_CRITICAL, _BACKOFF, "消息代理中断", "Message broker down", "检查服务器上的 mosquitto 服务", "Check the mosquitto service on the server"),
    Fault.STORE_FAILING:    _facts(_CRITICAL, _BACKOFF, "服务器数据库故障", "Store of the server failing", "检查数据库服务与磁盘", "Check the database and its disk"),
    Fault.BACKUP_OLD:       _facts(_MAJOR, _AFTER, "备份过期", "Backup too old", "运行备份并检查定时任务", "Run the backup, check its timer"),
    Fault.QUEUE_LAG:        _facts(_MAJOR, _BACKOFF, "服务器处理积压", "Server lags behind its queue", "检查服务器负载与数据库", "Check the load of the server and its store"),
    Fault.SERVER_CERTIFICATE_EXPIRING: _facts(_MAJOR, _AFTER, "服务器证书即将到期", "Certificate of the server expiring", "更换服务器证书", "Renew the certificate of the server"),
    Fault.TRANSACTIONS_FAILING: _facts(_MAJOR, _NEVER, "交易失败率过高", "Too many transactions fail", "查看失败原因, 必要时引导患者到其他自助机", "Read why they fail, send patients to another kiosk if needed"),
    Fault.PAID_NOT_POSTED:  _facts(_CRITICAL, _BACKOFF, "已付款未入账", "Paid, not posted", "按单边账流程核对并补录或退款", "Follow the runbook of payments: post it or refund it", "ask_staff"),
    Fault.CARD_RETAINED:    _facts(_CRITICAL, _NEVER, "卡片被吞", "Card retained", "立即到机前取卡, 核对身份后归还", "Go to the kiosk now, return the card to its owner", "ask_staff"),
    Fault.RECEIPT_MISSING:  _facts(_MAJOR, _NEVER, "已付款未出凭条", "Paid, no receipt", "补打凭条", "Print the receipt again", "ask_staff"),
    Fault.HELP_REQUESTED:   _facts(_MAJOR, _NEVER, "患者请求帮助", "A patient asks for help", "请到机前协助患者", "Go to the kiosk and help the patient"),
    Fault.HIS_DOWN:         _facts(_CRITICAL, _BACKOFF, "HIS 不可用", "HIS down", "联系医院信息科", "Call the hospital's IT department"),
    Fault.CHANNEL_DOWN:     _facts(_MAJOR, _BACKOFF, "支付渠道不可用", "Payment channel down", "联系渠道服务商, 引导患者使用其他支付方式", "Call the channel's operator, point patients to another way to pay"),
})
# fmt: on
