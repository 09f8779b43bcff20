"""The months of PostgreSQL's partitions: made ahead, by anybody, and never missed when one is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text
from tests.store.aged import add_certificate, id_at
from tests.support import rows

from trivet.pki.errors import UnavailableError
from trivet.store import certificates, migrate, partitions
from trivet.store.engine import Database
from trivet.store.partitions import (
    PARTITIONED,
    ensure_months,
    is_partition,
    lower_bound,
    month_of,
    next_month,
    partition_name,
)
from trivet.store.tables import metadata

# Far from today, which the migration makes partitions for.
MARCH = datetime(2031, 3, 1, tzinfo=UTC)
MONTHS = [datetime(2031, month, 1, tzinfo=UTC) for month in (3, 4, 5, 6)]
LATE = MARCH + timedelta(days=30, hours=23, minutes=59, seconds=59.999)


@pytest.fixture
def postgresql(postgres_database: str) -> Iterator[Database]:
    database = Database(postgres_database)
    migrate.upgrade(database)
    yield database
    database.dispose()


def _months(database: Database, table: str = "certificates") -> list[datetime]:
    with database.read() as connection:
        return [month for month in partitions.months(connection, table) if month >= MARCH]


def _held_by(connection: Connection, table: str) -> list[str]:
    query = text(f"SELECT DISTINCT tableoid::regclass::text FROM {table}")  # noqa: S608  a name of our own
    return list(connection.scalars(query))


def test_the_tables_that_are_partitioned_say_so_themselves() -> None:
    declared = {
        table.name: table.dialect_options["postgresql"]["partition_by"]
        for table in metadata.tables.values()
        if table.dialect_options["postgresql"]["partition_by"]
    }
    assert declared == {table: f"RANGE ({key})" for table, key in PARTITIONED.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("certificates_y2026m08", True),
        ("certificate_names_default", True),
        ("decisions_y2031m12", True),
        ("certificates", False),
        ("certificate_requests", False),
        ("certificates_y2026m08_old", False),
        ("audit_records_default", False),
    ],
)
def test_a_partition_is_known_by_its_name(name: str, *, expected: bool) -> None:
    assert is_partition(name) is expected


def test_a_month_is_one_in_utc() -> None:
    early = datetime(2031, 4, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert month_of(early) == MARCH
    assert next_month(datetime(2031, 12, 1, tzinfo=UTC)) == datetime(2032, 1, 1, tzinfo=UTC)
    assert partition_name("decisions", MARCH) == "decisions_y2031m03"


def test_an_id_lies_in_the_month_that_it_was_made_in() -> None:
    for moment in (MARCH, LATE):
        assert lower_bound(MARCH) <= id_at(moment) < lower_bound(next_month(MARCH))
    assert id_at(MARCH - timedelta(milliseconds=1)) < lower_bound(MARCH)
    assert id_at(next_month(MARCH)) >= lower_bound(next_month(MARCH))


def test_this_month_and_three_more_are_made_and_a_second_time_nothing(postgresql: Database) -> None:
    assert ensure_months(postgresql, LATE) == 8
    for table in PARTITIONED:
        assert _months(postgresql, table) == MONTHS
    assert ensure_months(postgresql, LATE) == 0
    assert ensure_months(postgresql, next_month(MARCH)) == 2


def test_sqlite_has_no_partitions(sqlite_database: str) -> None:
    database = Database(sqlite_database)
    assert ensure_months(database, MARCH) == 0
    database.dispose()


def test_rows_go_to_their_month_and_those_of_no_month_to_the_default(postgresql: Database) -> None:
    ensure_months(postgresql, MARCH)
    far_ahead = datetime(2077, 1, 1, tzinfo=UTC)
    with postgresql.write() as connection:
        cluster = rows.add_cluster(connection)
        generation = rows.add_generation(connection, cluster)
        add_certificate(connection, generation, cluster, LATE)
        for table in PARTITIONED:
            assert _held_by(connection, table) == [f"{table}_y2031m03"]
        late = add_certificate(connection, generation, cluster, far_ahead)
        for table in PARTITIONED:
            assert sorted(_held_by(connection, table)) == [f"{table}_default", f"{table}_y2031m03"]
        assert certificates.find_by_serial(connection, cluster.id, late.serial) == late


def test_a_month_that_the_default_partition_holds_is_left_to_it(postgresql: Database) -> None:
    with postgresql.write() as connection:
        cluster = rows.add_cluster(connection)
        generation = rows.add_generation(connection, cluster)
        kept = add_certificate(connection, generation, cluster, MONTHS[1])
    assert ensure_months(postgresql, MARCH) == 6
    assert _months(postgresql) == _months(postgresql, "certificate_names") == [MONTHS[0], *MONTHS[2:]]
    with postgresql.write() as connection:
        assert certificates.find_one(connection, kept.id) == kept
        more = add_certificate(connection, generation, cluster, MONTHS[1])
        assert certificates.find_one(connection, more.id) == more


def test_a_new_partition_has_every_index_and_reference_of_its_table(postgresql: Database) -> None:
    ensure_months(postgresql, MARCH)
    query = """
        SELECT (SELECT count(*) FROM pg_index WHERE indrelid = CAST(:name AS regclass)),
               (SELECT count(*) FROM pg_constraint WHERE conrelid = CAST(:name AS regclass) AND contype <> 'n')
    """
    with postgresql.read() as connection:
        for table in PARTITIONED:
            counts = [
                tuple(connection.execute(text(query), {"name": name}).one())
                for name in (table, f"{table}_y2031m03")
            ]
            assert counts[0] == counts[1], table


def test_several_processes_may_make_partitions_at_a_time(postgres_database: str) -> None:
    databases = [Database(postgres_database) for _ in range(4)]
    migrate.upgrade(databases[0])
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda database: ensure_months(database, MARCH, ahead=0), databases))
    assert sum(made) == 2
    assert _months(databases[0]) == [MARCH]
    for database in databases:
        database.dispose()


def test_making_a_month_gives_up_soon_where_the_table_is_held(postgresql: Database) -> None:
    url = make_url(str(postgresql.engine.url.render_as_string(hide_password=False)))
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as other:
        other.execute("LOCK TABLE certificates IN ACCESS EXCLUSIVE MODE")
        begin = time.monotonic()
        with pytest.raises(UnavailableError):
            ensure_months(postgresql, MARCH)
        assert time.monotonic() - begin < 5
        other.rollback()
    assert _months(postgresql) == []
    assert ensure_months(postgresql, MARCH) == 8


def test_others_write_while_a_month_is_made(postgresql: Database) -> None:
    with postgresql.write() as connection:
        cluster = rows.add_cluster(connection)
        generation = rows.add_generation(connection, cluster)
    now = datetime.now(UTC)
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            with postgresql.write() as connection:
                written.append(add_certificate(connection, generation, cluster, now))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            with suppress(UnavailableError):
                ensure_months(postgresql, MARCH, ahead=11)
                break
    finally:
        stop.set()
        writer.join()
    assert written
    assert len(_months(postgresql)) == len(_months(postgresql, "decisions")) == 12
