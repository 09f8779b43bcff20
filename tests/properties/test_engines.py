"""Both engines accept and refuse the same, whatever they are sent, and sign the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.pki.samples import EVERY_PROFILE, dn, plan, private_key, rdn, root, sans, signing_request, tlv

from trivet.pki.csr import CertificateRequest, Verifier, parse_certificate_request
from trivet.pki.errors import Refusal
from trivet.pki.keys import signature_algorithm
from trivet.pki.plan import Plan, issuer_of
from trivet.pki.profiles import Profile
from trivet.signing.aws_lc import AwsLcEngine
from trivet.signing.engine import CRYPTOGRAPHY
from trivet.signing.signer import Signer, sign_certificates

# cryptography warns of attributes that are too long; elsewhere than in tests that is no error.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length")

AWS_LC = AwsLcEngine()
CURVES = ("P-256", "P-384")
ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
}
POINT_HEADS = {
    "P-256": "301306072a8648ce3d020106082a8648ce3d030107",
    "P-384": "301006072a8648ce3d020106052b81040022",
}


def _made(signer: Signer, planned: Plan) -> bytes:
    (made,) = sign_certificates([(signer, planned)])
    if isinstance(made, Exception):
        raise made
    return made


def outcome(body: bytes, verifier: Verifier) -> CertificateRequest | tuple[type[Refusal], str]:
    try:
        return parse_certificate_request(body, verifier)
    except Refusal as refusal:
        return type(refusal), refusal.detail


def agreed(body: bytes) -> bool:
    """Demand the same of both engines, and of cryptography's own verification; tell whether they accept."""
    usual = outcome(body, CRYPTOGRAPHY.is_self_signed)
    assert outcome(body, lambda request, *_: request.is_signature_valid) == usual
    assert outcome(body, AWS_LC.is_self_signed) == usual
    return isinstance(usual, CertificateRequest)


def ec_key(kind: str) -> ec.EllipticCurvePrivateKey:
    key = private_key(kind)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def request_of(info: bytes, signature: bytes, algorithm: bytes, unused_bits: int = 0) -> bytes:
    return tlv(0x30, info, algorithm, tlv(0x03, bytes([unused_bits]), signature))


def info_with(spki: bytes) -> bytes:
    """Encode a CertificationRequestInfo with any SubjectPublicKeyInfo (RFC 2986 section 4.1)."""
    return tlv(0x30, tlv(0x02, b"\0"), tlv(0x30, rdn(0x0C, b"jane")), spki, tlv(0xA0))


def spki_of(kind: str, point: bytes) -> bytes:
    return tlv(0x30, bytes.fromhex(POINT_HEADS[kind]), tlv(0x03, b"\0", point))


def signed(kind: str, info: bytes, digest: hashes.HashAlgorithm | None = None) -> tuple[bytes, bytes]:
    """Give the signature of the sample key, and the AlgorithmIdentifier of that curve's digest."""
    algorithm = signature_algorithm(ec_key(kind).public_key())
    assert algorithm.digest is not None
    return ec_key(kind).sign(info, ec.ECDSA(digest or algorithm.digest)), algorithm.identifier


@pytest.mark.parametrize("kind", CURVES)
def test_points_in_every_form_are_read_alike(kind: str) -> None:
    public = ec_key(kind).public_key()
    plain = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    hybrid = bytes([compressed[0] + 4]) + plain[1:]
    zeros = bytes([4]) + bytes(len(plain) - 1)
    off_curve = plain[:-1] + bytes([plain[-1] ^ 1])
    long = plain + b"\0"
    wrong_half = bytes([hybrid[0] ^ 1]) + plain[1:]
    accepted = {}
    for name, point in {
        "plain": plain,
        "compressed": compressed,
        "hybrid": hybrid,
        "infinity": b"\0",
        "nothing": b"",
        "zeros": zeros,
        "off the curve": off_curve,
        "long": long,
        "short": plain[:-1],
        "of the other half": wrong_half,
    }.items():
        info = info_with(spki_of(kind, point))
        accepted[name] = agreed(request_of(info, *signed(kind, info)))
    assert accepted["plain"]
    refused = {"infinity", "nothing", "zeros", "off the curve", "long", "short", "of the other half"}
    assert not any(accepted[name] for name in refused)


@pytest.mark.parametrize("kind", CURVES)
def test_curves_that_are_not_named_are_refused_alike(kind: str) -> None:
    point = ec_key(kind).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    oid = bytes.fromhex("06072a8648ce3d0201")
    field = tlv(0x30, bytes.fromhex("06072a8648ce3d0101"), tlv(0x02, b"\x7f" * 32))
    for parameters in (
        tlv(0x30, tlv(0x02, b"\1"), field, tlv(0x30, tlv(0x04, b"a"), tlv(0x04, b"b")), tlv(0x04, point)),
        b"\x05\x00",  # implicitCurve
        b"",
        bytes.fromhex("06052b8104000a"),  # secp256k1
    ):
        info = info_with(tlv(0x30, tlv(0x30, oid, parameters), tlv(0x03, b"\0", point)))
        assert not agreed(request_of(info, *signed(kind, info)))


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_digest_is_the_one_that_the_request_states(kind: str, digest: hashes.HashAlgorithm) -> None:
    right = signing_request(dn("jane"), key=ec_key(kind), algorithm=digest)
    assert agreed(right.public_bytes(Encoding.DER))
    info = right.tbs_certrequest_bytes
    for last in range(1, 5):  # RFC 5758 section 3.2: ecdsa-with-SHA224 … SHA512
        stated = bytes.fromhex(f"300a06082a8648ce3d0403{last:02}")
        with_null = bytes.fromhex(f"300c06082a8648ce3d0403{last:02}0500")
        is_right = last == (224, 256, 384, 512).index(digest.digest_size * 8) + 1
        assert agreed(request_of(info, right.signature, stated)) is is_right
        agreed(request_of(info, right.signature, with_null))
    for other in ("300d06092a864886f70d01010b0500", "300506032b6570", "300906072a8648ce3d0401", "3000"):
        assert not agreed(request_of(info, right.signature, bytes.fromhex(other)))


