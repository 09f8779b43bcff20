from __future__ import annotations

import hashlib
import ipaddress
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from tests.unit.pki.samples import (
    KEY_KINDS,
    certificate_request,
    der_request,
    dn,
    private_key,
    rdn,
    request_info,
    sans,
    self_signed,
    signing_request,
    tlv,
)

from trivet.pki.csr import MAX_CSR_BYTES, parse_certificate_request
from trivet.pki.errors import BadCSRError, BadPublicKeyError, RequestError
from trivet.pki.keys import spki, spki_sha256
from trivet.pki.names import MAX_SANS


def key_usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def refusal(body: bytes, kind: type[RequestError] = BadCSRError) -> str:
    with pytest.raises(RequestError) as caught:
        parse_certificate_request(body)
    assert type(caught.value) is kind
    return caught.value.detail


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_request_with_any_kind_of_key_is_read_from_pem_and_der(kind: str, encoding: Encoding) -> None:
    key = private_key(kind)
    request = signing_request(dn("jane", ["b", "a"]), sans("a.example", "192.0.2.1"), key=key)
    parsed = parse_certificate_request(request.public_bytes(encoding))
    assert (parsed.common_name, parsed.organizations) == ("jane", ("b", "a"))
    assert parsed.dns_names == ("a.example",)
    assert parsed.ip_addresses == (ipaddress.ip_address("192.0.2.1"),)
    assert parsed.public_key == key.public_key()
    assert parsed.spki_sha256 == spki_sha256(key.public_key())
    assert parsed.der == request.public_bytes(Encoding.DER)
    assert parsed.sha256 == hashlib.sha256(parsed.der).hexdigest()


def test_a_request_may_have_an_empty_subject_and_no_extensions() -> None:
    parsed = parse_certificate_request(der_request())
    assert (parsed.common_name, parsed.organizations, parsed.dns_names, parsed.ip_addresses) == (
        "",
        (),
        (),
        (),
    )


def test_the_old_pem_label_windows_line_ends_and_surrounding_space_are_accepted() -> None:
    pem = signing_request(dn("jane")).public_bytes(Encoding.PEM)
    for text in (
        pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
        pem.replace(b"\n", b"\r\n"),
        b"\n  " + pem + b"\n\n",
    ):
        assert parse_certificate_request(text).common_name == "jane"


def test_names_are_normalised_and_told_once() -> None:
    hosts = ("A.Example", "a.example.", "*.B.Example", "192.0.2.1", "::ffff:192.0.2.1", "2001:DB8::1")
    parsed = certificate_request("jane", ["a", "b", "a"], hosts)
    assert parsed.organizations == ("a", "b")
    assert parsed.dns_names == ("a.example", "*.b.example")
    assert [str(address) for address in parsed.ip_addresses] == ["192.0.2.1", "2001:db8::1"]


def test_usages_that_the_request_asks_for_are_read_over() -> None:
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    body = der_request(
        dn("jane"),
        usages,
        key_usage(cert_sign=False),
        x509.BasicConstraints(ca=False, path_length=None),
        critical=True,
    )
    assert parse_certificate_request(body).common_name == "jane"


PEM = signing_request(dn("jane")).public_bytes(Encoding.PEM)
DER = signing_request(dn("jane")).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        PEM + PEM,
        PEM + b"garbage",
        b"garbage\n" + PEM,
        PEM.replace(b"-----END", b"-----FIN"),
        PEM.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
        PEM.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST", 1),
        PEM[:60] + PEM[70:],
        b"-----BEGIN CERTIFICATE REQUEST-----\n \n-----END CERTIFICATE REQUEST-----\n",
        DER + b"\0",
        DER[:-1],
        DER + DER,
        b"\xff" * 100,
    ],
    ids=range(14),
)
def test_what_is_not_one_request_is_refused(body: bytes) -> None:
    refusal(body)


def test_an_oversize_body_is_refused_unread() -> None:
    assert "bytes" in refusal(DER + b"\0" * MAX_CSR_BYTES)
    assert "bytes" in refusal(PEM + b"\n" * MAX_CSR_BYTES)


def test_the_largest_request_that_the_bounds_allow_fits_as_pem() -> None:
    hosts = [f"{number:03}." + ".".join(["a" * 61] * 4) for number in range(MAX_SANS)]
    request = signing_request(dn("a" * 64), sans(*hosts), key=private_key("RSA-4096"))
    body = request.public_bytes(Encoding.PEM)
    assert len(parse_certificate_request(body).dns_names) == MAX_SANS
    assert len(body) + 2 * 1024 < MAX_CSR_BYTES, "RSA-8192 has 512 octets more in key and signature each"


