"""How to reach a broker and as whom."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _TidySocket(ssl.SSLSocket):
    """Closed when its handshake fails; paho would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """As the standard library's."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class MqttSettings(BaseModel):
    """Connection settings; without `tls` only for benches and tests on loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: int = Field(ge=1, le=65_535)
    client_id: Annotated[str, Field(min_length=1, max_length=64)]
    tls: bool = True
    tls_minimum: Literal["1.2", "1.3"] = "1.3"
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

    @model_validator(mode="after")
    def _has_both_halves(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self

    def ssl_context(self) -> ssl.SSLContext:
        """A client context: host name checked, our certificate shown; the machine's authorities without `ca_file`.

        Raises:
            OSError: a file cannot be read or holds no certificate or key; the text names it.
        """
        context = _trusting(self.ca_file)
        context.sslsocket_class = _TidySocket
        context.minimum_version = _TLS_VERSIONS[self.tls_minimum]
        if self.cert_file is not None and self.key_file is not None:
            _show(context, self.cert_file, self.key_file)
        return context


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authorities = ca_file.read_text(encoding="ascii", errors="replace")
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=authorities)
    except ssl.SSLError as error:
        raise OSError(f"{ca_file} holds no PEM certificate") from error


def _show(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    for file in (cert_file, key_file):
        file.open("rb").close()  # OpenSSL's own error does not say which of the two is missing
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        raise OSError(f"{cert_file} and {key_file} are no PEM pair: {error.reason or error}") from error
