from __future__ import annotations

import ipaddress
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.pki.samples import dn, private_key, rdn, request_info, sans, self_signed, signing_request

from trivet.pki.csr import CertificateRequest, parse_certificate_request
from trivet.pki.errors import Refusal
from trivet.pki.names import is_attribute, parse_dns_name

# cryptography warns of attributes that are too long; elsewhere than in tests that is no error.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length")

EXTENSIONS = (
    sans("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"),
    x509.SubjectAlternativeName([x509.RFC822Name("a@b"), x509.DirectoryName(dn("x")), x509.DNSName("a")]),
    x509.BasicConstraints(ca=False, path_length=None),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
    x509.NameConstraints([x509.DNSName("a")], [x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]),
    x509.PolicyConstraints(1, 2),
    x509.CertificatePolicies([x509.PolicyInformation(NameOID.COMMON_NAME, ["policy"])]),
    x509.TLSFeature([x509.TLSFeatureType.status_request]),
    x509.AuthorityKeyIdentifier(b"abc", [x509.DNSName("a")], 5),
    x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"),
)
REQUESTS = tuple(
    signing_request(dn("jane", ["team"]), extension, critical=critical, key=private_key("Ed25519"))
    for extension in EXTENSIONS
    for critical in (False, True)
)
bodies = st.sampled_from(
    [request.public_bytes(encoding) for request in REQUESTS for encoding in (Encoding.PEM, Encoding.DER)]
)
infos = st.sampled_from([request.tbs_certrequest_bytes for request in REQUESTS])
changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4)


def changed(body: bytes, edits: list[tuple[int, int]]) -> bytes:
    octets = bytearray(body)
    for place, value in edits:
        octets[place % len(octets)] = value
    return bytes(octets)


def read_or_refuse(body: bytes) -> CertificateRequest | None:
    """Let nothing but a refusal out, and accept nothing that is not normalised."""
    try:
        request = parse_certificate_request(body)
    except Refusal:
        return None
    texts = (*request.organizations, *filter(None, [request.common_name]))
    assert all(is_attribute(text) for text in texts)
    assert all(parse_dns_name(name, wildcard=True) == name for name in request.dns_names)
    return request


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert read_or_refuse(body) is None


@given(bodies, changes)
@settings(max_examples=300)
def test_a_damaged_request_is_read_or_refused(body: bytes, edits: list[tuple[int, int]]) -> None:
    read_or_refuse(changed(body, edits))


@given(infos, changes)
@settings(max_examples=1000)
def test_a_strange_request_that_is_well_signed_is_read_or_refused(
    info: bytes, edits: list[tuple[int, int]]
) -> None:
    read_or_refuse(self_signed(changed(info, edits)))


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_strange_requests_in_bulk_are_read_or_refused(seed: int) -> None:
    # Hypothesis draws few bytes a second; a plain generator reaches odd places by numbers.
    source = random.Random(seed)  # noqa: S311  it makes tests, not keys
    for _ in range(500):
        info = source.choice(REQUESTS).tbs_certrequest_bytes
        edits = [(source.randrange(2**16), source.randrange(256)) for _ in range(source.randrange(1, 4))]
        read_or_refuse(self_signed(changed(info, edits)))


@given(
    st.lists(st.tuples(st.sampled_from([0x0C, 0x13, 0x16, 0x1C, 0x1E]), st.binary(max_size=70)), max_size=3)
)
def test_any_subject_is_read_or_refused(attributes: list[tuple[int, bytes]]) -> None:
    oids = ("550403", "55040a", "55040a")
    subject = b"".join(rdn(tag, value, oid) for (tag, value), oid in zip(attributes, oids, strict=False))
    read_or_refuse(self_signed(request_info(subject)))
