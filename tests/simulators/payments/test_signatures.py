"""Signatures against openssl and against vectors of the public documents, worked out by nobody of ours."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simulators.payments.keys import Keys
from simulators.payments.signatures import alipay_text, answer_text, request_text, rsa_sign, rsa_verifies, seal, v2_sign

V2_FIELDS = {
    "appid": "wxd930ea5d5a258f4f",
    "mch_id": "10000100",
    "device_info": "1000",
    "body": "test",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}
V2_KEY = "192006250b4c09247ec02edce69f6a2d"
"""The example of pay.weixin.qq.com, chapter 4_3, with both of its signatures."""


def test_v2_signatures_are_those_of_the_document() -> None:
    assert v2_sign(V2_FIELDS, V2_KEY, "MD5") == "9A0A8659F005D6984697E2CA0A9CF3B7"
    expected = "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
    assert v2_sign({**V2_FIELDS, "empty": "", "sign": "x"}, V2_KEY, "HMAC-SHA256") == expected


def test_the_v3_request_text_is_that_of_the_document() -> None:
    text = request_text("GET", "/v3/certificates", "1554208460", "593BEC0C930BF1AFEB40B4A08C8FB242", b"")
    assert text == b"GET\n/v3/certificates\n1554208460\n593BEC0C930BF1AFEB40B4A08C8FB242\n\n"
    assert answer_text("1554209980", "c5ac7061fccab6bf3e254dcf98995b8c", b"{}") == (
        b"1554209980\nc5ac7061fccab6bf3e254dcf98995b8c\n{}\n"
    )


def test_alipay_sorts_and_leaves_out_what_is_empty() -> None:
    fields = {"b": "2=&", "a": "1", "sign": "s", "sign_type": "RSA2", "c": ""}
    assert alipay_text(fields) == b"a=1&b=2=&&sign_type=RSA2"
    assert alipay_text(fields, without=frozenset({"sign", "sign_type"})) == b"a=1&b=2=&"


@pytest.mark.parametrize("name", ["platform", "alipay"])
def test_openssl_believes_our_signatures_and_we_believe_its(keys: Keys, tmp_path: Path, name: str) -> None:
    text = '1554209980\nnonce\n{"金额":1}\n'.encode()
    key = keys.platform if name == "platform" else keys.alipay
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "ours").write_bytes(base64.b64decode(rsa_sign(key, text)))
    public, private = keys.folder / f"{name}.pub.pem", keys.folder / f"{name}.pem"
    verify = ("openssl", "dgst", "-sha256", "-verify", str(public), "-signature", "ours", "text")
    assert b"Verified OK" in subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True).stdout
    sign = ("openssl", "dgst", "-sha256", "-sign", str(private), "-out", "theirs", "text")
    subprocess.run(sign, cwd=tmp_path, check=True, capture_output=True)
    theirs = base64.b64encode((tmp_path / "theirs").read_bytes()).decode()
    assert rsa_verifies(key.public_key(), text, theirs)
    assert not rsa_verifies(key.public_key(), text + b" ", theirs)
    assert not rsa_verifies(key.public_key(), text, "no base64")


def test_a_sealed_resource_opens_with_the_key_and_its_associated_data() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    sealed = base64.b64decode(seal(key, "fdasflkja484", "transaction", '{"a":"元"}'.encode()))
    assert AESGCM(key).decrypt(b"fdasflkja484", sealed, b"transaction") == '{"a":"元"}'.encode()
