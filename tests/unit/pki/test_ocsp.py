from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st
from tests.support.ocsp_requests import (
    DIGESTS,
    NULL,
    cert_id,
    extension,
    nonce,
    request,
    request_about,
)
from tests.unit.pki.samples import ROOT_KINDS, plan, private_key, root, signed, tlv

from trivet.pki.errors import MalformedError
from trivet.pki.kubernetes import PROFILES
from trivet.pki.ocsp import (
    MAX_CERTIFICATES,
    MAX_REQUEST_BYTES,
    issuer_ids,
    parse_status_request,
)

CA, _ = root()
SERIALS = st.integers(0, 2**160 - 1)


def refusal(body: bytes) -> str:
    with pytest.raises(MalformedError) as raised:
        parse_status_request(body)
    return raised.value.detail


@pytest.mark.parametrize("kind", ROOT_KINDS)
@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])  # noqa: S303
def test_a_request_of_cryptography_is_read_and_names_its_issuer(
    kind: str, digest: hashes.HashAlgorithm
) -> None:
    issuer, _ = root(kind)
    leaf = x509.load_der_x509_certificate(signed(plan(PROFILES["admin"], private_key("P-256"), kind), kind))
    made = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, digest).build()
    read = parse_status_request(made.public_bytes(Encoding.DER))
    (asked,) = read.certificates
    assert (asked.serial, read.nonce, read.is_plain) == (leaf.serial_number, None, True)
    assert asked.issuer in issuer_ids(issuer)
    assert asked.issuer not in issuer_ids(leaf)


@given(
    st.lists(SERIALS, min_size=1, max_size=MAX_CERTIFICATES), st.none() | st.binary(min_size=1, max_size=128)
)
def test_what_was_asked_is_read_in_order(serials: list[int], value: bytes | None) -> None:
    read = parse_status_request(request_about(CA, serials, *([nonce(value)] if value is not None else [])))
    assert [one.serial for one in read.certificates] == serials
    assert (read.nonce, read.is_plain) == (value, value is None)
    # The answer repeats each CertID, octet for octet.
    assert [one.der for one in read.certificates] == [cert_id(CA, serial) for serial in serials]


@given(SERIALS, st.sampled_from([NULL, b""]), st.sampled_from(sorted(DIGESTS)))
def test_a_digest_may_come_with_null_or_with_nothing(serial: int, parameters: bytes, digest: str) -> None:
    whole = cert_id(CA, serial, DIGESTS[digest])
    # The same CertID without the two octets of NULL, all lengths made right.
    oid_at = whole.index(b"\x06")
    oid = whole[oid_at : oid_at + 2 + whole[oid_at + 1]]
    rest = whole[oid_at + len(oid) + 2 :]
    named = tlv(0x30, tlv(0x30, oid, parameters), rest)
    (asked,) = parse_status_request(request([named])).certificates
    assert (asked.der, asked.serial, asked.digest) == (named, serial, digest)
    assert asked.issuer in issuer_ids(CA)


def test_an_unknown_digest_names_nobody() -> None:
    oid = bytes.fromhex("06082a864886f70d0205")  # MD5
    named = tlv(0x30, tlv(0x30, oid, NULL), tlv(4, b"n" * 16), tlv(4, b"k" * 16), tlv(2, b"\x01"))
    (asked,) = parse_status_request(request([named])).certificates
    assert asked.digest == ""
    assert asked.issuer not in issuer_ids(CA)


@pytest.mark.parametrize("size", [0, 129, 1000])
def test_a_nonce_has_1_to_128_octets(size: int) -> None:
    assert refusal(request_about(CA, [1], nonce(b"n" * size)))


def test_a_nonce_that_is_no_octet_string_is_refused() -> None:
    assert refusal(request_about(CA, [1], extension("2b0601050507300102", b"plain octets")))


def test_a_critical_extension_that_is_not_understood_is_refused() -> None:
    assert "1.2.3.4" in refusal(request_about(CA, [1], extension("2a0304", NULL, critical=True)))
    one = tlv(0x30, cert_id(CA, 1), tlv(0xA0, tlv(0x30, extension("2a0304", NULL, critical=True))))
    assert "1.2.3.4" in refusal(tlv(0x30, tlv(0x30, tlv(0x30, one))))


def test_other_extensions_are_let_be_but_make_a_request_special() -> None:
    read = parse_status_request(request_about(CA, [1], extension("2a0304", NULL)))
    assert (read.nonce, read.is_plain) == (None, False)
    basic_only = extension(
        "2b0601050507300104", tlv(0x30, bytes.fromhex("06092b0601050507300101")), critical=True
    )
    assert not parse_status_request(request_about(CA, [1], basic_only)).is_plain


def test_an_extension_may_not_come_twice() -> None:
    assert "twice" in refusal(request_about(CA, [1], nonce(b"a"), nonce(b"b")))


def test_a_name_and_a_signature_are_not_looked_at() -> None:
    requestor = tlv(0xA1, tlv(0xA4, CA.subject.public_bytes()))
    signature = tlv(0xA0, tlv(0x30, tlv(0x30, bytes.fromhex("06082a8648ce3d040303")), tlv(3, b"\0sig")))
    read = parse_status_request(request([cert_id(CA, 5)], before=requestor, after=signature))
    assert ([one.serial for one in read.certificates], read.is_plain) == ([5], False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x30\x00",
        b"GET / HTTP/1.1",
        request([]),
        request_about(CA, [1] * (MAX_CERTIFICATES + 1)),
        request_about(CA, [1]) + b"\0",
        request_about(CA, [1])[:-1],
        request([cert_id(CA, 1)], before=tlv(0xA0, tlv(2, b"\x01"))),  # a version of the future
        request([cert_id(CA, 1)], before=tlv(0xA1)),
        request([cert_id(CA, 1)], after=tlv(0xA0, NULL, NULL)),
        b"\x30\x80" + request_about(CA, [1])[2:] + b"\0\0",  # BER
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert re.search("request", refusal(body))


@pytest.mark.parametrize("serial", [b"\xff", b"\x80" + bytes(19), b"\x01" + bytes(20)])
def test_a_serial_number_is_not_negative_and_has_20_octets_at_most(serial: bytes) -> None:
    named = cert_id(CA, 1)[2:-3] + tlv(2, serial)
    assert "serial" in refusal(request([tlv(0x30, named)]))


def test_a_request_is_bounded_before_it_is_read() -> None:
    assert str(MAX_REQUEST_BYTES) in refusal(b"\x30" * (MAX_REQUEST_BYTES + 1))
    largest = request([cert_id(CA, 2**159 + n, hashes.SHA512()) for n in range(MAX_CERTIFICATES)])
    assert len(largest) <= MAX_REQUEST_BYTES
    assert len(parse_status_request(largest).certificates) == MAX_CERTIFICATES
