"""Rows of every table with the least effort: whatever a test does not care about has a default."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection
from tests.support.clock import START
from tests.support.signing_requests import pooled_key
from tests.unit.pki.samples import sign

from trivet.pki.names import DnsName, Names, parse_dns_name
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import Entry
from trivet.pki.roots import root_builder, root_subject, root_validity
from trivet.pki.search import certificate_keys
from trivet.pki.serials import serial_from_random
from trivet.pki.subjects import ClusterNames
from trivet.store import authorities, certificates, clusters, decisions, revocations
from trivet.store.authorities import Generation, GenerationState
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import ALL_CLUSTERS, Cluster
from trivet.store.decisions import Decision
from trivet.store.revocations import StandingEntry, StoredRevocation

_numbers = count(1)


def new_id() -> UUID:
    """Make an id that sorts after all before it."""
    return UUID(int=(7 << 76) | next(_numbers))


@cache
def root_der(number: int) -> bytes:
    """Make a CA certificate; the same number gives the same key."""
    key = pooled_key(number)
    subject = root_subject(AuthorityName.CLUSTER, f"cluster-{number}")
    public = key.public_key()
    builder = root_builder(subject, public, serial_from_random(number + 1), root_validity(START))
    return sign(builder, key).public_bytes(Encoding.DER)


def add_cluster(connection: Connection, name: str = "blue") -> Cluster:
    names = ClusterNames(
        DnsName(f"api.{name}.example"), ipaddress.ip_network("10.96.0.0/12"), DnsName("cluster.local")
    )
    cluster = Cluster(new_id(), name, names, START)
    clusters.add(connection, cluster)
    return cluster


def add_generation(
    connection: Connection,
    cluster: Cluster | None,
    name: AuthorityName = AuthorityName.CLUSTER,
    *,
    key: int = 100,
    state: GenerationState = GenerationState.ACTIVE,
    authority_id: UUID | None = None,
) -> Generation:
    """Add a generation, and its authority unless there is one."""
    if authority_id is None:
        authority_id = new_id()
        owner = cluster.id if cluster else None
        authorities.add(connection, authorities.Authority(authority_id, owner, name))
    generation = Generation(new_id(), authority_id, name, state, root_der(key), b"encrypted", START)
    authorities.add_generation(connection, generation)
    return generation


def add_decision(connection: Connection, cluster: Cluster | None, **changed: object) -> Decision:
    record = Decision(
        new_id(), START, cluster.id if cluster else None, "token:1", "issue", "admin", "ab" * 32, "issued"
    )
    record = replace(record, **changed)  # type: ignore[arg-type]
    decisions.add_all(connection, [record])
    return record


def names(common_name: str = "jane", groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Names:
    """Read each host as an address where it is one, else as a DNS name."""
    dns_names: list[DnsName] = []
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for host in hosts:
        try:
            addresses.append(ipaddress.ip_address(host))
        except ValueError:
            dns_names.append(parse_dns_name(host, wildcard=True))
    return Names(common_name, groups, tuple(dns_names), tuple(addresses))


def add_certificate(
    connection: Connection,
    generation: Generation,
    cluster: Cluster | None,
    named: Names | None = None,
    *,
    serial: str | None = None,
    profile: str = "admin",
    node: str | None = None,
    spki_sha256: str = "0c" * 32,
    issued_at: datetime = START,
    not_after: datetime | None = None,
    parent: StoredCertificate | None = None,
) -> StoredCertificate:
    named = named or names()
    number = next(_numbers)
    begin = issued_at.replace(microsecond=0)
    row = StoredCertificate(
        id=new_id(),
        cluster_id=cluster.id if cluster else None,
        authority=generation.name.value,
        generation_id=generation.id,
        serial=serial or format(number, "x"),
        profile=profile,
        node=node,
        common_name=named.common_name,
        spki_sha256=spki_sha256,
        issued_at=issued_at,
        not_before=begin - timedelta(minutes=5),
        not_after=not_after or begin + timedelta(days=4),
        der=b"der %d" % number,
        parent_id=parent.id if parent else None,
        decision_id=add_decision(connection, cluster).id,
        requester="token:1",
    )
    certificates.add_all(connection, [(row, certificate_keys(named))])
    return row


def stored_revocation(
    scope: UUID, *entries: Entry, name: str = "object", namespace: str = "kube-system"
) -> StoredRevocation:
    revocation_id = new_id()
    standing = tuple(
        StandingEntry(new_id(), revocation_id, scope, position, entry, f"{namespace}/{name}")
        for position, entry in enumerate(entries)
    )
    return StoredRevocation(
        revocation_id, scope, namespace, name, "why", 1, START, "token:1", {"l": "1"}, {"a": "2"}, standing
    )


def add_revocation(
    connection: Connection, scope: UUID, *entries: Entry, name: str = "object"
) -> StoredRevocation:
    stored = stored_revocation(scope, *entries, name=name)
    revocations.add(connection, stored, revocations.next_version(connection, scope))
    return stored


def add_all_clusters(connection: Connection) -> UUID:
    """Begin the set of revocations that hold in all clusters, as an installation does."""
    revocations.add_set(connection, ALL_CLUSTERS)
    return ALL_CLUSTERS
