"""Damaged inputs at the readers of bytes: what comes out is what was meant, or a refusal, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from tests.fuzz import seeds
from tests.fuzz.mutate import damaged, damaged_der, damaged_text, damaged_value
from tests.fuzz.tally import ACCEPTED, TIMES, generator, outcome_of, run
from tests.support.clock import Clock
from tests.support.world import World, make_authority, prepare_database
from tests.unit.pki.samples import NOW

from trivet.authority.access import Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.install import OPERATOR
from trivet.authority.tokens import create_token
from trivet.pki.csr import CertificateRequest, parse_certificate_request
from trivet.pki.manifest import parse_renew_revocation
from trivet.pki.names import canonical_ip, parse_dns_name
from trivet.pki.possession import check_fresh, parse_renewal_message
from trivet.web.rest import BODY_SCHEMAS
from trivet.web.rest.bodies import validated
from trivet.web.rest.documents import read_document
from trivet.web.rest.negotiation import JSON, YAML

# cryptography warns of attributes that are too long; elsewhere than in tests that is no error.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Attribute's length")]
_ISSUED = 500  # of the requests that were accepted; a certificate takes its time

# How many of each; together more than two hundred thousand.
COUNTS = {
    "csr bodies": 60_000,
    "csr infos": 70_000,
    "json manifests": 30_000,
    "yaml manifests": 5_000,
    "messages": 10_000,
    "signed messages": 12_000,
    "tokens": 15_000,
    "json bodies": 20_000,
}


def test_there_are_as_many_inputs_as_the_documentation_says() -> None:
    assert sum(COUNTS.values()) >= 200_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    url = f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    yield world
    world.authority.database.dispose()


def names_in(request: x509.CertificateSigningRequest) -> set[object]:
    """Every name of a CSR, as cryptography reads it."""
    found: set[object] = {attribute.value for attribute in request.subject}
    for extension in request.extensions:
        for san in extension.value if isinstance(extension.value, x509.SubjectAlternativeName) else ():
            if isinstance(san, x509.DNSName):
                found.add(parse_dns_name(san.value, wildcard=True))
            elif isinstance(san, x509.IPAddress):
                found.add(canonical_ip(san.value))  # type: ignore[arg-type]  # networks are not SANs
    return found


def read_request(body: bytes) -> CertificateRequest:
    """Read a CSR; what was read says nothing that the CSR does not."""
    request = parse_certificate_request(body)
    said = {*request.organizations, *request.dns_names, *request.ip_addresses, request.common_name} - {""}
    assert said <= names_in(x509.load_der_x509_csr(request.der))
    return request


def csr_body(random: Random) -> bytes:
    body = random.choice(seeds.request_bodies())
    if body.startswith(b"---") and random.random() < 0.5:
        return damaged_text(body, random, seeds.request_bodies())
    change = damaged if body.startswith(b"---") or random.random() < 0.5 else damaged_der
    return change(body, random, seeds.request_bodies())


def csr_info(random: Random) -> bytes:
    info = random.choice(seeds.request_infos())
    change = damaged_der if random.random() < 0.7 else damaged
    return seeds.signed_info(change(info, random, seeds.request_infos()))


def test_a_damaged_request_is_read_or_refused() -> None:
    tally = run("csr bodies", COUNTS["csr bodies"], csr_body, read_request)
    assert {"badCSR", "badPublicKey"} <= set(tally)


def test_a_strange_request_that_is_well_signed_is_read_or_refused() -> None:
    tally = run("csr infos", COUNTS["csr infos"], csr_info, read_request)
    assert tally[ACCEPTED] > COUNTS["csr infos"] / 100
    assert tally["badCSR"] > COUNTS["csr infos"] / 100


def test_what_is_issued_for_a_strange_request_holds_its_names_and_the_profile_s_only(world: World) -> None:
    granted: list[str] = []

    def issue(body: bytes) -> None:
        request = read_request(body)
        hosts = bool(request.dns_names or request.ip_addresses)
        profile = "etcd-server" if hosts else "kube-apiserver-client"
        node = "node-1" if hosts else None
        issued = world.issue(profile, node, request=body)
        check_names(issued.stored.der, request, {"node-1"})
        granted.append(profile)

    strange = (csr_info(generator("issued", number)) for number in count())
    refused = 0
    while len(granted) < _ISSUED * TIMES:
        refused += outcome_of(issue, next(strange)) != ACCEPTED
    print(f"issued: {len(granted)}, refused: {refused}")  # noqa: T201
    assert set(granted) == {"etcd-server", "kube-apiserver-client"}


def check_names(der: bytes, request: CertificateRequest, granted: set[str]) -> None:
    """A certificate is for the request's key, and names nothing but what the request names or was granted."""
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.public_key() == request.public_key
    asked = names_in(x509.load_der_x509_csr(request.der)) | granted
    assert {attribute.value for attribute in certificate.subject} <= asked
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            assert {san.value for san in extension.value} <= asked
        if isinstance(extension.value, x509.BasicConstraints):
            assert not extension.value.ca


