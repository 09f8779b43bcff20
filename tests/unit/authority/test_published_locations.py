from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.context import Policy, Publication
from trivet.authority.install import issue_service_certificate
from trivet.authority.issue import IssuedCertificate
from trivet.pki.extensions import NO_REV_AVAIL
from trivet.pki.plan import stated_key_identifier

BASE = "http://pki.example.org"


def published(world: World, **chosen: object) -> World:
    """Give the same world with other settings."""
    policy = Policy(publication=Publication(BASE, **chosen))  # type: ignore[arg-type]  # each test gives its own
    return World(replace(world.authority, policy=policy), world.clock)


def points_of(issued: IssuedCertificate) -> list[str]:
    points = x509.load_der_x509_certificate(issued.stored.der).extensions.get_extension_for_class(
        x509.CRLDistributionPoints
    )
    assert not points.critical
    return [name.value for point in points.value for name in point.full_name or ()]


def access_of(issued: IssuedCertificate) -> dict[x509.ObjectIdentifier, str]:
    access = x509.load_der_x509_certificate(issued.stored.der).extensions.get_extension_for_class(
        x509.AuthorityInformationAccess
    )
    assert not access.critical
    return {described.access_method: described.access_location.value for described in access.value}


def path_of(issued: IssuedCertificate, authority: str = "cluster") -> str:
    ski = stated_key_identifier(x509.load_der_x509_certificate(issued.issuer)).hex()
    return f"{BASE}/pki/blue/{authority}/{ski}"


def test_a_certificate_says_where_its_issuer_and_its_crl_are(world: World) -> None:
    issued = published(world).issue("etcd-peer")
    path = path_of(issued, "etcd")
    assert points_of(issued) == [f"{path}.crl"]
    assert access_of(issued) == {AuthorityInformationAccessOID.CA_ISSUERS: f"{path}.crt"}


def test_it_names_a_responder_where_there_is_one(world: World) -> None:
    issued = published(world, has_ocsp=True).issue()
    assert access_of(issued)[AuthorityInformationAccessOID.OCSP] == f"{path_of(issued)}/ocsp"


def test_its_shard_is_chosen_when_it_is_issued(world: World) -> None:
    sharded = published(world, shards=3)
    for issued in [sharded.issue(node=f"node-{number}") for number in range(6)]:
        number = int(issued.stored.serial, 16) % 3 + 1
        assert points_of(issued) == [f"{path_of(issued)}/{number}-of-3.crl"]


def test_without_a_base_url_it_says_nothing(world: World) -> None:
    issued = world.issue()
    extensions = x509.load_der_x509_certificate(issued.stored.der).extensions
    told = {extension.oid for extension in extensions}
    assert told.isdisjoint(
        {x509.CRLDistributionPoints.oid, x509.AuthorityInformationAccess.oid, NO_REV_AVAIL}
    )


def test_a_renewed_certificate_says_what_the_settings_say_now(world: World) -> None:
    issued = published(world).renew(world.issue().stored)
    assert points_of(issued) == [f"{path_of(issued)}.crl"]


@pytest.mark.parametrize("settle", [lambda world: world, published], ids=["unset", "set"])
def test_trivets_own_certificate_says_that_there_is_no_status(
    world: World, settle: Callable[[World], World]
) -> None:
    issued = issue_service_certificate(settle(world).authority, csr(hosts=("ca.example",)))
    extensions = x509.load_der_x509_certificate(issued.stored.der).extensions
    told = {extension.oid: extension for extension in extensions}
    assert not told[NO_REV_AVAIL].critical
    # RFC 9608 section 3: never beside what says where to ask.
    assert told.keys().isdisjoint({x509.CRLDistributionPoints.oid, x509.AuthorityInformationAccess.oid})
