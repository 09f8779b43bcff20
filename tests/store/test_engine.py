from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.support import rows
from tests.support.refused import refused_write

from trivet.pki.errors import ConflictError, InvalidError, UnavailableError
from trivet.store import clusters, engine, migrate
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.engine import Database, lock_exclusive, lock_shared

ONE, OTHER = rows.new_id(), rows.new_id()


class DeliberateError(Exception):
    """Raised by a test in the middle of a transaction."""


def _fail() -> None:
    raise DeliberateError


def _names(database: Database) -> list[str]:
    with database.read() as connection:
        return [cluster.name for cluster in clusters.page(connection, None, None, 10)]


def test_a_write_transaction_commits_at_its_end(database: Database) -> None:
    with database.write() as connection:
        rows.add_cluster(connection, "blue")
    assert _names(database) == ["blue"]


def test_an_error_leaves_nothing_behind(database: Database) -> None:
    with refused_write(database, DeliberateError) as connection:
        rows.add_cluster(connection, "blue")
        _fail()
    assert _names(database) == []
    with database.read() as connection:
        assert connection.execute(text("SELECT * FROM revocation_sets")).all() == []


def test_a_conflict_leaves_nothing_behind(database: Database) -> None:
    with refused_write(database, ConflictError) as connection:
        rows.add_cluster(connection, "green")
        for _ in range(2):
            rows.add_cluster(connection, "blue")
    assert _names(database) == []


def test_a_reader_sees_nothing_of_what_is_not_committed(database: Database) -> None:
    with database.write() as connection:
        rows.add_cluster(connection, "blue")
        assert _names(database) == []
    assert _names(database) == ["blue"]


def test_a_violated_reference_is_no_conflict(database: Database) -> None:
    with refused_write(database, IntegrityError) as connection:
        rows.add_revocation(connection, rows.add_cluster(connection).id)
        connection.execute(text("DELETE FROM revocation_sets"))


def test_a_wrong_statement_is_a_defect_and_not_unavailability(database: Database) -> None:
    # "Try again" would hide it from those who could mend it.
    with refused_write(database, DBAPIError, match="nowhere") as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_a_pool_without_a_free_connection_is_unavailable(sqlite_database: str) -> None:
    database = Database(sqlite_database, pool_size=1)
    database.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    with database.read(), pytest.raises(UnavailableError), database.read():
        pytest.fail("the second transaction began")
    database.dispose()


def test_what_the_database_cannot_hold_is_refused(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite holds U+0000")
    with refused_write(database, InvalidError) as connection:
        rows.add_cluster(connection, "blue\x00")


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresq://x/y"])
def test_another_kind_of_database_is_refused_at_once(url: str) -> None:
    with pytest.raises(Exception, match=r"mysql|postgresq"):
        Database(url)


@pytest.mark.parametrize("url", ["postgresql:///x?host=/nowhere", "postgresql+psycopg:///x?host=/nowhere"])
def test_any_spelling_of_postgresql_is_served_by_psycopg(url: str) -> None:
    assert Database(url).engine.dialect.driver == "psycopg"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://trivet@127.0.0.1:1/trivet",
        "postgresql:///trivet?host=/nowhere",
        "sqlite:////nowhere/trivet.db",
    ],
)
@pytest.mark.parametrize("mode", ["read", "write", "glance"])
def test_a_database_that_cannot_be_reached_is_unavailable(url: str, mode: str) -> None:
    database = Database(url)
    with pytest.raises(UnavailableError) as caught, getattr(database, mode)():
        pytest.fail("the transaction began")
    assert caught.value.retry_after.total_seconds() > 0
    assert "nowhere" not in caught.value.detail


