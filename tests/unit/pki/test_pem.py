from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.pki.samples import root

from trivet.pki.errors import MalformedError
from trivet.pki.pem import MAX_PEM_BYTES, certificate_pem, from_der, from_pem, to_der, to_pem


def test_certificates_come_back_from_pem_in_their_order() -> None:
    first, second = root("P-384")[0], root("RSA-4096")[0]
    text = to_pem([first, second])
    assert from_pem(text) == [first, second]
    assert from_pem(b"\r\n" + text.replace(b"\n", b"\r\n")) == [first, second]


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-4096"])
def test_a_block_is_the_same_whether_the_certificate_was_read_or_not(kind: str) -> None:
    certificate = root(kind)[0]
    assert certificate_pem(to_der(certificate)) == to_pem([certificate])


@pytest.mark.parametrize("size", [*range(45, 51), 96, 97])
def test_a_block_of_any_length_reads_as_it_was(size: int) -> None:
    octets = bytes(range(size))
    lines = certificate_pem(octets).decode().splitlines()
    assert all(len(line) == 64 for line in lines[1:-2])
    assert 0 < len(lines[-2]) <= 64
    assert base64.b64decode("".join(lines[1:-1])) == octets


def test_a_certificate_comes_back_from_der() -> None:
    certificate, _ = root()
    assert from_der(to_der(certificate)) == certificate


def test_what_is_not_a_certificate_in_der_is_malformed() -> None:
    der = to_der(root()[0])
    version_5 = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020104"), 1)
    for body in (b"", b"hello", der[:-1], der + b"\0", version_5):
        with pytest.raises(MalformedError):
            from_der(body)


def test_what_is_not_a_sequence_of_pem_certificates_is_malformed() -> None:
    block = root()[0].public_bytes(Encoding.PEM)
    bodies = [
        b"",
        b"subject=CN=a\n" + block,
        block + b"garbage",
        block.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
        block.replace(b"MII", b"MIJ", 1),
        block * (MAX_PEM_BYTES // len(block) + 1),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ]
    for body in bodies:
        with pytest.raises(MalformedError):
            from_pem(body)
