"""What expired long ago leaves, what is kept stays, and serials and lineages outlive both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, insert, inspect, select
from tests.store.aged import FOUR_DAYS, add_certificate
from tests.support import rows
from tests.support.refused import refused_write
from tests.support.revocation_objects import entry

from trivet.pki.errors import ConflictError, UnavailableError
from trivet.pki.revocation import EntryKind
from trivet.store import certificates, decisions, hits, marking, migrate, partitions, pruning
from trivet.store.authorities import Generation
from trivet.store.certificates import CertificateFilter, StoredCertificate
from trivet.store.clusters import Cluster
from trivet.store.engine import Database
from trivet.store.hits import Aim
from trivet.store.partitions import ensure_months, is_partition, next_month
from trivet.store.tables import certificate_names, serials
from trivet.store.tables import decisions as decision_rows

MARCH = datetime(2031, 3, 1, tzinfo=UTC)
APRIL = next_month(MARCH)
LAST_OF_MARCH = APRIL - timedelta(seconds=1)
LONG_AGO = datetime(2020, 5, 5, tzinfo=UTC)  # of no month that has partitions
Owner = tuple[Cluster, Generation]


@pytest.fixture
def owner(database: Database) -> Owner:
    ensure_months(database, MARCH)
    with database.write() as connection:
        cluster = rows.add_cluster(connection)
        return cluster, rows.add_generation(connection, cluster)


def _add(database: Database, owner: Owner, issued_at: datetime, **fields: object) -> StoredCertificate:
    with database.write() as connection:
        return add_certificate(connection, owner[1], owner[0], issued_at, **fields)  # type: ignore[arg-type]


def _prune(database: Database, moment: datetime, *, keep: bool = False) -> None:
    """Prune until nothing is left to prune."""
    with database.read() as connection:
        months = pruning.expired_months(connection, moment)
    for month in months:
        with database.write() as connection:
            assert pruning.may_prune(connection)
            assert pruning.remove_month(connection, month, moment, keep=keep)
    while _delete_batch(database, moment):
        continue


def _delete_batch(database: Database, moment: datetime) -> int:
    with database.write() as connection:
        return pruning.delete_batch(connection, moment)


def _kept(database: Database, *among: StoredCertificate) -> list[StoredCertificate]:
    with database.read() as connection:
        found = certificates.find_all(connection, [stored.id for stored in among])
    return [stored for stored in among if stored.id in found]


def _named(database: Database) -> set[object]:
    with database.read() as connection:
        return set(connection.scalars(select(certificate_names.c.certificate_id)))


def _count(database: Database, table: object) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def test_what_expired_before_the_moment_goes_with_its_names_and_the_rest_stays(
    database: Database, owner: Owner
) -> None:
    gone = [_add(database, owner, moment) for moment in (LONG_AGO, MARCH, LAST_OF_MARCH)]
    kept = [
        _add(database, owner, moment) for moment in (APRIL + timedelta(days=1), APRIL + timedelta(days=40))
    ]
    _prune(database, APRIL + FOUR_DAYS)
    assert _kept(database, *gone, *kept) == kept
    assert _named(database) == {stored.id for stored in kept}


def test_nothing_goes_before_its_time(database: Database, owner: Owner) -> None:
    added = [_add(database, owner, moment) for moment in (LONG_AGO, MARCH)]
    for stored in added:
        _prune(database, stored.not_after)
        assert _kept(database, stored) == [stored]
    _prune(database, APRIL + FOUR_DAYS)
    assert _kept(database, *added) == []


def test_a_month_waits_for_the_last_of_its_certificates(postgres: Database, pg_owner: Owner) -> None:
    short = _add(postgres, pg_owner, MARCH)
    long = _add(postgres, pg_owner, LAST_OF_MARCH, lifetime=timedelta(days=365))
    _prune(postgres, long.not_after)
    assert _kept(postgres, short, long) == [short, long]
    _prune(postgres, long.not_after + timedelta(seconds=1))
    assert _kept(postgres, short, long) == []


def test_a_month_that_has_not_ended_keeps_its_partitions_though_nothing_is_in_them(
    postgres: Database, pg_owner: Owner
) -> None:
    del pg_owner
    with postgres.read() as connection:
        assert MARCH not in pruning.expired_months(connection, APRIL - timedelta(microseconds=1))
        assert MARCH in pruning.expired_months(connection, APRIL)
        assert APRIL not in pruning.expired_months(connection, APRIL)


def test_a_month_keeps_its_names_while_the_default_partition_has_certificates_of_it(
    postgres: Database, pg_owner: Owner
) -> None:
    # As when the month of the one table was made before, and that of the other after it was issued.
    stored = _add(postgres, pg_owner, MARCH)
    with postgres.write() as connection:
        connection.exec_driver_sql("ALTER TABLE certificates DETACH PARTITION certificates_y2031m03")
        connection.exec_driver_sql("INSERT INTO certificates SELECT * FROM certificates_y2031m03")
        connection.exec_driver_sql("DELETE FROM certificates_y2031m03")
    with postgres.read() as connection:
        assert not pruning._has_expired(connection, MARCH, stored.not_after)


def test_dropped_partitions_are_gone_and_detached_ones_are_left_to_the_operator(
    postgres: Database, pg_owner: Owner
) -> None:
    first, second = _add(postgres, pg_owner, MARCH), _add(postgres, pg_owner, APRIL)
    _prune(postgres, APRIL + FOUR_DAYS)
    _prune(postgres, next_month(APRIL) + FOUR_DAYS, keep=True)
    assert _kept(postgres, first, second) == []
    with postgres.read() as connection:
        tables = {name for name in inspect(connection).get_table_names() if is_partition(name)}
        archived = connection.exec_driver_sql("SELECT serial FROM certificates_y2031m04").scalars().all()
        left = partitions.months(connection, "certificates")
    assert archived == [second.serial]
    assert {"certificates_y2031m03", "certificate_names_y2031m03"}.isdisjoint(tables)
    assert {"certificates_y2031m04", "certificate_names_y2031m04", "decisions_y2031m03"} <= tables
    assert not {MARCH, APRIL} & set(left)


def test_serials_and_decisions_stay_for_ever(database: Database, owner: Owner) -> None:
    stored = _add(database, owner, MARCH)
    _prune(database, APRIL + FOUR_DAYS)
    assert _kept(database, stored) == []
    assert (_count(database, serials), _count(database, decision_rows)) == (1, 1)
    with database.read() as connection:
        decision = decisions.get(connection, stored.decision_id)
        assert decision is not None
        assert decisions.of_serial(connection, owner[0].id, stored.serial) == decision


def test_the_decision_of_a_serial_is_that_of_its_cluster(database: Database, owner: Owner) -> None:
    stored, other = _add(database, owner, MARCH), _add(database, owner, MARCH)
    with database.write() as connection:
        green = rows.add_cluster(connection, "green")
        first = decisions.of_serial(connection, owner[0].id, stored.serial)
        second = decisions.of_serial(connection, owner[0].id, other.serial)
        assert decisions.of_serial(connection, green.id, stored.serial) is None
        assert decisions.of_serial(connection, owner[0].id, "ffff") is None
    assert first is not None
    assert second is not None
    assert (first.id, second.id) == (stored.decision_id, other.decision_id)


def test_a_pruned_certificate_is_found_no_more(database: Database, owner: Owner) -> None:
    stored = _add(database, owner, MARCH)
    _prune(database, APRIL + FOUR_DAYS)
    with database.read() as connection:
        assert certificates.with_serial(connection, stored.serial) == []
        assert certificates.find_by_serial(connection, owner[0].id, stored.serial) is None
        wanted = CertificateFilter(serial=stored.serial)
        assert certificates.page(connection, owner[0].id, wanted, APRIL, None, 10) == []


def test_a_serial_stays_unique_after_its_certificate_was_pruned(database: Database, owner: Owner) -> None:
    stored = _add(database, owner, MARCH)
    _prune(database, APRIL + FOUR_DAYS)
    again = {"serial": stored.serial, "generation_id": owner[1].id, "certificate_id": rows.new_id()}
    with refused_write(database, ConflictError) as connection:
        connection.execute(insert(serials).values(again))


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_entry_reaches_the_end_of_a_lineage_though_its_beginning_was_pruned(
    database: Database, owner: Owner, *, everywhere: bool
) -> None:
    first = _add(database, owner, MARCH)
    second = _add(database, owner, MARCH + timedelta(days=3), parent=first)
    third = _add(database, owner, APRIL + timedelta(days=3), parent=second)
    stranger = _add(database, owner, APRIL + timedelta(days=3))
    now = APRIL + timedelta(days=5)
    _prune(database, APRIL + FOUR_DAYS)
    assert _kept(database, first, second, third) == [third]
    with database.write() as connection:
        scope = rows.add_all_clusters(connection) if everywhere else owner[0].id
        wanted = entry(EntryKind.SERIAL_NUMBER, first.serial)
        standing = rows.add_revocation(connection, scope, wanted).entries[0]
        assert hits.totals(connection, Aim([wanted], scope, now))["admin"].count == 1
        assert marking.mark_revoked(connection, standing, now) == 1
        found = certificates.find_all(connection, [third.id, stranger.id])
    assert found[third.id].revoked_by == standing.id
    assert found[stranger.id].revoked_at is None


def test_a_batch_takes_the_oldest_and_no_more_than_its_limit(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    generation = rows.add_generation(connection, cluster)
    old = [
        add_certificate(connection, generation, cluster, LONG_AGO + timedelta(days=number))
        for number in range(5)
    ]
    assert pruning.delete_batch(connection, MARCH, limit=3) == 3
    assert set(certificates.find_all(connection, [stored.id for stored in old])) == {
        stored.id for stored in old[3:]
    }
    assert pruning.delete_batch(connection, MARCH, limit=3) == 2
    assert pruning.delete_batch(connection, MARCH, limit=3) == 0


_AGES = st.tuples(st.integers(0, 120), st.integers(1, 60))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ages=st.lists(_AGES, min_size=1, max_size=6), now=st.integers(0, 200), retention=st.integers(1, 90))
def test_pruning_never_takes_what_has_not_expired_longer_ago_than_it_is_kept(
    shared_database: Database, ages: list[tuple[int, int]], now: int, retention: int
) -> None:
    ensure_months(shared_database, MARCH)
    moment = MARCH + timedelta(days=now - retention)
    with shared_database.write() as connection:
        transaction = connection.get_transaction()
        assert transaction is not None
        cluster = rows.add_cluster(connection)
        generation = rows.add_generation(connection, cluster)
        added = [
            add_certificate(
                connection, generation, cluster, MARCH + timedelta(days=age), lifetime=timedelta(days=days)
            )
            for age, days in ages
        ]
        for month in pruning.expired_months(connection, moment):
            assert pruning.remove_month(connection, month, moment, keep=False)
        while pruning.delete_batch(connection, moment):
            continue
        found = certificates.find_all(connection, [stored.id for stored in added])
        transaction.rollback()
    assert {stored.id for stored in added if stored.not_after >= moment} <= set(found)
    if shared_database.is_sqlite:
        assert set(found) == {stored.id for stored in added if stored.not_after >= moment}


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[Database]:
    yield from _migrated(postgres_database)


def _migrated(url: str) -> Iterator[Database]:
    database = Database(url)
    migrate.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture
def pg_owner(postgres: Database) -> Owner:
    ensure_months(postgres, MARCH)
    with postgres.write() as connection:
        cluster = rows.add_cluster(connection)
        return cluster, rows.add_generation(connection, cluster)


def test_only_one_process_prunes_at_a_time(postgres: Database) -> None:
    with postgres.write() as mine, postgres.write() as theirs:
        assert pruning.may_prune(mine)
        assert not pruning.may_prune(theirs)
    with postgres.write() as theirs:
        assert pruning.may_prune(theirs)


def test_a_month_is_not_removed_while_somebody_reads_it_and_waits_for_nobody_long(
    postgres: Database, pg_owner: Owner
) -> None:
    stored = _add(postgres, pg_owner, MARCH)
    moment = APRIL + FOUR_DAYS
    with postgres.read() as reader:
        certificates.find_one(reader, stored.id)
        with refused_write(postgres, UnavailableError) as connection:
            pruning.remove_month(connection, MARCH, moment, keep=False)
    assert _kept(postgres, stored) == [stored]
    _prune(postgres, moment)
    assert _kept(postgres, stored) == []


def test_a_month_that_turns_out_to_be_live_is_left(postgres: Database, pg_owner: Owner) -> None:
    stored = _add(postgres, pg_owner, MARCH)
    with postgres.write() as connection:
        assert not pruning.remove_month(connection, MARCH, stored.not_after, keep=False)
    assert _kept(postgres, stored) == [stored]


def test_issuing_goes_on_while_pruning_runs(database: Database, owner: Owner) -> None:
    for month in range(4):
        with database.write() as connection:
            for number in range(50):
                issued_at = MARCH + timedelta(days=31 * month, minutes=number)
                add_certificate(connection, owner[1], owner[0], issued_at)
                add_certificate(
                    connection, owner[1], owner[0], LONG_AGO + timedelta(days=month, minutes=number)
                )
    now = datetime(2031, 8, 1, tzinfo=UTC)
    ensure_months(database, now)
    stop, issued = threading.Event(), []

    def issue() -> None:
        while not stop.is_set():
            issued.append(_add(database, owner, now))

    writer = threading.Thread(target=issue)
    writer.start()
    try:
        _prune_patiently(database, now - timedelta(days=5))
    finally:
        stop.set()
        writer.join()
    assert issued
    assert _kept(database, *issued) == issued
    assert _named(database) == {stored.id for stored in issued}
    assert _count(database, serials) == 400 + len(issued)


def _prune_patiently(database: Database, moment: datetime) -> None:
    for _ in range(100):
        try:
            _prune(database, moment)
        except UnavailableError:
            continue
        return
    pytest.fail("pruning never found the tables free")