def test_a_locked_sqlite_file_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, sqlite_database: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "_BUSY_MILLISECONDS", 50)
    database = Database(sqlite_database)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    with closing(sqlite3.connect(tmp_path / "trivet.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError), database.write():
            pytest.fail("the transaction began")
        other.execute("ROLLBACK")
    with database.write() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    database.dispose()


def test_a_postgresql_that_ends_the_session_is_unavailable_and_then_back(postgres_database: str) -> None:
    database = Database(postgres_database)
    end = text("SELECT pg_terminate_backend(pg_backend_pid())")
    with refused_write(database, UnavailableError) as connection:
        connection.execute(text("CREATE TABLE t (a int)"))
        connection.execute(end)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (a int)"))
    database.dispose()


def test_a_postgresql_that_only_reads_is_unavailable(postgres_database: str) -> None:
    # As a standby is until it is promoted.
    database = Database(postgres_database)
    with refused_write(database, UnavailableError) as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("CREATE TABLE t (a int)"))
    database.dispose()


def test_times_of_day_in_postgresql_are_utc(postgres_database: str) -> None:
    database = Database(postgres_database)
    with database.read() as connection:
        assert connection.execute(text("SHOW timezone")).scalar_one() == "UTC"
    database.dispose()


def test_sqlite_keeps_what_was_committed_checks_references_and_seldom_copies_its_log(
    sqlite_database: str,
) -> None:
    database = Database(sqlite_database)
    with database.read() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 8000}
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in wanted}
    assert found == wanted
    database.dispose()


def _waits(
    database: Database, hold: Callable[[Connection], None], want: Callable[[Connection], None]
) -> bool:
    """Tell whether one transaction that wants a lock waits for another that holds one."""
    got = threading.Event()

    def other() -> None:
        with database.write() as connection:
            want(connection)
            got.set()

    thread = threading.Thread(target=other)
    with database.write() as connection:
        hold(connection)
        thread.start()
        waited = not got.wait(0.3)
    thread.join()
    return waited


@pytest.mark.parametrize(
    ("hold", "want", "waits"),
    [
        (lambda c: lock_shared(c, {ONE}), lambda c: lock_shared(c, {ONE}), False),
        (lambda c: lock_shared(c, {ONE}), lambda c: lock_exclusive(c, {ONE}), True),
        (lambda c: lock_exclusive(c, {ONE}), lambda c: lock_shared(c, {ONE}), True),
        (lambda c: lock_exclusive(c, {ONE}), lambda c: lock_exclusive(c, {ONE}), True),
        (lambda c: lock_exclusive(c, {ONE}), lambda c: lock_exclusive(c, {OTHER}), False),
        (lambda c: lock_exclusive(c, {ONE}), lambda c: lock_shared(c, {OTHER, ALL_CLUSTERS}), False),
        (lambda c: lock_exclusive(c, {ALL_CLUSTERS}), lambda c: lock_shared(c, {OTHER, ALL_CLUSTERS}), True),
    ],
    ids=["S-S", "S-X", "X-S", "X-X", "X-X of another", "X-S of another", "all X-S"],
)
def test_the_revocation_lock_is_shared_by_issuances_and_held_alone_by_revocations(
    database: Database,
    hold: Callable[[Connection], None],
    want: Callable[[Connection], None],
    *,
    waits: bool,
) -> None:
    # On SQLite a write transaction holds the whole database.
    assert _waits(database, hold, want) is (waits or database.is_sqlite)


def test_a_lock_is_given_back_at_the_end_of_the_transaction(database: Database) -> None:
    with refused_write(database, DeliberateError) as connection:
        lock_exclusive(connection, {ONE})
        _fail()
    with database.write() as connection:
        lock_exclusive(connection, {ONE})


def test_a_marking_that_takes_too_long_is_undone_and_told_so(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(postgres_database)
    migrate.upgrade(database)
    with database.write() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "1min"
        lock_exclusive(connection, {ONE})
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "15min"
    monkeypatch.setattr(engine, "_MARKING_TIMEOUT", "50ms")
    told = "nothing of it was done; ask for less at once"
    with refused_write(database, UnavailableError, told) as connection:
        lock_exclusive(connection, {ONE})
        rows.add_cluster(connection, "blue")
        connection.execute(text("SELECT pg_sleep(5)"))
    assert _names(database) == []
    database.dispose()


def test_the_connection_that_was_used_last_is_used_next(database: Database) -> None:
    with database.read() as first:
        with database.read() as second:
            inner = second.connection.dbapi_connection
        outer = first.connection.dbapi_connection
    assert inner is not outer
    for _ in range(3):
        with database.read() as connection:
            assert connection.connection.dbapi_connection is outer
