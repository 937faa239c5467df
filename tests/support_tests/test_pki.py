"""Each wrong certificate is refused by a real TLS server for its own reason; the right one is not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.pki import Files, Pki, client_context, server_context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pki, Path]:
    """One set of certificates and where they lie."""
    made = Pki.new()
    return made, made.write(tmp_path_factory.mktemp("pki"))


def files(directory: Path, stem: str) -> Files:
    return Files(directory / f"{stem}.pem", directory / f"{stem}.key")


def shake_hands(directory: Path, client: str, server: str = "server") -> str:
    """Let both sides speak TLS in memory; what the side said that refused, or `welcome`."""
    crl_file = directory / "crl.pem"
    shown = files(directory, client)
    contexts = (
        client_context(directory / "ca.pem", shown, shows_weak=client == "weak"),
        server_context(directory / "ca.pem", files(directory, server), crl_file=crl_file),
    )
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = contexts[0].wrap_bio(to_client, to_server, server_hostname="localhost")
    far = contexts[1].wrap_bio(to_server, to_client, server_side=True)
    shaking = {near, far}
    for _ in range(10):
        for side in tuple(shaking):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as refused:
                return f"{'client' if side is near else 'server'}: {refused}"
            shaking.discard(side)
    return "welcome" if not shaking else "stuck"


def test_right_certificates_shake_hands(pki: tuple[Pki, Path]) -> None:
    _, directory = pki
    assert shake_hands(directory, "client") == "welcome"
    assert shake_hands(directory, "other_client") == "welcome"


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("foreign", "certificate verify failed"),
        ("self_signed", "certificate verify failed: self-signed certificate"),
        ("wrong_usage", "unsuitable certificate purpose"),
        ("revoked", "certificate revoked"),
        ("weak", "EE certificate key too weak"),
    ],
)
def test_a_wrong_client_is_refused_for_its_own_reason(pki: tuple[Pki, Path], client: str, reason: str) -> None:
    _, directory = pki
    verdict = shake_hands(directory, client)
    assert verdict.startswith("server: ")
    assert reason in verdict


def test_a_server_for_another_host_is_refused_by_the_client(pki: tuple[Pki, Path]) -> None:
    _, directory = pki
    verdict = shake_hands(directory, "client", server="wrong_host")
    assert verdict.startswith("client: ")
    assert "Hostname mismatch" in verdict


def test_the_weak_one_is_weak_and_the_others_are_not(pki: tuple[Pki, Path]) -> None:
    made, directory = pki
    assert isinstance(made.weak.key, rsa.RSAPrivateKey)
    assert made.weak.key.key_size == 1_024
    strong = [each for name, each in made.identities().items() if name != "weak"]
    assert all(isinstance(each.key, ec.EllipticCurvePrivateKey) for each in strong)
    assert {each.common_name for each in (made.client, made.foreign, made.expired)} == {"kiosk-001"}
    assert (directory / "client.key").stat().st_mode & 0o077 == 0