def test_a_request_signed_by_another_key_is_refused() -> None:
    own, other = (signing_request(dn("jane"), key=private_key("P-256", number)) for number in (0, 1))
    info, algorithm = own.tbs_certrequest_bytes, bytes.fromhex("300a06082a8648ce3d040303")
    rebuilt, forged = (
        tlv(0x30, info, algorithm, tlv(0x03, b"\0", request.signature)) for request in (own, other)
    )
    assert rebuilt == own.public_bytes(Encoding.DER)
    assert "signature is wrong" in refusal(forged)


def test_who_verifies_is_given_the_key_as_it_will_be_certified_and_is_believed() -> None:
    key = private_key("P-256").public_key()
    asked: list[tuple[object, bytes]] = []

    def believing(_: x509.CertificateSigningRequest, public_key: object, encoded: bytes) -> bool:
        asked.append((public_key, encoded))
        return True

    parsed = parse_certificate_request(DER.replace(b"jane", b"joan"), believing)
    assert asked == [(key, spki(key))] == [(parsed.public_key, parsed.spki)]
    with pytest.raises(BadCSRError, match="signature is wrong"):
        parse_certificate_request(DER, lambda *_: False)


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_request_with_a_changed_name_is_refused(kind: str) -> None:
    body = signing_request(dn("jane"), key=private_key(kind)).public_bytes(Encoding.DER)
    assert "signature is wrong" in refusal(body.replace(b"jane", b"joan"))


def test_a_request_signed_with_sha_1_is_refused() -> None:
    # cryptography signs with SHA-1 no more, so the algorithm's name is put in by hand: ecdsa-with-SHA1.
    request = signing_request(dn("jane"))
    sha1 = bytes.fromhex("300906072a8648ce3d0401")
    body = tlv(0x30, request.tbs_certrequest_bytes, sha1, tlv(0x03, b"\0", request.signature))
    assert "SHA-1" in refusal(body)


def test_a_sha_1_request_made_by_openssl_is_refused(
    require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    command = [
        require_tool("openssl"),
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-sha1",
        "-subj",
        "/CN=jane",
    ]
    made = subprocess.run([*command, "-keyout", f"{tmp_path}/key"], capture_output=True, check=True)
    assert "SHA-1" in refusal(made.stdout)


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.BasicConstraints(ca=True, path_length=0),
        key_usage(cert_sign=True),
    ],
    ids=["CA:TRUE", "pathlen", "keyCertSign"],
)
@pytest.mark.parametrize("critical", [False, True])
def test_a_request_for_a_ca_is_refused(extension: x509.ExtensionType, critical: bool) -> None:  # noqa: FBT001
    assert "CA certificate" in refusal(der_request(dn("jane"), extension, critical=critical))


def test_an_unknown_extension_is_read_over_unless_it_is_critical() -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0")
    assert parse_certificate_request(der_request(dn("jane"), unknown)).common_name == "jane"
    assert "1.2.3.4" in refusal(der_request(dn("jane"), unknown, critical=True))


def test_a_duplicate_extension_is_refused() -> None:
    extension = tlv(0x30, bytes.fromhex("0603551d11"), tlv(0x04, tlv(0x30, tlv(0x82, b"a.example"))))
    assert parse_certificate_request(self_signed(_asking(extension))).dns_names == ("a.example",)
    assert "Duplicate" in refusal(self_signed(_asking(extension + extension)))


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        ("551d11", b""),
        ("551d11", tlv(0x30, tlv(0x87, b"abc"))),
        ("551d11", tlv(0x30, tlv(0x82, b"\xff"))),
        ("551d11", tlv(0x30, tlv(0xA3, b"x400"))),
        ("551d13", tlv(0x30, b"\x01\x01\x01")),
        ("2b06010505070118", bytes.fromhex("30030201 7e")),
    ],
)
def test_an_extension_that_cannot_be_read_is_refused(oid: str, value: bytes) -> None:
    extension = tlv(0x30, tlv(0x06, bytes.fromhex(oid)), tlv(0x04, value))
    assert "cannot be read" in refusal(self_signed(_asking(extension)))


def _asking(extensions: bytes) -> bytes:
    oid = bytes.fromhex("06092a864886f70d01090e")
    return request_info(rdn(0x0C, b"jane"), tlv(0x30, oid, tlv(0x31, tlv(0x30, extensions))))


