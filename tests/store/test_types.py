from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, DateTime, String, select, text
from sqlalchemy.exc import StatementError
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write

from trivet.store import installation
from trivet.store.engine import Database
from trivet.store.tables import installations, metadata
from trivet.store.types import ByteText, UtcDateTime

AHEAD = timezone(timedelta(hours=5, minutes=30))
BEHIND = timezone(timedelta(hours=-11))


def _round_trip(connection: Connection, moment: datetime) -> datetime:
    installation.begin(connection, "proof", moment)
    stored: datetime = connection.execute(select(installations.c.created_at)).scalar_one()
    return stored


def test_every_time_in_the_schema_is_utc_only() -> None:
    times = [
        column
        for table in metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_at")
    ]
    assert len(times) > 10
    assert [str(column) for column in times if not isinstance(column.type, UtcDateTime)] == []
    plain = [c for table in metadata.tables.values() for c in table.columns if isinstance(c.type, DateTime)]
    assert plain == []


@pytest.mark.parametrize("zone", [UTC, AHEAD, BEHIND], ids=str)
def test_a_time_in_any_zone_comes_back_as_the_same_moment_in_utc(
    connection: Connection, zone: timezone
) -> None:
    stored = _round_trip(connection, START.astimezone(zone))
    assert stored == START
    assert stored.tzinfo is not None
    assert stored.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 11, 24, 12, 0, 0, 999_999, tzinfo=UTC),
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_a_time_keeps_its_microseconds(connection: Connection, moment: datetime) -> None:
    assert _round_trip(connection, moment) == moment


def test_a_naive_time_is_refused(shared_database: Database) -> None:
    with refused_write(shared_database, StatementError, match="offset") as connection:
        _round_trip(connection, datetime(2026, 11, 24))  # noqa: DTZ001


def test_a_naive_time_is_refused_in_a_comparison(connection: Connection) -> None:
    with pytest.raises(StatementError, match="offset"):
        connection.execute(select(installations).where(installations.c.created_at < datetime(2026, 11, 24)))  # noqa: DTZ001


def test_times_compare_by_moment_whatever_their_zone(connection: Connection) -> None:
    _round_trip(connection, START.astimezone(AHEAD))
    column = installations.c.created_at
    for later in (START + timedelta(microseconds=1), (START + timedelta(seconds=1)).astimezone(BEHIND)):
        assert connection.execute(select(column).where(column < later)).scalar_one() == START
    assert connection.execute(select(column).where(column < START.astimezone(BEHIND))).first() is None


def test_searched_text_is_ordered_by_byte(connection: Connection) -> None:
    wanted = ["!", "A", "B", "a", "a-b", "a.b", "a0", "ab", "é", "\uffee", "\U0001f980"]
    cluster = rows.add_cluster(connection)
    generation = rows.add_generation(connection, cluster)
    for name in wanted:
        rows.add_certificate(connection, generation, cluster, rows.names(name))
    ordered = text("SELECT key FROM certificate_names WHERE kind = 'cn' ORDER BY key")
    assert list(connection.execute(ordered).scalars()) == sorted(wanted, key=str.encode)


def test_every_column_that_is_searched_by_range_or_is_unique_compares_by_byte() -> None:
    assert isinstance(ByteText, String)
    searched = {("certificate_names", "key"), ("revocation_entry_keys", "value"), ("certificates", "serial")}
    for table, column in searched:
        assert metadata.tables[table].c[column].type is ByteText
