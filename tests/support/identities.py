"""A kiosk's certificate, put where its enrolment would have left it."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography import x509

from support.hospital import Hospital


def install_identity(site: Hospital, kid: str, data_dir: Path) -> None:
    """Give an agent a certificate as its enrolment would have left it."""
    source, slot = site.identities_dir / kid, data_dir / "identity" / "a"
    slot.mkdir(parents=True, mode=0o700)
    for name, file in (("cert.pem", source / "cert.pem"), ("key.pem", source / "key.pem")):
        (slot / name).write_bytes(file.read_bytes())
    (slot / "ca.pem").write_bytes((site.identities_dir / "ca.pem").read_bytes())
    (slot / "key.pem").chmod(0o600)
    certificate = x509.load_pem_x509_certificate((slot / "cert.pem").read_bytes())
    facts = {
        "kid": kid,
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "broker": {"host": "localhost", "port": site.broker_port},
    }
    (slot / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    (data_dir / "identity" / "current").symlink_to("a")
