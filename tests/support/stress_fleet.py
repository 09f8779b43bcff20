"""Many certificates that one entry names, stored in bulk, so that marking them takes its time."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from tests.support.world import World

from trivet.pki.names import DnsName, Names
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import Entry, EntryKind
from trivet.pki.search import certificate_keys
from trivet.store import authorities, clusters, issuing
from trivet.store.certificates import StoredCertificate

REQUESTER = "fleet"
_ROUNDS = 1_000_000  # apart, in serial numbers


def add_fleet(world: World, cluster: str, number: int, entry: Entry, size: int, parent: UUID | None) -> None:
    """Store as many live certificates, all named by the entry; a serial names them as renewed from `parent`."""
    now = world.clock()
    with world.authority.database.write() as connection:
        home = clusters.get(connection, cluster)
        generation = authorities.active_generation(connection, home.id, AuthorityName.CLUSTER)
        rows = []
        for place, (names, key) in enumerate(_identities(entry, size)):
            serial = format((number + 1) * _ROUNDS + place, "x")
            stored = _row(world, home.id, generation.id, names, key, serial, parent, now)
            rows.append((stored, certificate_keys(names)))
        issuing.write(connection, issuing.Results((), rows), now)


def _identities(entry: Entry, size: int) -> Iterator[tuple[Names, str]]:
    for place in range(size):
        name, key = f"f{place}", "0f" * 32
        match entry.kind:
            case EntryKind.GROUP:
                yield Names(name, (entry.value,)), key
            case EntryKind.COMMON_NAME:
                yield Names(entry.value), key
            case EntryKind.DNS:
                host = name + entry.value if entry.is_suffix else entry.value
                yield Names(name, (), (DnsName(host),)), key
            case EntryKind.IP:
                network = ipaddress.ip_network(entry.value)
                yield Names(name, (), (), (network[place % network.num_addresses],)), key
            case EntryKind.PUBLIC_KEY:
                yield Names(name), entry.value
            case EntryKind.SERIAL_NUMBER:
                yield Names(name), key


def _row(
    world: World,
    cluster_id: UUID,
    generation_id: UUID,
    names: Names,
    key: str,
    serial: str,
    parent: UUID | None,
    now: datetime,
) -> StoredCertificate:
    return StoredCertificate(
        id=world.authority.new_id(now),
        cluster_id=cluster_id,
        authority=AuthorityName.CLUSTER,
        generation_id=generation_id,
        serial=serial,
        profile="kube-apiserver-client",
        node=None,
        common_name=names.common_name,
        spki_sha256=key,
        issued_at=now,
        not_before=now,
        not_after=now + timedelta(days=1),
        der=b"",
        parent_id=parent,
        decision_id=world.authority.new_id(now),
        requester=REQUESTER,
    )
