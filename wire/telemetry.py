"""The catalogue of metrics a kiosk samples: name, unit, bounds and titles.

Names that are not listed are accepted by the server (a newer agent may know more) when they match
`METRIC_PATTERN`; they are shown without a title.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

METRIC_PATTERN = r"^[a-z][a-z0-9_]{1,63}$"
MetricName = Annotated[str, Field(pattern=METRIC_PATTERN)]
SAMPLE_INTERVAL_S = 30.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity; the unit is the last word of the name."""

    unit: str
    zh: str
    en: str
    minimum: float | None = 0.0
    maximum: float | None = None


# fmt: off
METRICS: Mapping[str, Metric] = MappingProxyType({
    "cpu_percent":              Metric("%", "处理器占用", "CPU", maximum=100.0),
    "load_1m":                  Metric("", "1 分钟负载", "Load (1 min)"),
    "memory_percent":           Metric("%", "内存占用", "Memory", maximum=100.0),
    "memory_available_bytes":   Metric("B", "可用内存", "Memory available"),
    "swap_percent":             Metric("%", "交换区占用", "Swap", maximum=100.0),
    "disk_percent":             Metric("%", "磁盘占用", "Disk", maximum=100.0),
    "disk_free_bytes":          Metric("B", "磁盘剩余", "Disk free"),
    "disk_read_bytes_per_s":    Metric("B/s", "磁盘读", "Disk read"),
    "disk_write_bytes_per_s":   Metric("B/s", "磁盘写", "Disk write"),
    "disk_wear_percent":        Metric("%", "磁盘寿命已用", "Disk life used"),
    "disk_temperature_c":       Metric("°C", "磁盘温度", "Disk temperature", minimum=-60.0, maximum=150.0),
    "temperature_c":            Metric("°C", "温度", "Temperature", minimum=-40.0, maximum=150.0),
    "network_rx_bytes_per_s":   Metric("B/s", "网络接收", "Network in"),
    "network_tx_bytes_per_s":   Metric("B/s", "网络发送", "Network out"),
    "network_errors":           Metric("", "网络错误", "Network errors"),
    "clock_offset_s":           Metric("s", "时钟偏差", "Clock offset", minimum=None),
    "uptime_s":                 Metric("s", "开机时长", "Uptime"),
    "process_count":            Metric("", "进程数", "Processes"),
    "agent_rss_bytes":          Metric("B", "代理内存", "Agent memory"),
    "agent_cpu_percent":        Metric("%", "代理处理器占用", "Agent CPU"),
    "agent_open_files":         Metric("", "代理打开文件数", "Agent open files"),
    "agent_threads":            Metric("", "代理线程数", "Agent threads"),
    "outbox_rows":              Metric("", "待发记录", "Outbox rows"),
    "outbox_bytes":             Metric("B", "待发记录大小", "Outbox size"),
    "paper_left_percent":       Metric("%", "余纸", "Paper left", maximum=100.0),
    "paper_left_days":          Metric("d", "余纸可用天数", "Days of paper left"),
    "toner_left_percent":       Metric("%", "剩余墨粉", "Toner left", maximum=100.0),
    "toner_left_days":          Metric("d", "墨粉可用天数", "Days of toner left"),
    "outbox_oldest_age_s":      Metric("s", "最早待发记录", "Oldest outbox row"),
})
# fmt: on
