"""Settings of the patient platform: `patient.toml` in the data directory, overridden by `PATIENT_…` variables.

Relative paths are taken from the working directory. Secrets are references to files only the owner may read.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kit.settings import SecretFile

ENV_PREFIX = "PATIENT"
SETTINGS_FILE = "patient.toml"

Port = Annotated[int, Field(ge=0, le=65_535)]
"""0 lets the system choose; only useful in tests."""
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]{1,500}$")]


class Section(BaseModel):
    """One part of the settings; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HisStyle(StrEnum):
    """Which interface standard this hospital's HIS speaks."""

    REST = "rest"
    SOAP = "soap"


class HisSettings(Section):
    """The hospital information system."""

    style: HisStyle = HisStyle.REST
    url: Url = "http://127.0.0.1:9001/hisapi"
    token_file: SecretFile | None = None
    timeout_s: float = Field(default=15.0, gt=0.0, le=120.0)
    server_timeout_s: float = Field(default=30.0, ge=30.0, le=3_600.0)
    """How long a call that gave no answer may go on inside the HIS; nothing is posted again before that."""
    concurrency: int = Field(default=16, ge=1, le=500)
    """Calls under way at the same time; the rest waits, so that 100 kiosks cannot overrun the HIS."""


class CodeApi(StrEnum):
    """How a WeChat payment code is charged: which of the two the merchant's contract has."""

    V3 = "v3"
    V2 = "v2"


class WechatSettings(Section):
    """A merchant of WeChat Pay."""

    base_url: Url = "https://api.mch.weixin.qq.com"
    mchid: str = Field(pattern=r"^\d{8,32}$")
    appid: str = Field(pattern=r"^[A-Za-z0-9]{8,32}$")
    merchant_key_file: SecretFile
    merchant_serial: str = Field(pattern=r"^[0-9A-F]{8,64}$")
    merchant_certificate_file: Path | None = None
    """The certificate of the merchant key (`apiclient_cert.pem`): watched, because it runs out."""
    platform_keys: dict[str, Path]
    """Public keys or platform certificates that sign answers, by `Wechatpay-Serial`; two while one is being rotated."""
    apiv3_key_file: SecretFile
    code_api: CodeApi = CodeApi.V3
    apiv2_key_file: SecretFile | None = None
    client_certificate_file: Path | None = None
    """For V2 reversals, which WeChat wants over mutual TLS."""
    client_key_file: Path | None = None
    calls_per_s: float = Field(default=29.0, gt=0.0, le=29.0)
    """Of each process, three of them at once: of two processes each gets 13, so that both together stay below 33."""
    timeout_s: float = Field(default=10.0, gt=0.0, le=60.0)


class AlipaySettings(Section):
    """An application of Alipay."""

    gateway_url: Url = "https://openapi.alipay.com/gateway.do"
    app_id: str = Field(pattern=r"^\d{16}$")
    app_key_file: SecretFile
    alipay_key_file: Path
    seller_id: str | None = Field(default=None, pattern=r"^2088\d{12}$")
    timeout_s: float = Field(default=10.0, gt=0.0, le=60.0)


class KioskApiSettings(Section):
    """The kiosks' server: TLS with client certificates of the fleet's authority."""

    host: Host = "0.0.0.0"  # noqa: S104 - kiosks come from other machines
    port: Port = 8543
    names: tuple[Host, ...] = ("localhost", "127.0.0.1")
    """What kiosks may call this server; others are refused."""
    certificate_file: Path = Path("var/patient/tls/server.pem")
    key_file: Path = Path("var/patient/tls/server.key")
    client_ca_file: Path = Path("var/fleet/pki/ca.pem")
    client_crl_file: Path | None = None
    """The fleet's revocation list; read again whenever it changes, asked at every request."""


class NotifySettings(Section):
    """Where the relay in the DMZ hands over what the channels send us."""

    host: Host = "127.0.0.1"
    port: Port = 8544
    public_url: Url = "http://127.0.0.1:8544"
    """What the channels are told to call; the relay's address in a hospital."""


class PaymentSettings(Section):
    """How long things may take; the defaults follow the channels' own rules."""

    order_life_s: float = Field(default=600.0, ge=30.0, le=7_200.0)
    """An order nobody pays ends after this."""
    payments_at_once: int = Field(default=64, ge=1, le=1_000)


class Settings(Section):
    """Everything."""

    data_dir: Path = Path("var/patient")
    database_url: str | None = None
    """`postgresql+psycopg://…`; by default SQLite in the data directory."""
    hospital: str = Field(default="示范医院", max_length=40)
    campus: str = Field(default="蓉江院区", max_length=40)
    worker: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}$")] = "main"
    """This process's name among platform processes."""
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    kiosk_api: KioskApiSettings = KioskApiSettings()
    notify: NotifySettings = NotifySettings()
    his: HisSettings = HisSettings()
    wechat: WechatSettings | None = None
    alipay: AlipaySettings | None = None
    payment: PaymentSettings = PaymentSettings()

    @property
    def store_url(self) -> str:
        """The database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'patient.sqlite3'}"
