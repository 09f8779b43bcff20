from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, ObjectIdentifier
from tests.support.reference_builder import certificate_builder
from tests.unit.pki.golden import check_golden
from tests.unit.pki.samples import (
    EVERY_PROFILE,
    KEY_KINDS,
    NOW,
    ROOT_KINDS,
    PrivateKey,
    dn,
    plan,
    private_key,
    root,
    sign,
    signed,
    tlv,
)

from trivet.pki.assembly import assemble, certificate_of
from trivet.pki.errors import BadPublicKeyError
from trivet.pki.keys import KeyAlgorithm, signature_algorithm, spki
from trivet.pki.kubernetes import PROFILES
from trivet.pki.locations import COMPLETE, StatusLocations, issuer_path, status_locations
from trivet.pki.names import DnsName, Names
from trivet.pki.plan import (
    Issuer,
    Plan,
    WronglySignedError,
    check_signed,
    issuer_of,
    plan_certificate,
)
from trivet.pki.profiles import Profile, StatusPolicy
from trivet.pki.roots import root_builder
from trivet.pki.serials import SerialNumber
from trivet.pki.validity import Validity

SECOND = timedelta(seconds=1)
PROFILE = PROFILES["kubelet-serving"]


def by_name(profile: Profile) -> str:
    return profile.name


@pytest.mark.parametrize("root_kind", ROOT_KINDS)
@pytest.mark.parametrize("kind", KEY_KINDS)
@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=by_name)
def test_what_is_signed_as_planned_passes_the_check(profile: Profile, kind: str, root_kind: str) -> None:
    planned = plan(profile, private_key(kind), root_kind)
    certificate = check_signed(planned, signed(planned, root_kind))
    certificate.verify_directly_issued_by(root(root_kind, profile.authority)[0])
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert tuple(usages.value) == profile.usages
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment is kind.startswith("RSA")
    assert not any([usage.value.key_cert_sign, usage.value.crl_sign])


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(PROFILE, private_key("P-256"))


OTHER_KEY = private_key("P-256", 1).public_key()
ECDSA_SHA256 = signature_algorithm(OTHER_KEY).identifier
OTHER_NAME = DnsName("b.example")
OTHER_ADDRESS = ipaddress.ip_address("192.0.2.99")
# One change for every field of a plan, and the name under which the check reports it.
CHANGES: dict[str, tuple[str, Callable[[Plan], Plan]]] = {
    "profile.usages": (
        "extensions",
        lambda p: replace(p, profile=replace(p.profile, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))),
    ),
    "profile.usages, one more": (
        "extensions",
        lambda p: replace(
            p, profile=replace(p.profile, usages=(*p.profile.usages, ExtendedKeyUsageOID.CODE_SIGNING))
        ),
    ),
    "names.common_name": ("subject", lambda p: replace(p, names=replace(p.names, common_name="b"))),
    "names.organizations": ("subject", lambda p: replace(p, names=replace(p.names, organizations=()))),
    "names.dns_names": (
        "extensions",
        lambda p: replace(p, names=replace(p.names, dns_names=(DnsName("b"),))),
    ),
    "names.ip_addresses": (
        "extensions",
        lambda p: replace(p, names=replace(p.names, ip_addresses=(*p.names.ip_addresses, OTHER_ADDRESS))),
    ),
    "public_key": (
        "subjectPublicKeyInfo, extensions",
        lambda p: replace(p, public_key=OTHER_KEY, spki=spki(OTHER_KEY)),
    ),
    "validity.not_before": (
        "validity",
        lambda p: replace(p, validity=replace(p.validity, not_before=p.validity.not_before + SECOND)),
    ),
    "validity.not_after": (
        "validity",
        lambda p: replace(p, validity=replace(p.validity, not_after=p.validity.not_after + SECOND)),
    ),
    "profile.status": (
        "extensions",
        lambda p: replace(p, profile=replace(p.profile, status=StatusPolicy.NO_REV_AVAIL)),
    ),
    "locations.issuer": (
        "extensions",
        lambda p: replace(p, locations=replace(p.locations, issuer="http://b")),  # type: ignore[type-var]
    ),
    "locations.crl": (
        "extensions",
        lambda p: replace(p, locations=replace(p.locations, crl="http://b")),  # type: ignore[type-var]
    ),
    "locations.ocsp": (
        "extensions",
        lambda p: replace(p, locations=replace(p.locations, ocsp="http://b")),  # type: ignore[type-var]
    ),
    "locations.ocsp, none": (
        "extensions",
        lambda p: replace(p, locations=replace(p.locations, ocsp=None)),  # type: ignore[type-var]
    ),
    "locations": ("extensions", lambda p: replace(p, locations=None)),
    "serial": ("serialNumber", lambda p: replace(p, serial=SerialNumber(p.serial + 1))),
    "issuer.subject": ("issuer", lambda p: replace(p, issuer=replace(p.issuer, subject=dn("b")))),
    "issuer.key_identifier": (
        "extensions",
        lambda p: replace(p, issuer=replace(p.issuer, key_identifier=b"b" * 20)),
    ),
    "issuer.algorithm": (
        "signature, signatureAlgorithm",
        lambda p: replace(p, issuer=replace(p.issuer, algorithm=ECDSA_SHA256)),
    ),
}


