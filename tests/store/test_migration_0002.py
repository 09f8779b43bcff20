"""The second schema, from a database that is in use: nothing is lost, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, MetaData, insert, inspect, select, text
from tests.store.aged import id_at
from tests.support import rows
from tests.support.clock import START
from tests.support.revocation_objects import entry

from trivet.pki.revocation import Entry, EntryKind
from trivet.store import certificates, decisions, marking, migrate, partitions, tables
from trivet.store.authorities import Generation
from trivet.store.certificates import CertificateFilter
from trivet.store.clusters import Cluster
from trivet.store.decisions import Decision
from trivet.store.engine import Database
from trivet.store.tables import NO_CLUSTER, certificate_names, serials

OLD = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
TABLES = ("certificates", "certificate_names", "certificate_requests", "decisions")


@pytest.fixture
def old(database_url: str) -> Iterator[Database]:
    """Give a database of the first schema."""
    database = Database(database_url)
    migrate.upgrade(database, "0001")
    yield database
    database.dispose()


class Filled:
    """A lineage of three, one of them revoked; a certificate of Trivet's own; a request that became one."""

    def __init__(self, connection: Connection) -> None:
        self.metadata = MetaData()
        self.metadata.reflect(connection, only=TABLES)
        self.connection = connection
        self.cluster: Cluster = rows.add_cluster(connection)
        self.generation: Generation = rows.add_generation(connection, self.cluster, key=1)
        self.service: Generation = rows.add_generation(connection, None, key=2)
        wanted = entry(EntryKind.COMMON_NAME, "second")
        self.entry_id = rows.add_revocation(connection, self.cluster.id, wanted).entries[0].id
        self.first = self.add("first", OLD)
        self.second = self.add(
            "second", START, parent_id=self.first, revoked_by=self.entry_id, revoked_at=START
        )
        self.third = self.add("third", START, parent_id=self.second, superseded_at=START)
        self.own = self.add("own", START, is_own=True)
        self.request_id = rows.new_id()
        request = {
            "id": self.request_id,
            "cluster_id": self.cluster.id,
            "profile": "admin",
            "requester": "token:1",
            "der": b"request",
            "state": "issued",
            "created_at": START,
            "certificate_id": self.third,
        }
        self.insert("certificate_requests", **request)

    def add(self, name: str, issued_at: datetime, *, is_own: bool = False, **more: object) -> UUID:
        cluster_id = None if is_own else self.cluster.id
        decision = Decision(
            id_at(issued_at),
            issued_at,
            cluster_id,
            "token:1",
            "issue",
            "admin",
            "ab" * 32,
            "issued",
            serial=name,
        )
        _add_old_decision(self.connection, decision)
        stored = {
            "id": id_at(issued_at),
            "cluster_id": cluster_id,
            "authority": "cluster",
            "generation_id": (self.generation if cluster_id else self.service).id,
            "serial": name,
            "profile": "admin",
            "common_name": name,
            "spki_sha256": name * 4,
            "issued_at": issued_at,
            "not_before": issued_at,
            "not_after": issued_at + timedelta(days=4),
            "der": name.encode(),
            "decision_id": decision.id,
            "requester": "token:1",
            **more,
        }
        self.insert("certificates", **stored)
        for kind, key in (("cn", name), ("dns", f"example.{name}.")):
            self.insert("certificate_names", kind=kind, key=key, certificate_id=stored["id"])
        return UUID(str(stored["id"]))

    def insert(self, table: str, **values: object) -> None:
        if self.connection.dialect.name == "sqlite":  # reflected columns know neither UUIDs nor aware times
            for name, value in values.items():
                if isinstance(value, UUID):
                    values[name] = value.hex
                elif isinstance(value, datetime):
                    values[name] = value.replace(tzinfo=None)
        self.connection.execute(insert(self.metadata.tables[table]).values(values))


def _add_old_decision(connection: Connection, record: Decision) -> None:
    # With the columns that there were.
    names = [column["name"] for column in inspect(connection).get_columns("decisions")]
    connection.execute(insert(tables.decisions), [{name: getattr(record, name) for name in names}])


def _rows(database: Database, table: str) -> list[dict[str, Any]]:
    with database.read() as connection:
        found = connection.execute(text(f"SELECT * FROM {table}")).mappings()  # noqa: S608  our own names
        return sorted((dict(row) for row in found), key=repr)


