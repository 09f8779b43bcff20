from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from tests.support.reference_builder import certificate_builder
from tests.unit.pki.samples import NOW, ROOT_KINDS, PrivateKey, dn, plan, private_key, root, sign

from trivet.pki.errors import InvalidError
from trivet.pki.kubernetes import PROFILES
from trivet.pki.pem import from_der
from trivet.pki.plan import check_signed, issuer_of
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import check_imported_root, root_subject, root_validity
from trivet.pki.validity import Validity

CA = x509.BasicConstraints(ca=True, path_length=None)
YEARS = timedelta(days=3650)
# As kubeadm's own roots state it (client-go/util/cert NewSelfSignedCACert): no cRLSign.
KUBEADM_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    key_cert_sign=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def usage(*, cert_sign: bool) -> x509.KeyUsage:
    flags = dict.fromkeys(("data_encipherment", "key_agreement", "crl_sign", "encipher_only"), False)
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=False,
        content_commitment=False,
        decipher_only=False,
        key_cert_sign=cert_sign,
        **flags,
    )


def foreign_root(
    *extensions: x509.ExtensionType,
    key: PrivateKey | None = None,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    signer: PrivateKey | None = None,
    start: datetime = NOW,
    algorithm: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    key = key or private_key("P-256")
    subject = dn("kubernetes") if subject is None else subject
    builder = (
        x509.CertificateBuilder()
        .serial_number(1)
        .issuer_name(issuer or subject)
        .subject_name(subject)
        .not_valid_before(start)
        .not_valid_after(start + YEARS)
        .public_key(key.public_key())
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer or key, algorithm) if algorithm else sign(builder, signer or key)  # type: ignore[arg-type]


def refusal(certificate: x509.Certificate, key: object = None, now: datetime = NOW) -> str:
    with pytest.raises(InvalidError) as caught:
        check_imported_root(certificate, key or private_key("P-256"), now)
    return caught.value.detail


@pytest.mark.parametrize("kind", ROOT_KINDS)
@pytest.mark.parametrize("authority", AuthorityName)
def test_a_root_is_a_ca_for_ten_years_and_for_leaves_only(authority: AuthorityName, kind: str) -> None:
    certificate, key = root(kind, authority)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    usages = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usages.critical, usages.value.key_cert_sign, usages.value.crl_sign) == (True, True, True)
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == YEARS
    check_imported_root(certificate, key, NOW)


def test_the_subjects_of_roots_tell_clusters_and_authorities_apart() -> None:
    subjects = {
        root_subject(authority, name).rfc4514_string() for authority in AuthorityName for name in "ab"
    }
    assert len(subjects) == 2 * len(AuthorityName)
    assert root_subject(AuthorityName.ETCD, "blue").rfc4514_string() == "CN=blue etcd CA,O=blue"
    assert root_subject(AuthorityName.SERVICE, "Trivet").rfc4514_string() == "CN=Trivet Service CA,O=Trivet"


@pytest.mark.parametrize("authority", AuthorityName)
def test_a_long_cluster_name_is_cut_to_what_a_common_name_holds(authority: AuthorityName) -> None:
    (common_name,) = root_subject(authority, "c" * 63).get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(common_name.value) == 64


def test_a_root_is_valid_from_five_minutes_ago_in_whole_seconds() -> None:
    validity = root_validity(NOW + timedelta(microseconds=5))
    assert validity.not_before == NOW - timedelta(minutes=5)
    assert validity.lifetime == YEARS


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA-2048", "RSA-4096"])
def test_a_root_as_kubeadm_makes_it_is_imported(kind: str) -> None:
    key = private_key(kind)
    check_imported_root(foreign_root(CA, KUBEADM_USAGE, key=key), key, NOW)
    check_imported_root(foreign_root(CA, key=key), key, NOW)


def test_a_certificate_that_is_not_a_ca_is_not_imported() -> None:
    leaf = x509.BasicConstraints(ca=False, path_length=None)
    for extensions in ((), (leaf,), (usage(cert_sign=True),), (CA, usage(cert_sign=False))):
        assert "not a CA" in refusal(foreign_root(*extensions))


def test_a_root_that_no_leaf_could_name_as_its_issuer_is_not_imported() -> None:
    assert "not a CA" in refusal(foreign_root(CA, subject=x509.Name([])))
    latin_1 = (
        foreign_root(CA).public_bytes(Encoding.DER).replace(b"\x0c\x0akubernetes", b"\x14\x0akubernet\xe9s")
    )
    assert "not a CA" in refusal(from_der(latin_1))


def test_a_root_with_extensions_that_cannot_be_read_is_not_imported() -> None:
    der = foreign_root(CA, usage(cert_sign=True)).public_bytes(Encoding.DER)
    doubled = der.replace(bytes.fromhex("0603551d0f"), bytes.fromhex("0603551d13"))
    assert "not a CA" in refusal(from_der(doubled))


def test_a_ca_that_is_not_self_signed_is_not_imported() -> None:
    other = private_key("P-256", 1)
    assert "not self-signed" in refusal(foreign_root(CA, issuer=dn("other")))
    assert "not self-signed" in refusal(foreign_root(CA, signer=other))


def test_a_root_outside_its_validity_is_not_imported() -> None:
    for start in (NOW + timedelta(seconds=1), NOW - YEARS - timedelta(seconds=1)):
        assert "valid from" in refusal(foreign_root(CA, start=start))
    check_imported_root(foreign_root(CA, start=NOW - YEARS), private_key("P-256"), NOW)


@pytest.mark.parametrize(
    "key",
    [
        private_key("Ed25519"),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP224R1()),
    ],
    ids=["Ed25519", "secp256k1", "P-224"],
)
def test_a_root_with_a_key_of_another_kind_is_not_imported(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    assert "P-256, P-384 or P-521" in refusal(foreign_root(CA, key=key), key)
    assert "P-256, P-384 or P-521" in refusal(foreign_root(CA), "no key at all")


def test_a_root_with_a_short_rsa_key_is_not_imported() -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  it is what must be refused
    assert "fewer than 2048 bits" in refusal(foreign_root(CA, key=key), key)


def test_a_root_is_not_imported_with_anothers_key() -> None:
    assert "does not belong" in refusal(foreign_root(CA), private_key("P-256", 1))
    assert "does not belong" in refusal(foreign_root(CA), private_key("RSA-2048"))


@pytest.mark.parametrize(
    "form", [_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.BMPString, _ASN1Type.IA5String]
)
def test_a_leaf_repeats_an_imported_roots_name_octet_by_octet(form: _ASN1Type) -> None:
    key = private_key("P-384")
    attributes = [(NameOID.ORGANIZATION_NAME, "org"), (NameOID.COMMON_NAME, "kubernetes")]
    rdn = x509.RelativeDistinguishedName([x509.NameAttribute(oid, text, form) for oid, text in attributes])
    anchor = foreign_root(CA, key=key, subject=x509.Name([rdn, rdn]))
    leaf = plan(PROFILES["admin"], private_key("P-256"))
    validity = Validity(NOW, NOW + timedelta(days=4))
    planned = replace(leaf, issuer=issuer_of(anchor), validity=validity)
    signed = sign(certificate_builder(planned), key).public_bytes(Encoding.DER)
    check_signed(planned, signed).verify_directly_issued_by(anchor)
    assert signed.count(anchor.subject.public_bytes()) == 1