def test_every_field_that_a_certificate_states_is_changed_below() -> None:
    changed = {name.partition(",")[0] for name in CHANGES} | {"spki"}  # changed along with the public key
    stated = {"profile.usages", "profile.status", "public_key", "spki", "serial", "locations"}
    stated |= {f"locations.{field.name}" for field in fields(StatusLocations)}
    for part in (Names, Validity, Issuer):
        stated |= {f"{part.__name__.lower()}.{field.name}" for field in fields(part)}
    # The issuer's own validity is a bound, not a statement: it has a test of its own.
    assert changed == stated - {"issuer.validity"}
    assert {field.name for field in fields(Plan)} == {name.split(".")[0] for name in stated}


@pytest.mark.parametrize("name", CHANGES)
def test_a_certificate_that_differs_from_its_plan_does_not_leave(planned: Plan, name: str) -> None:
    part, change = CHANGES[name]
    check_signed(planned, assembled(planned))
    with pytest.raises(WronglySignedError, match=f"in {part}$"):
        check_signed(planned, assembled(change(planned)))


@pytest.mark.parametrize(
    "name", sorted(CHANGES.keys() - {"issuer.algorithm"})
)  # the builder chooses it itself
def test_the_check_finds_the_same_in_what_cryptographys_builder_made(planned: Plan, name: str) -> None:
    part, change = CHANGES[name]
    with pytest.raises(WronglySignedError, match=f"in {part}$"):
        check_signed(planned, signed(change(planned)))


def assembled(planned: Plan) -> bytes:
    """Assemble and sign what is planned, unchecked."""
    _, key = root()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    message = assemble(planned)
    return certificate_of(message, planned.issuer.algorithm, key.sign(message, ec.ECDSA(hashes.SHA384())))


def test_a_key_whose_octets_are_those_of_another_does_not_leave(planned: Plan) -> None:
    mixed_up = replace(planned, spki=spki(OTHER_KEY))
    for der in (signed(planned), assembled(mixed_up)):
        with pytest.raises(WronglySignedError, match="in subjectPublicKeyInfo"):
            check_signed(mixed_up, der)


@pytest.mark.parametrize("name", ["kubelet-serving", "kube-apiserver-client"])
@pytest.mark.parametrize("kind", ["P-384", "RSA-4096"])
def test_no_octet_of_what_is_signed_can_change_unnoticed(name: str, kind: str) -> None:
    planned = plan(PROFILES[name], private_key(kind))
    der = assembled(planned)
    signature = x509.load_der_x509_certificate(der).signature
    for place in range(len(der) - len(signature)):
        for changed in {der[place] ^ 1, der[place] ^ 0x80, 0, 0xFF} - {der[place]}:
            wrong = der[:place] + bytes([changed]) + der[place + 1 :]
            with pytest.raises(WronglySignedError):
                check_signed(planned, wrong)


def test_the_signature_algorithm_is_checked_in_both_places(planned: Plan) -> None:
    der = assembled(planned)
    first, last = der.index(planned.issuer.algorithm), der.rindex(planned.issuer.algorithm)
    size = len(planned.issuer.algorithm)
    for place, part in ((first, "signature"), (last, "signatureAlgorithm")):
        wrong = der[:place] + ECDSA_SHA256 + der[place + size :]
        with pytest.raises(WronglySignedError, match=f"in {part}$"):
            check_signed(planned, wrong)