def number(value: int, padding: bytes = b"") -> bytes:
    octets = padding + value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return tlv(0x02, octets)


@pytest.mark.parametrize("kind", CURVES)
def test_odd_signatures_are_judged_alike(kind: str) -> None:
    info = info_with(ec_key(kind).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    order = ORDERS[kind]
    signature, algorithm = signed(kind, info)
    r, s = decode_dss_signature(signature)
    # ECDSA's own other half is a signature, too.
    for right in (signature, tlv(0x30, number(r), number(s)), tlv(0x30, number(r), number(order - s))):
        assert agreed(request_of(info, right, algorithm))
    wrong = [
        b"",
        b"\x30\x00",
        signature[:-1],
        signature + b"\0",
        tlv(0x30, number(r)),
        tlv(0x30, number(r), number(s), number(1)),
        tlv(0x30, number(r), number(s), b"\x05\0"),
        tlv(0x31, number(r), number(s)),
        tlv(0x30, number(r, b"\0"), number(s)),
        tlv(0x30, number(r), number(s, b"\0\0")),
        tlv(0x30, number(r, b"\xff"), number(s)),
        tlv(0x30, tlv(0x02), number(s)),
        b"\x30\x80" + number(r) + number(s) + b"\0\0",
        b"\x30\x82" + len(number(r) + number(s)).to_bytes(2, "big") + number(r) + number(s),
        r.to_bytes(48, "big") + s.to_bytes(48, "big"),
    ]
    edges = (0, 1, -1, order - 1, order, order + 1, 2**521, -r)
    wrong += [tlv(0x30, number(edge), number(s)) for edge in edges]
    wrong += [tlv(0x30, number(r), number(edge)) for edge in (*edges, r, s + order, s - order, -s)]
    wrong += [tlv(0x30, number(one), number(other)) for one in edges for other in edges]
    for odd in wrong:
        assert not agreed(request_of(info, odd, algorithm)), odd.hex()
    for unused_bits in (1, 7, 8, 255):
        agreed(request_of(info, signature, algorithm, unused_bits))


REQUESTS = tuple(
    signing_request(dn("jane", ["team"]), sans("a.example"), key=ec_key(kind), algorithm=digest)
    for kind in CURVES
    for digest in (hashes.SHA256(), hashes.SHA384())
)


@given(
    st.sampled_from(CURVES),
    st.integers(-3, 2**390) | st.sampled_from([*ORDERS.values()]),
    st.integers(-3, 2**390) | st.sampled_from([*ORDERS.values()]),
    st.sampled_from([b"", b"\0", b"\xff"]),
)
@settings(max_examples=300)
def test_no_pair_of_numbers_passes_for_a_signature(kind: str, r: int, s: int, padding: bytes) -> None:
    request = next(one for one in REQUESTS if one.public_key() == ec_key(kind).public_key())
    body = request.public_bytes(Encoding.DER)
    wrong = tlv(0x30, number(r, padding), number(s))
    algorithm = body[len(body) - len(request.signature) - 3 - 12 :][:12]
    assert not agreed(request_of(request.tbs_certrequest_bytes, wrong, algorithm))


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_damaged_requests_are_judged_alike(seed: int) -> None:
    # Hypothesis draws few bytes a second; a plain generator reaches odd places by numbers.
    source = random.Random(seed)  # noqa: S311  it makes tests, not keys
    for _ in range(150):
        octets = bytearray(source.choice(REQUESTS).public_bytes(Encoding.DER))
        for _ in range(source.randrange(1, 3)):
            # Every other one hits the signature or what is just before it.
            low = source.choice([0, len(octets) - 125])
            octets[source.randrange(low, len(octets))] = source.randrange(256)
        agreed(bytes(octets))


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_strange_requests_that_are_well_signed_are_judged_alike(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311
    for _ in range(150):
        kind = source.choice(CURVES)
        octets = bytearray(signing_request(dn("jane"), key=ec_key(kind)).tbs_certrequest_bytes)
        octets[source.randrange(len(octets))] = source.randrange(256)
        info = bytes(octets)
        agreed(request_of(info, *signed(kind, info)))


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA-3072", "Ed25519"])
def test_every_kind_of_key_proves_itself_to_both(kind: str) -> None:
    for encoding in (Encoding.DER, Encoding.PEM):
        assert agreed(signing_request(dn("jane"), key=private_key(kind)).public_bytes(encoding))


@pytest.mark.parametrize("root_kind", ["P-384", "P-256", "P-521", "RSA-4096"])
@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_both_give_certificates_that_verify_and_differ_in_the_signature_only(
    profile: Profile, root_kind: str
) -> None:
    anchor, key = root(root_kind, profile.authority)
    assert not isinstance(key, ed25519.Ed25519PrivateKey)
    planned = replace(plan(profile, private_key("P-384")), issuer=issuer_of(anchor))
    made = [
        x509.load_der_x509_certificate(_made(engine.signer(key), planned))
        for engine in (CRYPTOGRAPHY, AWS_LC)
    ]
    for certificate in made:
        certificate.verify_directly_issued_by(anchor)
    assert made[0].tbs_certificate_bytes == made[1].tbs_certificate_bytes
    assert made[0].signature_algorithm_oid == made[1].signature_algorithm_oid
