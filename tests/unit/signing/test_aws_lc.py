from __future__ import annotations

import gc

import pytest
from awscrt import crypto
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.pki.samples import dn, private_key, signing_request, tlv

from trivet.pki.csr import parse_certificate_request
from trivet.pki.keys import spki
from trivet.signing import aws_lc
from trivet.signing.aws_lc import AwsLcEngine, AwsLcSigner
from trivet.signing.encryption import WrongKeyError
from trivet.signing.engine import CryptographyEngine, CryptographySigner

ENGINE = AwsLcEngine()


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("P-256", AwsLcSigner),
        ("P-384", AwsLcSigner),
        ("P-521", CryptographySigner),
        ("RSA-2048", CryptographySigner),
    ],
)
def test_aws_lc_signs_with_the_curves_that_it_has_and_cryptography_with_the_rest(
    kind: str, by: type[object]
) -> None:
    key = private_key(kind)
    assert not isinstance(key, ed25519.Ed25519PrivateKey)
    assert type(ENGINE.signer(key)) is by


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("kind", ["P-256", "P-384"])
def test_aws_lc_verifies_what_it_can(
    kind: str, digest: hashes.HashAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        pytest.fail("cryptography was asked")

    monkeypatch.setattr(CryptographyEngine, "is_self_signed", fail)
    body = signing_request(dn("jane"), key=private_key(kind), algorithm=digest).public_bytes(Encoding.DER)
    assert parse_certificate_request(body, ENGINE.is_self_signed).common_name == "jane"


@pytest.mark.parametrize("kind", ["P-521", "RSA-2048", "Ed25519"])
def test_cryptography_verifies_the_rest(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_lc, "EC", None)
    body = signing_request(dn("jane"), key=private_key(kind)).public_bytes(Encoding.DER)
    assert parse_certificate_request(body, ENGINE.is_self_signed).common_name == "jane"


@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA3_256()])
def test_cryptography_verifies_what_is_signed_by_rarer_digests(
    digest: hashes.HashAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lc, "EC", None)
    body = signing_request(dn("jane"), algorithm=digest).public_bytes(Encoding.DER)
    assert parse_certificate_request(body, ENGINE.is_self_signed).common_name == "jane"


class _OfAnotherKey:
    """An AWS-LC that opens another key than it was given."""

    @staticmethod
    def new_key_from_der_data(_: bytes) -> object:
        return crypto.EC.new_generate(crypto.ECType.P_384)


class _Failing:
    """An AWS-LC that opens nothing."""

    @staticmethod
    def new_key_from_der_data(octets: bytes) -> object:
        raise RuntimeError(octets.hex())


@pytest.mark.parametrize("broken", [_OfAnotherKey, _Failing])
def test_a_signer_that_does_not_sign_as_openssl_verifies_is_not_made(
    broken: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lc, "EC", broken)
    key = private_key("P-384")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(WrongKeyError, match="as it should") as caught:
        AwsLcSigner(key)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("broken", [_OfAnotherKey, _Failing])
def test_a_request_that_aws_lc_cannot_verify_is_refused(
    broken: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lc, "EC", broken)
    request = signing_request(dn("jane"), key=private_key("P-384"))
    parsed = parse_certificate_request(request.public_bytes(Encoding.DER))
    assert not ENGINE.is_self_signed(request, parsed.public_key, parsed.spki)


class _Lenient:
    """An AWS-LC that takes every signature for a good one."""

    @staticmethod
    def new_key_from_der_data(_: bytes) -> object:
        class Key:
            @staticmethod
            def verify(_digest: bytes, _signature: bytes) -> bool:
                return True

        return Key()


def test_only_the_one_encoding_of_a_signature_is_put_before_aws_lc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_lc, "EC", _Lenient)
    request = signing_request(dn("jane"), key=private_key("P-256"))
    info, head = request.tbs_certrequest_bytes, bytes.fromhex("300a06082a8648ce3d040303")
    for signature, is_strict in (
        (bytes.fromhex("3006020101020101"), True),
        (bytes.fromhex("300702020001020101"), False),
        (bytes.fromhex("300602010102010100"), False),
        (bytes.fromhex("300702010102010100"), False),
        (b"", False),
    ):
        odd = x509.load_der_x509_csr(tlv(0x30, info, head, tlv(0x03, b"\0", signature)))
        assert ENGINE.is_self_signed(odd, odd.public_key(), spki(odd.public_key())) is is_strict


def test_a_signer_keeps_nothing_of_the_private_key_as_python_values() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    signer = AwsLcSigner(key)
    assert [held for held in gc.get_referrers(key) if held is signer] == []
    held = [getattr(signer, name) for name in AwsLcSigner.__slots__]
    assert {type(one) for one in held} == {str, crypto.EC, type(key.public_key())}
    assert repr(signer) == "AwsLcSigner(secp384r1)"
    assert repr(key.private_numbers().private_value) not in repr(held)
