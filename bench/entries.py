"""Revocation entries in bulk, of all kinds, none of which names what the benchmark asks for."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bench.requests import CLUSTER
from trivet.pki.revocation import Entry, EntryKind, entry_keys
from trivet.store import clusters, revocations
from trivet.store.engine import driver_connection
from trivet.store.revocations import StoredRevocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trivet.store.engine import Database


def open_cluster(database: Database) -> UUID:
    """The id of the cluster that certificates are asked for in."""
    with database.read() as connection:
        found = clusters.find(connection, CLUSTER)
    if found is None:
        message = f"there is no cluster {CLUSTER}"
        raise LookupError(message)
    return found.id


def add_entries(database: Database, start: int, stop: int) -> None:
    """Let the entries of these numbers stand, in the scope of the cluster: one object, whose rows are written in bulk.

    A test holds what this writes to what `store.revocations.add_entries` writes.
    """
    if stop <= start:
        return
    scope, own = open_cluster(database), uuid.uuid4()
    with database.write() as connection:
        version = revocations.next_version(connection, scope)
        bulk = StoredRevocation(
            own, scope, "default", f"bulk-{start}", "", version, datetime.now(UTC), "bench"
        )
        revocations.add(connection, bulk, version)
        write = _insert if database.is_sqlite else _copy
        with driver_connection(connection) as driver:
            write(driver, _ENTRIES, _rows(own, scope, version, range(start, stop)))
            # In the order of the index: a page is written once, not for each of its keys.
            write(driver, _KEYS, sorted(_keys(range(start, stop))))
    if not database.is_sqlite:
        # As autovacuum would, a minute later.
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE revocation_entries, revocation_entry_keys")


_ENTRIES = (
    "revocation_entries (id, revocation_id, scope, position, kind, value, not_before, description, include_renewed,"
    " added_in)"
)
_KEYS = "revocation_entry_keys (kind, value, entry_id)"
_COLUMNS = {_ENTRIES: 10, _KEYS: 3}


def _rows(own: UUID, scope: UUID, version: int, numbers: range) -> Iterator[tuple[object, ...]]:
    for position, number in enumerate(numbers):
        entry = entry_of(number)
        row = (entry.kind.value, entry.value, entry.not_before, entry.description, entry.include_renewed)
        yield (_id(number).hex, own.hex, scope.hex, position, *row, version)


def _keys(numbers: range) -> Iterator[tuple[str, str, str]]:
    for number in numbers:
        for kind, value in entry_keys(entry_of(number)):
            yield str(kind), value, _id(number).hex


def _id(number: int) -> UUID:
    return UUID(int=(7 << 76) | (2 << 62) | number)


def _insert(driver: Any, table: str, rows: Iterable[tuple[object, ...]]) -> None:  # noqa: ANN401  SQLAlchemy's own type
    marks = ", ".join("?" * _COLUMNS[table])
    driver.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _copy(driver: Any, table: str, rows: Iterable[tuple[object, ...]]) -> None:  # noqa: ANN401
    # Foreign keys hold by the way the rows are made; asking each time would take most of the load.
    driver.execute("SET LOCAL session_replication_role = replica")
    driver.execute("SET LOCAL statement_timeout = 0")
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


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
