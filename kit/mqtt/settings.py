"""How to reach a broker and as whom."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class MqttSettings(BaseModel):
    """Connection settings; without `tls` only for benches on loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: int = Field(ge=1, le=65_535)
    client_id: Annotated[str, Field(min_length=1, max_length=64)]
    tls: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = Field(default=20, ge=1, le=65_535)
    clean_start: bool = False
    session_expiry_s: int = Field(default=3_600, ge=0)
    receive_maximum: int = Field(default=100, ge=1, le=65_535)
    connect_timeout_s: float = Field(default=15.0, gt=0)
    retry_base_s: float = Field(default=1.0, gt=0)
    retry_cap_s: float = Field(default=30.0, gt=0)

    def ssl_context(self) -> ssl.SSLContext:
        """A client context: TLS 1.3, host name checked, our certificate shown.

        Raises:
            OSError: a file cannot be read or holds no certificate or key (`ssl.SSLError` is one).
        """
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=None if self.ca_file is None else str(self.ca_file)
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context