@pytest.mark.parametrize(
    "bounds",
    [
        lambda v: Validity(v.not_before + SECOND, v.not_after),
        lambda v: Validity(v.not_before, v.not_after - SECOND),
    ],
    ids=["early", "late"],
)
def test_a_certificate_beyond_its_issuers_validity_does_not_leave(
    planned: Plan, bounds: Callable[[Validity], Validity]
) -> None:
    narrowed = replace(planned, issuer=replace(planned.issuer, validity=bounds(planned.validity)))
    with pytest.raises(WronglySignedError, match=r"in bounds$"):
        check_signed(narrowed, signed(narrowed))


def test_a_certificate_that_is_never_valid_does_not_leave(planned: Plan) -> None:
    empty = replace(planned, validity=Validity(planned.validity.not_before, planned.validity.not_before))
    with pytest.raises(WronglySignedError, match=r"in bounds$"):
        check_signed(empty, signed(empty))


def _rebuilt(planned: Plan, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    """Sign the plan with other extensions."""
    builder = certificate_builder(planned)
    builder._extensions = []
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    return sign(builder, root()[1]).public_bytes(Encoding.DER)


def test_every_extension_must_be_as_planned(planned: Plan) -> None:
    certificate = check_signed(planned, signed(planned))
    right = [(extension.value, extension.critical) for extension in certificate.extensions]
    assert [*check_signed(planned, _rebuilt(planned, *right)).extensions] == [*certificate.extensions]
    extra = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0")
    ca = x509.BasicConstraints(ca=True, path_length=None)
    wrong = [
        [*right, (extra, False)],
        [*reversed(right)],
        [(ca, True), *right[1:]],
        [],
    ]
    for index, (value, critical) in enumerate(right):
        wrong.append([*right[:index], *right[index + 1 :]])
        wrong.append([*right[:index], (value, not critical), *right[index + 1 :]])
    for extensions in wrong:
        with pytest.raises(WronglySignedError, match="extensions"):
            check_signed(planned, _rebuilt(planned, *extensions))


def test_every_key_usage_must_be_as_planned(planned: Plan) -> None:
    right = [*check_signed(planned, signed(planned)).extensions]
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "crl_sign"]
    names += ["key_agreement", "key_cert_sign", "encipher_only", "decipher_only"]
    usage = next(extension.value for extension in right if isinstance(extension.value, x509.KeyUsage))
    have = {name: bool(getattr(usage, name)) for name in names if "cipher_only" not in name}
    for changed, value in have.items():
        flags = {**have, "encipher_only": False, "decipher_only": False, changed: not value}
        extensions = [
            (x509.KeyUsage(**flags) if extension.value == usage else extension.value, extension.critical)
            for extension in right
        ]
        with pytest.raises(WronglySignedError, match=r"in extensions$"):
            check_signed(planned, _rebuilt(planned, *extensions))


def test_the_issuers_name_must_be_the_same_octets(planned: Plan) -> None:
    # PrintableString for UTF8String: the same for x509.Name, another for Go's chain building.
    der = signed(planned)
    title = b"blue Cluster CA"
    changed = der.replace(b"\x0c" + bytes([len(title)]) + title, b"\x13" + bytes([len(title)]) + title)
    assert changed != der
    with pytest.raises(WronglySignedError, match=r"in issuer$"):
        check_signed(planned, changed)
    node = planned.names.common_name.encode()
    changed = der.replace(b"\x0c" + bytes([len(node)]) + node, b"\x16" + bytes([len(node)]) + node)
    with pytest.raises(WronglySignedError, match=r"in subject$"):
        check_signed(planned, changed)


def test_a_certificate_of_another_version_does_not_leave(planned: Plan) -> None:
    _, key = root()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    v3 = x509.load_der_x509_certificate(signed(planned))
    head, version, rest = v3.tbs_certificate_bytes.partition(bytes.fromhex("a003020102"))
    assert (len(head), version) == (4, bytes.fromhex("a003020102"))
    v1, algorithm = tlv(0x30, rest), bytes.fromhex("300a06082a8648ce3d040303")
    signature = key.sign(v1, ec.ECDSA(hashes.SHA384()))
    with pytest.raises(WronglySignedError, match=r"in version$"):
        check_signed(planned, tlv(0x30, v1, algorithm, tlv(0x03, b"\0", signature)))


