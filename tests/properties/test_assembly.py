"""What is assembled is what cryptography's builder makes, octet for octet."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties import strategies
from tests.support.reference_builder import certificate_builder
from tests.unit.pki.samples import EVERY_PROFILE, NOW, PrivateKey, dn, plan, private_key, root, sign

from trivet.pki.assembly import assemble, certificate_of
from trivet.pki.keys import key_identifier, spki
from trivet.pki.kubernetes import PROFILES
from trivet.pki.locations import StatusLocations
from trivet.pki.names import MAX_DNS_NAME, DnsName, Names, is_attribute
from trivet.pki.plan import Issuer, Plan, check_signed, issuer_of
from trivet.pki.profiles import Profile
from trivet.pki.roots import root_builder
from trivet.pki.serials import SERIAL_BITS, SerialNumber
from trivet.pki.validity import Validity

KINDS = ("P-256", "P-384", "P-521", "RSA-3072", "Ed25519")
# Two that Trivet makes, and some that a running cluster may bring along.
ISSUER_KINDS = ("P-384", "RSA-4096", "P-256", "P-521", "RSA-2048")
EVER = Validity(datetime(1950, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
ODD_SUBJECT = x509.Name(
    [
        x509.RelativeDistinguishedName(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
                x509.NameAttribute(NameOID.LOCALITY_NAME, "Würzburg"),
            ]
        ),
        x509.RelativeDistinguishedName(
            [x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes", _ASN1Type.PrintableString)]
        ),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "example")]),
    ]
)


@cache
def issuers() -> tuple[tuple[Issuer, PrivateKey], ...]:
    """Give issuers of each kind; that of the last has a name and a key identifier that Trivet would not make."""
    made = [(issuer_of(root(kind)[0]), root(kind)[1]) for kind in ISSUER_KINDS]
    key = private_key("P-384", 8)
    builder = root_builder(ODD_SUBJECT, key.public_key(), SerialNumber(1), Validity(NOW, EVER.not_after))
    stated = x509.SubjectKeyIdentifier(b"x" * 200)
    builder._extensions = [x509.Extension(stated.oid, critical=False, value=stated)]
    odd = sign(builder, key)
    return tuple((replace(issuer, validity=EVER), key) for issuer, key in [*made, (issuer_of(odd), key)])


def check_same(planned: Plan, key: PrivateKey) -> None:
    reference = sign(certificate_builder(planned), key)
    assert assemble(planned) == reference.tbs_certificate_bytes
    der = certificate_of(assemble(planned), planned.issuer.algorithm, reference.signature)
    assert der == reference.public_bytes(Encoding.DER)
    assert check_signed(planned, der) == reference


@pytest.mark.parametrize("number", range(len(ISSUER_KINDS) + 1))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_both_ways_give_the_same_octets_for_every_profile_key_and_issuer(
    profile: Profile, kind: str, number: int
) -> None:
    issuer, key = issuers()[number]
    check_same(replace(plan(profile, private_key(kind)), issuer=issuer), key)


LONG_DNS_NAME = DnsName(".".join(["a" * 63] * 3 + ["b" * 61]))
LONGEST = Names(
    "ü" * 32,
    tuple(f"{number:02}" + "\U0001d518" * 15 for number in range(20)),
    (LONG_DNS_NAME, *(DnsName(f"*.n{number}.{'c' * 63}.example") for number in range(69))),
    (
        *(ipaddress.IPv4Address(number) for number in (0, 1, 2**32 - 1)),
        *(ipaddress.IPv6Address(2**number) for number in range(26)),
        ipaddress.IPv6Address(2**128 - 1),
    ),
)


@pytest.mark.parametrize(
    "names",
    [
        LONGEST,
        Names("a"),
        Names("a" * 64, ("b" * 64,)),
        Names("\u202e\U0001f980 ~!*'+,\"\\<>;=#", ("O=a,CN=b", " a ")),
        Names("a", ("b",), (), (ipaddress.ip_address("2001:db8::1"),)),
        Names("a", (), (DnsName("*.a"),), ()),
        Names("a", tuple("abc")),
    ],
    ids=range(7),
)
def test_odd_names_are_written_as_cryptography_writes_them(names: Names) -> None:
    assert len(LONG_DNS_NAME) == MAX_DNS_NAME
    assert len(LONGEST.dns_names) + len(LONGEST.ip_addresses) == 100
    assert all(map(is_attribute, (names.common_name, *names.organizations)))
    for issuer, key in issuers()[:1] + issuers()[-1:]:
        check_same(
            replace(plan(PROFILES["etcd-peer"], private_key("P-256")), issuer=issuer, names=names), key
        )


moments = st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
edges = st.sampled_from([datetime(2050, 1, 1, tzinfo=UTC), datetime(2049, 12, 31, 23, 59, 58, tzinfo=UTC)])


@given(
    profile=st.sampled_from(EVERY_PROFILE),
    kind=st.sampled_from(KINDS),
    number=st.sampled_from([0, 2, 3, 5]),
    names=strategies.names,
    serial=st.integers(1, 2**SERIAL_BITS - 1) | st.integers(1, 2**17),
    begin=moments | edges,
    lifetime=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
    locations=st.none() | strategies.status_locations,
)
@settings(max_examples=300)
def test_both_ways_give_the_same_octets_for_any_plan(
    profile: Profile,
    kind: str,
    number: int,
    names: Names,
    serial: int,
    begin: datetime,
    lifetime: timedelta,
    locations: StatusLocations | None,
) -> None:
    issuer, key = issuers()[number]
    begin = min(begin, EVER.not_after - timedelta(days=3651))
    validity = Validity(begin, begin + timedelta(seconds=lifetime // timedelta(seconds=1)))
    planned = replace(plan(profile, private_key(kind)), issuer=issuer, names=names, validity=validity)
    check_same(replace(planned, serial=SerialNumber(serial), locations=locations), key)


@pytest.mark.parametrize("kind", [*KINDS, "RSA-2048", "RSA-4096"])
def test_the_key_identifier_is_that_of_cryptography(kind: str) -> None:
    for number in range(3):
        key = private_key(kind, number).public_key()
        assert key_identifier(key, spki(key)) == x509.SubjectKeyIdentifier.from_public_key(key).digest


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_what_is_prepared_for_one_kind_is_not_given_to_another(seed: int) -> None:
    # The order in which kinds come decides what is prepared when.
    made = issuers()
    for step in range(6):
        issuer, _ = made[(seed + step) % len(made)]
        profile = EVERY_PROFILE[(seed * 7 + step) % len(EVERY_PROFILE)]
        planned = replace(plan(profile, private_key(KINDS[(seed // 7 + step) % len(KINDS)])), issuer=issuer)
        der = certificate_of(assemble(planned), issuer.algorithm, b"\x30\x00")
        check_signed(planned, der)


def test_the_samples_have_an_issuer_that_trivet_would_not_make() -> None:
    odd, _ = issuers()[-1]
    assert (len(odd.subject.rdns), len(odd.key_identifier)) == (3, 200)
    assert dn("kubernetes").public_bytes() not in odd.subject_der
