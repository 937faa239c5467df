"""Makes keys and looks at certificates, in a process of its own: `python -m agent.uplink.keys`.

The agent never imports `cryptography`: it would cost it memory for ever, for work that is needed once a year.
Answers are one line of JSON on standard output; the private key is only ever in its file.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.uplink.files import sync_directory

USAGE_ERROR = 2


def make_key(key_file: Path, name: str) -> dict[str, Any]:
    """A P-256 key in a new file only its owner may read, and the request to certify it.

    Raises:
        OSError: the file exists already or cannot be written.
    """
    from cryptography import x509  # noqa: PLC0415 - the point of this program
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(key_file.parent)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "csr": request.public_bytes(serialization.Encoding.PEM).decode(),
        "public_key": base64.b64encode(public).decode(),
    }


def inspect(key_file: Path, certificate: bytes, authority: bytes) -> dict[str, Any]:
    """What the certificate says, or under `problem` why it cannot be used with this key and these CAs.

    Raises:
        ValueError: not PEM.
        OSError: the key cannot be read.
    """
    from cryptography import x509  # noqa: PLC0415 - the point of this program
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    own = x509.load_pem_x509_certificate(certificate)
    roots = x509.load_pem_x509_certificates(authority)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    names = own.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    problem = None
    if own.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        problem = "the certificate is for another key"
    elif len(names) != 1:
        problem = "the certificate has no single common name"
    else:
        issuers = [root for root in roots if root.subject == own.issuer]
        for root in issuers:
            try:
                own.verify_directly_issued_by(root)
                break
            except (InvalidSignature, ValueError, TypeError):
                continue
        else:
            problem = "the certificate is not signed by the CA that came with it"
    return {
        "kid": str(names[0].value) if names else "",
        "not_before": own.not_valid_before_utc.isoformat(),
        "not_after": own.not_valid_after_utc.isoformat(),
        "serial_number": f"{own.serial_number:x}",
        "problem": problem,
    }


def sign(key_file: Path, certificate_file: Path, text: str) -> dict[str, Any]:
    """ECDSA with SHA-256 over the text's UTF-8, DER in base64, and which certificate it is checked with.

    Raises:
        ValueError: not PEM.
        OSError: a file cannot be read.
    """
    from cryptography import x509  # noqa: PLC0415 - the point of this program
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of an elliptic curve")  # noqa: TRY004 - the file's content is wrong
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    signature = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return {"signature": base64.b64encode(signature).decode(), "certificate": f"{certificate.serial_number:x}"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one task and print its answer."""
    parser = argparse.ArgumentParser(prog="python -m agent.uplink.keys", description="密钥工具 (keys of the kiosk)")
    tasks = parser.add_subparsers(dest="task", required=True)
    new = tasks.add_parser("new", help="生成私钥与证书请求 (key and certificate request)")
    new.add_argument("--key", type=Path, required=True, help="私钥文件 (new file)")
    new.add_argument("--name", required=True, help="通用名 (common name)")
    look = tasks.add_parser("inspect", help="检查证书, 从标准输入读 JSON (certificate and CA as JSON on stdin)")
    look.add_argument("--key", type=Path, required=True, help="私钥文件 (key file)")
    note = tasks.add_parser("sign", help="签名标准输入的文本 (sign the text on stdin)")
    note.add_argument("--key", type=Path, required=True, help="私钥文件 (key file)")
    note.add_argument("--certificate", type=Path, required=True, help="证书文件 (certificate file)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.task == "new":
            answer = make_key(chosen.key, chosen.name)
        elif chosen.task == "sign":
            answer = sign(chosen.key, chosen.certificate, sys.stdin.read())
        else:
            document = json.load(sys.stdin)
            answer = inspect(chosen.key, document["certificate"].encode(), document["ca"].encode())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        sys.stderr.write(f"keys: {type(error).__name__}\n")
        return USAGE_ERROR
    sys.stdout.write(f"{json.dumps(answer)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
