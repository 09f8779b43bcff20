"""Revocation entries in bulk, of all kinds, none of which names what the benchmark asks for."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.requests import CLUSTER
from trivet.pki.revocation import Entry, EntryKind
from trivet.store import clusters, revocations
from trivet.store.revocations import StandingEntry, StoredRevocation

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.store.engine import Database

_AT_ONCE = 10_000


def open_cluster(database: Database) -> UUID:
    """The id of the cluster that certificates are asked for in."""
    with database.read() as connection:
        found = clusters.find(connection, CLUSTER)
    if found is None:
        message = f"there is no cluster {CLUSTER}"
        raise LookupError(message)
    return found.id


def add_entries(database: Database, start: int, stop: int) -> None:
    """Let the entries of these numbers stand, in the scope of the cluster, through the store."""
    scope = open_cluster(database)
    for first in range(start, stop, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, stop))
        with database.write() as connection:
            version = revocations.next_version(connection, scope)
            revocations.add(connection, _revocation(scope, numbers, version), version)
    if stop > start and not database.is_sqlite:
        # As autovacuum would, a minute later.
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE revocation_entries, revocation_entry_keys")


def _revocation(scope: UUID, numbers: range, version: int) -> StoredRevocation:
    own, name = uuid.uuid4(), f"bulk-{numbers.start}"
    entries = tuple(
        StandingEntry(uuid.uuid4(), own, scope, position, entry_of(number), f"default/{name}")
        for position, number in enumerate(numbers)
    )
    return StoredRevocation(
        own, scope, "default", name, "", version, datetime.now(UTC), "bench", entries=entries
    )


def entry_of(number: int) -> Entry:
    """One entry in seven of each kind: serial, group, DNS name and suffix, address and range, CN, key."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    network = f"172.{16 + (number >> 16 & 15)}.{number >> 8 & 255}"
    kind, value = (
        (EntryKind.SERIAL_NUMBER, "7" + digest[:38]),
        (EntryKind.GROUP, f"team-{number}"),
        (EntryKind.DNS, f"node-{number}.old.example"),
        (EntryKind.DNS, f".pool-{number}.fleet.example"),
        (EntryKind.IP, f"{network}.{number % 254 + 1}/32" if number % 2 else f"{network}.0/24"),
        (EntryKind.COMMON_NAME, f"system:node:old-{number}"),
        (EntryKind.PUBLIC_KEY, digest),
    )[number % 7]
    return Entry(kind, value)
