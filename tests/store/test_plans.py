"""How both databases run the statements that must stay fast however much is stored: by index, never by scan."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Table, event, insert, select, text, update
from tests.support import rows
from tests.support.clock import START
from tests.support.revocation_objects import entry

from trivet.pki.locations import COMPLETE
from trivet.pki.revocation import Entry, EntryKind, Identity, identity_keys
from trivet.pki.search import below_suffix, within_network
from trivet.store import certificates, crls, decisions, fingerprints, hits, marking, pruning, revocations
from trivet.store.certificates import CertificateFilter
from trivet.store.clusters import ALL_CLUSTERS, Cluster
from trivet.store.engine import Database
from trivet.store.fingerprints import RevokedCertificate
from trivet.store.hits import Aim
from trivet.store.partitions import ensure_months, lower_bound, month_of, next_month
from trivet.store.tables import (
    certificate_names,
    crl_lists,
    revocation_entries,
    revocation_entry_keys,
    revocation_sets,
    serials,
)
from trivet.store.tables import certificates as certificate_rows
from trivet.store.tables import decisions as decision_rows

COUNT = 20_000
A_PAGE = 50  # rows that are quicker read than searched for, whatever the index
NEXT_MONTH = next_month(month_of(START))
IDENTITY = Identity(
    rows.names("system:node:n1", ("system:nodes",), ("n1.blue.example", "10.1.2.3", "2001:db8::1")), "0c" * 32
)

SERIAL_COLUMNS = ("serial", "generation_id", "certificate_id", "parent_id")


@contextmanager
def _recorded(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)


def plans_of(connection: Connection, run: Callable[[], object]) -> list[str]:
    """Give the plan of every statement that `run` executes."""
    with _recorded(connection) as statements:
        run()
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return [
        "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))
        for statement, parameters in statements
    ]


def scanned(connection: Connection, *plans: str) -> set[str]:
    """Give the tables of which plans read all, or all of a partition that is longer than a page."""
    # SQLite: "SCAN k" or "SCAN certificates USING INDEX …"; a search reads "SEARCH …". PostgreSQL: "Seq Scan on …".
    read = set(re.findall(r"(?:Seq Scan on|\bSCAN) (\w+)", "\n".join(plans)))
    if connection.dialect.name == "sqlite":
        return read
    return {
        re.sub("_(default|y[0-9]+m[0-9]+)$", "", name)
        for name in read
        if connection.execute(text(f"SELECT 1 FROM {name} OFFSET {A_PAGE}")).first()  # noqa: S608  names of our own tables
    }


def _fill(connection: Connection, cluster: Cluster) -> None:
    """Store many entries and certificates, most of them copies but for what tells them apart."""
    generation = rows.add_generation(connection, cluster)
    certificate = rows.add_certificate(connection, generation, cluster, serial="template")
    (standing,) = rows.add_revocation(connection, cluster.id, SEARCHES[0]).entries
    numbers = range(1, COUNT + 1)
    # One a millisecond; half of them in this month, half in the next: two partitions.
    ids = {n: UUID(int=lower_bound((month_of(START), NEXT_MONTH)[n % 2]).int + (n << 80)) for n in numbers}
    _copy(connection, revocation_entries, standing.id, [{"id": ids[number]} for number in numbers])
    keys = [{"kind": "DNS", "value": f"h{number}.example", "entry_id": ids[number]} for number in numbers]
    connection.execute(insert(revocation_entry_keys), keys)
    own = [
        # A lineage of fifty after the other.
        {
            "id": ids[n],
            "serial": str(n),
            "spki_sha256": f"k{n}",
            "parent_id": ids.get(n - 1) if n % 50 else None,
        }
        for n in numbers
    ]
    _copy(connection, certificate_rows, certificate.id, own)
    made = [{"id": row["id"], "serial": row["serial"]} for row in own]
    _copy(connection, decision_rows, certificate.decision_id, made)
    copied = [{"generation_id": generation.id, "certificate_id": row["id"], **row} for row in own]
    connection.execute(insert(serials), [{name: row[name] for name in SERIAL_COLUMNS} for row in copied])
    names = [
        {"cluster_id": cluster.id, "kind": kind, "key": key.format(n), "certificate_id": ids[n]}
        for n in numbers
        for kind, key in (("dns", "example.h{}."), ("ip", "4{:08x}"), ("cn", "c{}"))
    ]
    connection.execute(insert(certificate_names), names)
    connection.execute(text("ANALYZE"))


def _copy(connection: Connection, table: Table, original: UUID, own: list[dict[str, Any]]) -> None:
    row = connection.execute(select(table).where(table.c.id == original)).one()._asdict()
    connection.execute(insert(table), [{**row, **fields} for fields in own])


@pytest.fixture(scope="module")
def filled(shared_database: Database) -> Iterator[tuple[Connection, Cluster]]:
    ensure_months(shared_database, START)
    with shared_database.write() as connection:
        transaction = connection.get_transaction()
        assert transaction is not None
        rows.add_all_clusters(connection)
        cluster = rows.add_cluster(connection)
        _fill(connection, cluster)
        yield connection, cluster
        transaction.rollback()


def test_the_look_up_of_every_issuance_searches_the_index_of_the_entries(
    filled: tuple[Connection, Cluster],
) -> None:
    connection, _ = filled
    (plan,) = plans_of(connection, lambda: revocations.candidates(connection, identity_keys(IDENTITY)))
    if connection.dialect.name == "sqlite":
        assert "SEARCH k USING COVERING INDEX" in plan
    else:
        assert re.search(r"Index (Only )?Scan using pk_revocation_entry_keys", plan)
    # The keys that are looked up are read one by one, of course.
    assert not scanned(connection, plan) & {"k", "revocation_entry_keys"}


def test_the_entries_that_are_found_are_read_by_their_ids(filled: tuple[Connection, Cluster]) -> None:
    connection, _ = filled
    keys = [("DNS", f"h{number}.example") for number in (1, 500, COUNT)]
    plans = plans_of(connection, lambda: revocations.candidates(connection, keys))
    assert len(plans) == 2
    # There is one object, so its table is read whole.
    assert not scanned(connection, *plans) & {"k", "revocation_entry_keys", "revocation_entries"}


SEARCHES = [
    entry(EntryKind.DNS, "h77.example"),
    entry(EntryKind.DNS, ".h77.example"),
    entry(EntryKind.IP, "10.1.2.3"),
    entry(EntryKind.IP, "10.1.2.0/24"),
    entry(EntryKind.IP, "2001:db8::/64"),
    entry(EntryKind.COMMON_NAME, "c77"),
    entry(EntryKind.COMMON_NAME, "c78", START),
    entry(EntryKind.PUBLIC_KEY, "0c" * 32),
    entry(EntryKind.SERIAL_NUMBER, "77"),
    entry(EntryKind.SERIAL_NUMBER, "78", include_renewed=False),
]
BIG = {"certificates", "certificate_names", "serials", "decisions"}


@pytest.mark.parametrize("everywhere", [False, True], ids=["cluster", "everywhere"])
@pytest.mark.parametrize("wanted", SEARCHES, ids=lambda wanted: f"{wanted.kind}-{wanted.value[:20]}")
def test_marking_searches_indexes(
    filled: tuple[Connection, Cluster], wanted: Entry, *, everywhere: bool
) -> None:
    connection, cluster = filled
    name = f"{wanted.kind}-{wanted.value}"
    scope = ALL_CLUSTERS if everywhere else cluster.id
    standing = rows.add_revocation(connection, scope, wanted, name=name).entries[0]
    (plan,) = plans_of(connection, lambda: marking.mark_revoked(connection, standing, START))
    assert not scanned(connection, plan) & BIG, plan
    if wanted.kind in {EntryKind.DNS, EntryKind.IP, EntryKind.COMMON_NAME}:
        assert "certificate_names" in plan


@pytest.mark.parametrize("everywhere", [False, True], ids=["cluster", "everywhere"])
def test_a_preview_of_several_entries_searches_indexes(
    filled: tuple[Connection, Cluster], *, everywhere: bool
) -> None:
    connection, cluster = filled
    scope = ALL_CLUSTERS if everywhere else cluster.id
    aim = Aim(SEARCHES, scope, START)
    plans = plans_of(connection, lambda: hits.totals(connection, aim))
    plans += plans_of(connection, lambda: hits.by_node(connection, aim, 100))
    plans += plans_of(
        connection, lambda: hits.newest(connection, replace(aim, spared=SEARCHES[:2]), 20, "admin")
    )
    assert len(plans) == 3
    for plan in plans:
        assert not scanned(connection, plan) & BIG, plan


@pytest.mark.parametrize(
    "wanted",
    [
        CertificateFilter(serial="77"),
        CertificateFilter(status="revoked"),
        CertificateFilter(ranges=(below_suffix("h77.example"),)),
        CertificateFilter(ranges=(within_network(ipaddress.ip_network("10.1.2.0/24")),)),
    ],
    ids=["serial", "status", "suffix", "CIDR"],
)
def test_searches_use_indexes(filled: tuple[Connection, Cluster], wanted: CertificateFilter) -> None:
    connection, cluster = filled
    (plan,) = plans_of(
        connection, lambda: certificates.page(connection, cluster.id, wanted, START, None, 100)
    )
    assert not scanned(connection, plan) & BIG, plan
    if wanted.ranges:
        assert "certificate_names" in plan


def test_a_serial_is_found_by_index(filled: tuple[Connection, Cluster]) -> None:
    connection, cluster = filled
    for run in (
        lambda: certificates.with_serial(connection, "77"),
        lambda: certificates.find_by_serial(connection, cluster.id, "77"),
    ):
        (plan,) = plans_of(connection, run)
        assert not scanned(connection, plan) & BIG, plan


def test_pruning_searches_indexes(filled: tuple[Connection, Cluster]) -> None:
    connection, _ = filled
    late = next_month(NEXT_MONTH) + timedelta(days=30)
    plans = plans_of(connection, lambda: pruning.expired_months(connection, late))
    plans += plans_of(connection, lambda: pruning.delete_batch(connection, START - timedelta(days=1)))
    assert len(plans) >= 1
    assert not scanned(connection, *plans) & BIG, plans


def test_the_decision_of_a_serial_is_found_by_indexes(filled: tuple[Connection, Cluster]) -> None:
    connection, cluster = filled
    plans = plans_of(connection, lambda: decisions.of_serial(connection, cluster.id, "77"))
    assert not scanned(connection, *plans) & BIG, plans
    if connection.dialect.name == "postgresql":  # which knows the month from the id
        assert "decisions_default" not in plans[1]


def test_what_was_marked_is_found_by_indexes(filled: tuple[Connection, Cluster]) -> None:
    connection, cluster = filled
    # Every entry marked one, and all but the last hundred are published.
    _mark_all(connection)
    listed = _list_up_to(connection, cluster, COUNT - 100)
    plans = plans_of(connection, lambda: crls.marked_lists(connection))
    plans += plans_of(connection, lambda: crls.pass_over(connection))
    plans += plans_of(connection, lambda: [*crls.marks(connection, listed, COUNT, 0, START)])
    assert len(plans) == 3
    for plan in plans:
        # PostgreSQL reads the entries of the scope until it finds one that marked something.
        assert not scanned(connection, plan) & (BIG - {"revocation_entries"}), plan
    found = [mark for part in crls.marks(connection, listed, COUNT, 0, START) for mark in part]
    assert len(found) == 100


def test_what_is_revoked_is_read_for_api_servers_by_indexes(filled: tuple[Connection, Cluster]) -> None:
    connection, cluster = filled
    _mark_all(connection)
    reads: dict[int, Callable[[], list[Sequence[RevokedCertificate]]]] = {
        201: lambda: [*fingerprints.revoked(connection, cluster.id, START)],
        100: lambda: [*fingerprints.revoked_after(connection, cluster.id, COUNT - 100, START)],
    }
    for count, read in reads.items():
        (plan,) = plans_of(connection, read)
        assert not scanned(connection, plan) & (BIG - {"revocation_entries"}), plan
        found = [certificate for part in read() for certificate in part]
        assert len(found) >= count  # others are revoked, too


def _mark_all(connection: Connection) -> None:
    entries, held = revocation_entries.c, certificate_rows.c
    for number in range(COUNT - 200, COUNT + 1):
        chosen = UUID(int=lower_bound((month_of(START), NEXT_MONTH)[number % 2]).int + (number << 80))
        connection.execute(update(revocation_entries).where(entries.id == chosen).values(added_in=number))
        connection.execute(
            update(certificate_rows)
            .where(held.id == chosen)
            .values(revoked_by=chosen, revoked_at=START, serial=f"{number:x}")
        )
    connection.execute(text("ANALYZE"))


def _list_up_to(connection: Connection, cluster: Cluster, version: int) -> crls.CrlList:
    crls.begin_lists(connection, 1, None, rows.new_id, only=cluster.id)
    connection.execute(
        update(revocation_sets).where(revocation_sets.c.scope == cluster.id).values(version=COUNT)
    )
    connection.execute(update(crl_lists).values(cluster_version=version, number=1))
    generation = connection.execute(select(crl_lists.c.generation_id)).scalars().first()
    assert generation is not None
    listed = crls.find_list(connection, generation, COMPLETE)
    assert listed is not None
    return listed