def _without(rows_: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    return sorted(({name: row[name] for name in row if name != column} for row in rows_), key=repr)


@pytest.fixture
def filled(old: Database) -> Filled:
    with old.write() as connection:
        return Filled(connection)


@pytest.mark.usefixtures("filled")
def test_every_row_is_the_same_before_and_after_and_after_going_back(old: Database) -> None:
    before = {table: _rows(old, table) for table in TABLES}
    migrate.upgrade(old, "0002")
    after = {table: _rows(old, table) for table in TABLES}
    for table in TABLES:
        assert len(before[table]) in {1, 4, 8}
        assert _without(after[table], "cluster_id" if table == "certificate_names" else "") == before[table]
    migrate.downgrade(old, "0001")
    assert {table: _rows(old, table) for table in TABLES} == before


def test_serials_lineage_names_and_marks_are_there_as_they_were(old: Database, filled: Filled) -> None:
    migrate.upgrade(old)
    with old.write() as connection:
        stored = connection.execute(select(serials).order_by(serials.c.certificate_id)).all()
        assert sorted((row.serial, row.certificate_id, row.parent_id) for row in stored) == [
            ("first", filled.first, None),
            ("own", filled.own, None),
            ("second", filled.second, filled.first),
            ("third", filled.third, filled.second),
        ]
        named = select(certificate_names.c.certificate_id, certificate_names.c.cluster_id)
        clusters = {row.certificate_id: row.cluster_id for row in connection.execute(named)}
        assert clusters[filled.own] == NO_CLUSTER
        assert {clusters[each] for each in (filled.first, filled.second)} == {filled.cluster.id}
        second = certificates.find_by_serial(connection, filled.cluster.id, "second")
        assert second is not None
        assert (second.revoked_by, second.revoked_at) == (filled.entry_id, START)
        revoked = certificates.page(
            connection, filled.cluster.id, CertificateFilter(status="revoked"), START, None, 9
        )
        assert revoked == [second]
        wanted = Entry(EntryKind.SERIAL_NUMBER, "first", None, "", include_renewed=True)
        standing = rows.add_revocation(connection, filled.cluster.id, wanted, name="lineage").entries[0]
        assert marking.mark_revoked(connection, standing, START) == 2
        assert decisions.of_serial(connection, filled.cluster.id, "first") is not None


@pytest.mark.usefixtures("filled")
def test_each_row_is_in_the_partition_of_its_month_and_so_is_the_next(old: Database) -> None:
    migrate.upgrade(old)
    if old.is_sqlite:
        return
    today = datetime.now(UTC)
    with old.read() as connection:
        for table in partitions.PARTITIONED:
            months = partitions.months(connection, table)
            assert datetime(2024, 2, 1, tzinfo=UTC) in months
            wanted = partitions.month_of(today)
            for _ in range(4):
                assert wanted in months
                wanted = partitions.next_month(wanted)
            assert connection.scalar(text(f"SELECT count(*) FROM {table}_default")) == 0  # noqa: S608  our own names


def test_rows_of_no_plausible_time_go_to_the_default_partition(old: Database) -> None:
    with old.write() as connection:
        cluster = rows.add_cluster(connection)
        early = Decision(rows.new_id(), START, cluster.id, "token:1", "issue", "admin", "ab" * 32, "issued")
        _add_old_decision(connection, early)
        late = Decision(
            UUID(int=(1 << 128) - 1), START, cluster.id, "token:1", "issue", "admin", "ab" * 32, "issued"
        )
        _add_old_decision(connection, late)
    migrate.upgrade(old)
    with old.read() as connection:
        assert decisions.get(connection, early.id) == early
        assert decisions.get(connection, late.id) == late


def test_what_was_pruned_cannot_be_taken_back(old: Database, filled: Filled) -> None:
    migrate.upgrade(old, "0002")
    with old.write() as connection:
        connection.execute(
            certificate_names.delete().where(certificate_names.c.certificate_id == filled.first)
        )
        connection.execute(text("DELETE FROM certificates WHERE serial = 'first'"))
    with pytest.raises(RuntimeError, match="1 certificates were pruned"):
        migrate.downgrade(old, "0001")
    assert migrate.current_revision(old) == "0002"
    assert len(_rows(old, "certificates")) == 3