def read_manifest(body: bytes, media_type: str) -> None:
    read = parse_renew_revocation(read_document(body, media_type))
    assert read.entries
    for entry in read.entries:
        assert entry.not_before is None or entry.not_before.tzinfo is not None
        assert entry.value.encode(), "it can be stored"


def test_a_damaged_json_manifest_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        body = random.choice(seeds.json_manifests())
        return (
            damaged_text(body, random, seeds.json_manifests())
            if random.random() < 0.4
            else damaged_value(body, random)
        )

    tally = run("json manifests", COUNTS["json manifests"], make, lambda body: read_manifest(body, JSON))
    assert {ACCEPTED, "malformed", "badRevocation"} == set(tally)


def test_a_damaged_yaml_manifest_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        return damaged_text(random.choice(seeds.yaml_manifests()), random, seeds.yaml_manifests(), yaml=True)

    tally = run("yaml manifests", COUNTS["yaml manifests"], make, lambda body: read_manifest(body, YAML))
    assert {ACCEPTED, "malformed", "badRevocation"} == set(tally)


def read_message(body: bytes) -> None:
    message = parse_renewal_message(body)
    check_fresh(message, "blue", NOW)
    assert message.certificate.public_key() == seeds.held().public_key(), "who is known decides the rest"
    assert message.lifetime is None or message.lifetime >= timedelta(0)
    read_request(message.request)


def test_a_damaged_renewal_message_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        body = random.choice(seeds.messages())
        change = damaged_text if random.random() < 0.4 else damaged
        return change(body, random, seeds.messages())

    tally = run("messages", COUNTS["messages"], make, read_message)
    assert {"malformed", "unauthenticated"} <= set(tally)


def test_a_strange_renewal_message_that_is_well_signed_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        header, claims = random.choice(seeds.message_parts())
        others = (header, claims)
        if random.random() < 0.2:
            header, claims = damaged_text(header, random, others), damaged_text(claims, random, others)
        elif random.random() < 0.4:
            header = damaged_value(header, random)
        else:
            claims = damaged_value(claims, random)
        return seeds.message_of(header, claims)

    tally = run("signed messages", COUNTS["signed messages"], make, read_message)
    assert {ACCEPTED, "malformed", "unauthenticated", "badCSR"} <= set(tally)


def test_a_damaged_access_token_opens_nothing(world: World) -> None:
    _, secret = create_token(world.authority, OPERATOR, role=Role.AUDITOR)
    real = (secret.encode(), ("trivet_" + "A" * 43).encode())

    def read(body: bytes) -> None:
        token = body.decode("latin-1")
        authenticate_token(world.authority, token)
        assert token == secret

    def make(random: Random) -> bytes:
        change = damaged_text if random.random() < 0.3 else damaged
        return change(random.choice(real), random, real)

    tally = run("tokens", COUNTS["tokens"], make, read)
    assert tally["unauthenticated"] > COUNTS["tokens"] * 0.9
    assert outcome_of(read, real[0]) == ACCEPTED


def test_a_damaged_json_body_is_read_or_refused() -> None:
    models = {model.__name__: model for model in BODY_SCHEMAS}
    others = tuple(body for _, body in seeds.json_bodies())

    def make(random: Random) -> bytes:
        name, body = random.choice(seeds.json_bodies())
        odd = damaged_text(body, random, others) if random.random() < 0.4 else damaged_value(body, random)
        return name.encode() + b"\n" + odd

    def read(body: bytes) -> None:
        name, _, document = body.partition(b"\n")
        validated(models[name.decode()], document)

    tally = run("json bodies", COUNTS["json bodies"], make, read)
    assert {ACCEPTED, "malformed", "invalid"} == set(tally)
