"""Keys, requests, roots and plans for tests of the pki room; slow keys are made once a session."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.support.reference_builder import certificate_builder

from trivet.pki.csr import CertificateRequest, parse_certificate_request
from trivet.pki.keys import signature_algorithm
from trivet.pki.kubernetes import PROFILES, RESPONDER_PROFILES, SERVICE_PROFILE
from trivet.pki.locations import issuer_path, shard_of, status_locations
from trivet.pki.names import DnsName
from trivet.pki.plan import Plan, issuer_of, plan_certificate
from trivet.pki.profiles import FROM_REQUEST, AuthorityName, Profile, SanPolicy
from trivet.pki.roots import root_builder, root_subject, root_validity
from trivet.pki.serials import serial_from_random
from trivet.pki.subjects import ClusterNames, names_for
from trivet.pki.validity import plan_validity

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
KEY_KINDS = ("P-256", "P-384", "P-521", "RSA-4096", "Ed25519")
ROOT_KINDS = ("P-384", "RSA-4096")
EVERY_PROFILE = (*PROFILES.values(), SERVICE_PROFILE, *RESPONDER_PROFILES.values())
CLUSTER = ClusterNames(
    endpoint=DnsName("api.blue.example"),
    service_cidr=ipaddress.ip_network("10.96.0.0/12"),
    dns_domain=DnsName("cluster.local"),
)
NODE = "node-1.blue.example"
_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}


@cache
def private_key(kind: str, number: int = 0) -> PrivateKey:
    """Make a key of that kind; the same number gives the same key within a session."""
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32)
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
    return ec.generate_private_key(_CURVES[kind])


def signing_hash(key: PrivateKey) -> hashes.SHA384 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()


def dn(common_name: str = "", organizations: Iterable[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in organizations]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def sans(*names: str) -> x509.SubjectAlternativeName:
    """Read each as an address where it is one, else as a DNS name."""
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def signing_request(
    subject: x509.Name | None = None,
    *extensions: x509.ExtensionType,
    critical: bool = False,
    key: PrivateKey | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> x509.CertificateSigningRequest:
    key = key or private_key("P-256")
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, algorithm or signing_hash(key))  # type: ignore[arg-type]


def der_request(
    subject: x509.Name | None = None, *extensions: x509.ExtensionType, critical: bool = False
) -> bytes:
    return signing_request(subject, *extensions, critical=critical).public_bytes(Encoding.DER)


def certificate_request(
    common_name: str = "",
    organizations: Iterable[str] = (),
    hosts: Sequence[str] = (),
    key: PrivateKey | None = None,
) -> CertificateRequest:
    extensions = [sans(*hosts)] if hosts else []
    request = signing_request(dn(common_name, organizations), *extensions, key=key)
    return parse_certificate_request(request.public_bytes(Encoding.DER))


def request_for(profile: Profile, key: PrivateKey | None = None) -> CertificateRequest:
    """Make the least request that the profile grants."""
    own_subject = profile.common_name == FROM_REQUEST
    hosts = ("node-1.blue.example", "192.0.2.7", "2001:db8::7") if profile.sans is SanPolicy.HOST else ()
    return certificate_request("jane" if own_subject else "", ["team"] if own_subject else [], hosts, key)


@cache
def root(
    kind: str = "P-384", authority: AuthorityName = AuthorityName.CLUSTER
) -> tuple[x509.Certificate, PrivateKey]:
    key = private_key(kind, 7)
    validity = root_validity(NOW)
    subject = root_subject(authority, "blue")
    builder = root_builder(subject, key.public_key(), serial_from_random(2**158 + 1), validity)
    return sign(builder, key), key


def sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    """Sign as an authority with that key does."""
    return builder.sign(key, signature_algorithm(key.public_key()).digest)


def plan(profile: Profile, leaf: PrivateKey, root_kind: str = "P-384") -> Plan:
    certificate, _ = root(root_kind, profile.authority)
    request = request_for(profile, leaf)
    issuer = issuer_of(certificate)
    validity = plan_validity(NOW, None, timedelta(days=4), issuer.validity)
    names = names_for(profile, request, NODE, CLUSTER)
    serial = serial_from_random(2**158 + 12345)
    path = issuer_path("blue", profile.authority, issuer.key_identifier)
    locations = status_locations("http://pki.example.org", path, shard_of(serial, 4), has_ocsp=True)
    return plan_certificate(profile, names, request.public_key, validity, serial, issuer, locations=locations)


def signed(planned: Plan, root_kind: str = "P-384") -> bytes:
    _, key = root(root_kind, planned.profile.authority)
    return sign(certificate_builder(planned), key).public_bytes(Encoding.DER)


def tlv(tag: int, *parts: bytes) -> bytes:
    """Encode a DER value by hand, for requests that no library would make."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def self_signed(request_info: bytes) -> bytes:
    """Sign a CertificationRequestInfo of any content with the Ed25519 sample key (RFC 8410 section 7)."""
    key = private_key("Ed25519")
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    algorithm = tlv(0x30, bytes.fromhex("06032b6570"))
    return tlv(0x30, request_info, algorithm, tlv(0x03, b"\0", key.sign(request_info)))


def request_info(subject: bytes, attributes: bytes = b"", version: int = 0) -> bytes:
    """Encode a CertificationRequestInfo for the Ed25519 sample key (RFC 2986 section 4.1)."""
    public = private_key("Ed25519").public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    spki = tlv(0x30, tlv(0x30, bytes.fromhex("06032b6570")), tlv(0x03, b"\0", public.public_bytes_raw()))
    return tlv(0x30, tlv(0x02, bytes([version])), tlv(0x30, subject), spki, tlv(0xA0, attributes))


def rdn(tag: int, value: bytes, oid: str = "550403") -> bytes:
    """Encode a relative distinguished name of one attribute, a CN if not told otherwise."""
    return tlv(0x31, tlv(0x30, tlv(0x06, bytes.fromhex(oid)), tlv(tag, value)))