@pytest.mark.parametrize(
    "name",
    [
        x509.RFC822Name("jane@example.com"),
        x509.UniformResourceIdentifier("spiffe://example/jane"),
        x509.DirectoryName(dn("jane")),
        x509.RegisteredID(NameOID.COMMON_NAME),
        x509.OtherName(NameOID.COMMON_NAME, b"\x0c\x01a"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
    ],
    ids=["email", "URI", "directory", "OID", "other", "network"],
)
def test_other_kinds_of_subject_alt_name_are_refused(name: x509.GeneralName) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), name])
    assert refusal(der_request(dn("jane"), names)) == "subjectAltNames must be dNSName or iPAddress"


@pytest.mark.parametrize("name", ["a_b.example", "10.0.0.1", "a b", "-", "*", "a.*.example", "", "."])
def test_a_subject_alt_name_that_is_not_a_dns_name_is_refused(name: str) -> None:
    assert "not a DNS name" in refusal(
        der_request(dn("jane"), x509.SubjectAlternativeName([x509.DNSName(name)]))
    )


def test_a_request_has_at_most_100_names() -> None:
    hosts = [f"a{number}.example" for number in range(99)]
    assert len(certificate_request("jane", (), [*hosts, "192.0.2.1"]).dns_names) == 99
    assert "at most 100" in refusal(der_request(dn("jane"), sans(*hosts, "192.0.2.1", "192.0.2.2")))


@pytest.mark.parametrize(
    "oid", [NameOID.COUNTRY_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.EMAIL_ADDRESS]
)
def test_the_subject_holds_nothing_but_cn_and_o(oid: x509.ObjectIdentifier) -> None:
    subject = x509.Name([*dn("jane"), x509.NameAttribute(oid, "DE")])
    assert "CN and O only" in refusal(der_request(subject))


def test_the_subject_has_at_most_one_cn() -> None:
    assert "more than one CN" in refusal(der_request(x509.Name([*dn("jane"), *dn("joan")])))
    both = tlv(0x31, rdn(0x0C, b"jane")[2:], rdn(0x0C, b"joan")[2:])
    assert "more than one CN" in refusal(self_signed(request_info(both)))


@pytest.mark.parametrize("text", ["a\nb", "\0", "a\x1b[0m", "\x7f", "\x85", "\u2028"])
def test_control_characters_in_the_subject_are_refused(text: str) -> None:
    assert "no control characters" in refusal(der_request(dn(text)))
    assert "no control characters" in refusal(der_request(dn("jane", [text])))


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_common_name_or_organization_has_at_most_64_octets() -> None:
    long = b"a" * 65
    assert certificate_request("a" * 64, ["\u00fc" * 32]).common_name == "a" * 64
    for subject in (rdn(0x0C, long), rdn(0x0C, b""), rdn(0x0C, long, "55040a"), rdn(0x0C, b"", "55040a")):
        assert "1 to 64 octets" in refusal(self_signed(request_info(subject)))


@pytest.mark.parametrize("tag", [*range(31), 0x30, 0x80])
def test_a_name_of_the_wrong_type_or_content_is_refused(tag: int) -> None:
    refusal(self_signed(request_info(rdn(tag, b"\0\0"))))


def test_every_type_of_string_gives_the_same_name() -> None:
    for tag, octets in {
        0x0C: b"ab",
        0x13: b"ab",
        0x16: b"ab",
        0x1E: b"\0a\0b",
        0x1C: b"\0\0\0a\0\0\0b",
    }.items():
        assert parse_certificate_request(self_signed(request_info(rdn(tag, octets)))).common_name == "ab"


def test_a_request_of_another_version_is_refused() -> None:
    assert parse_certificate_request(self_signed(request_info(rdn(0x0C, b"jane")))).common_name == "jane"
    refusal(self_signed(request_info(rdn(0x0C, b"jane"), version=1)))


def test_a_key_that_cannot_sign_or_be_read_is_refused() -> None:
    unknown = self_signed(
        request_info(rdn(0x0C, b"jane")).replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b6501"))
    )
    assert "not supported" in refusal(unknown, BadPublicKeyError)
    x25519 = self_signed(
        request_info(rdn(0x0C, b"jane")).replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b656e"))
    )
    refusal(x25519)


def test_requests_with_keys_that_no_profile_accepts_are_still_read() -> None:
    # Which keys are accepted is the profile's, so that the refusal can name them.
    builder = x509.CertificateSigningRequestBuilder().subject_name(dn("jane"))
    request = builder.sign(ed448.Ed448PrivateKey.generate(), None)
    assert parse_certificate_request(request.public_bytes(Encoding.DER)).common_name == "jane"
    legacy = builder.sign(dsa.generate_private_key(2048), hashes.SHA256())
    assert parse_certificate_request(legacy.public_bytes(Encoding.DER)).common_name == "jane"