def test_what_cannot_be_read_does_not_leave(planned: Plan) -> None:
    der = signed(planned)
    no_version = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
    doubled = _doubled_extension(planned)
    for broken in (b"", der[:-1], der + b"\0", no_version, doubled):
        with pytest.raises(WronglySignedError, match="cannot be read"):
            check_signed(planned, broken)


def _doubled_extension(planned: Plan) -> bytes:
    """Sign the plan and give the subjectKeyIdentifier the number of basicConstraints."""
    return signed(planned).replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d13"))


def test_a_plan_takes_the_key_of_its_profile_only() -> None:
    planned = plan(PROFILE, private_key("P-384"))
    narrow = replace(PROFILE, keys=frozenset([KeyAlgorithm.P256]))
    with pytest.raises(BadPublicKeyError, match="ECDSA-P256"):
        plan_certificate(
            narrow, planned.names, planned.public_key, planned.validity, planned.serial, planned.issuer
        )


def test_the_subject_has_each_group_in_an_rdn_of_its_own_before_the_common_name() -> None:
    planned = replace(plan(PROFILE, private_key("P-384")), names=Names("jane", ("b", "a")))
    builder = certificate_builder(planned)
    named = builder.sign(private_key("P-384"), hashes.SHA384()).subject
    assert [rdn.rfc4514_string() for rdn in named.rdns] == ["O=b", "O=a", "CN=jane"]
    assert planned.subject_der == named.public_bytes()


def test_an_issuers_key_identifier_is_what_its_certificate_states() -> None:
    certificate, key = root()
    public_key = key.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    builder = root_builder(certificate.subject, public_key, SerialNumber(1), Validity(NOW, NOW + SECOND))
    usual = x509.SubjectKeyIdentifier.from_public_key(public_key)
    others = [one for one in builder._extensions if one.oid != ExtensionOID.SUBJECT_KEY_IDENTIFIER]
    for stated, identifier in (
        (usual, usual.digest),
        (x509.SubjectKeyIdentifier(b"stated"), b"stated"),
        (None, usual.digest),
    ):
        builder._extensions = others
        wanted = builder.add_extension(stated, critical=False) if stated else builder
        issuer = issuer_of(sign(wanted, key))
        validity = Validity(NOW, NOW + SECOND)
        algorithm = signature_algorithm(public_key).identifier
        assert issuer == Issuer(certificate.subject, identifier, validity, algorithm)


def deterministic(key: PrivateKey) -> x509.Certificate:
    """Make a root and a leaf with a signature that holds nothing random (RFC 8032)."""
    public_key = key.public_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Trivet"),
            x509.NameAttribute(NameOID.COMMON_NAME, "golden"),
        ]
    )
    validity = Validity(NOW, NOW + timedelta(days=3650))
    anchor = sign(root_builder(name, public_key, SerialNumber(1), validity), key)
    leaf = plan(PROFILE, private_key("Ed25519", 1))
    issuer = issuer_of(anchor)
    path = issuer_path("blue", PROFILE.authority, issuer.key_identifier)
    locations = status_locations("http://pki.example.org", path, COMPLETE, has_ocsp=True)
    validity = Validity(NOW, NOW + timedelta(days=4))
    planned = replace(leaf, issuer=issuer, validity=validity, locations=locations)
    return check_signed(planned, sign(certificate_builder(planned), key).public_bytes(Encoding.DER))


def test_the_bytes_of_a_certificate_do_not_change_unnoticed() -> None:
    certificate = deterministic(private_key("Ed25519", 2))
    check_golden("tests/golden/certificate.pem", certificate.public_bytes(Encoding.PEM).decode())


def test_the_samples_are_what_the_tests_take_them_for() -> None:
    assert isinstance(root("RSA-4096")[1], rsa.RSAPrivateKey)
    assert isinstance(root("P-384")[1], ec.EllipticCurvePrivateKey)
