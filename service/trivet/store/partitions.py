"""Partitions by month, on PostgreSQL: made ahead of time, and dropped or detached as a whole.

A row's id is a UUIDv7, which begins with the milliseconds since 1970; so a month is a range of ids. Whatever no month
holds goes to the default partition: nothing is refused for want of a partition.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from trivet.store.engine import Database

PARTITIONED: Final = {"certificates": "id", "certificate_names": "certificate_id", "decisions": "id"}
"""The tables that have partitions on PostgreSQL, each with the column that holds the id."""

# Those of one group get and lose a month together: what is in a month's certificates has its names in the same month.
_GROUPS: Final = (("certificates", "certificate_names"), ("decisions",))
_NAME = re.compile(rf"({'|'.join(PARTITIONED)})_(default|y(\d{{4}})m(\d{{2}}))")
# Shorter than PostgreSQL's deadlock_timeout: whoever waits for us while we wait for them is never the one to fail.
_LOCK_TIMEOUT = "400ms"
# Bounds the scan of a default partition that holds something, which attaching a month cannot do without.
_STATEMENT_TIMEOUT = "2s"
_LONGEST_SPAN = timedelta(days=3653)
_MAKING = -2  # an advisory lock; those of the scopes of revocations are not negative


def is_partition(name: str) -> bool:
    """Whether a table's name is that of a partition."""
    return _NAME.fullmatch(name) is not None


def month_of(moment: datetime) -> datetime:
    """The first instant of a time's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first instant of the month that follows."""
    return month_of(month + timedelta(days=32))


def lower_bound(month: datetime) -> UUID:
    """The least id that can be made in a month (RFC 9562 section 5.7: 48 bits of milliseconds, then the rest)."""
    return UUID(int=int(month.timestamp()) * 1000 << 80)


def partition_name(table: str, month: datetime) -> str:
    """The name of a month's partition, as `certificates_y2026m08`."""
    return f"{table}_y{month:%Y}m{month:%m}"


def months(connection: Connection, table: str) -> list[datetime]:
    """The months of a table that have a partition, oldest first."""
    query = text(
        "SELECT relid::regclass::text FROM pg_partition_tree(CAST(:name AS regclass)) WHERE level = 1"
    )
    found = (_NAME.fullmatch(name) for name in connection.scalars(query, {"name": table}))
    return sorted(
        datetime(int(match[3]), int(match[4]), 1, tzinfo=UTC) for match in found if match and match[3]
    )


def ensure_months(database: Database, now: datetime, ahead: int = 3) -> int:
    """Make the partitions of this month and of some months ahead, where they are missing; count the months.

    Any number of processes may do it at a time. Each month is a transaction of its own, and gives up where others use
    the tables for longer than a moment. A month of which a default partition holds rows already is left to it: those
    rows stay where they are.

    Raises:
        UnavailableError: the tables are busy; nothing is lost, try again later.
    """
    if database.is_sqlite:
        return 0
    wanted = [month_of(now)]
    for _ in range(ahead):
        wanted.append(next_month(wanted[-1]))
    with database.read() as connection:
        limit_waiting(connection)
        missing = [
            (group, month) for group in _GROUPS for month in wanted if _is_missing(connection, group, month)
        ]
    made = 0
    for group, month in missing:
        with database.write() as connection:
            made += _make(connection, group, month)
    return made


def make_months(connection: Connection, first: datetime, last: datetime) -> None:
    """Make the partitions of a span of months, in the transaction that made the tables, which nobody else uses yet.

    Of a span of more than ten years the last ten: one row by a wrong clock must not make thousands of tables.
    """
    if connection.dialect.name == "sqlite":
        return
    month = month_of(max(first, last - _LONGEST_SPAN))
    while month <= last:
        for group in _GROUPS:
            _attach_missing(connection, group, month)
        month = next_month(month)


def _is_missing(connection: Connection, group: Sequence[str], month: datetime) -> bool:
    return any(month not in months(connection, table) for table in group) and not any(
        _default_holds(connection, table, month) for table in group
    )


def _default_holds(connection: Connection, table: str, month: datetime) -> bool:
    key = PARTITIONED[table]
    query = f"SELECT EXISTS (SELECT 1 FROM {table}_default WHERE {key} >= :low AND {key} < :high)"  # noqa: S608  fixed names
    bounds = {"low": lower_bound(month), "high": lower_bound(next_month(month))}
    return bool(connection.scalar(text(query), bounds))


def _make(connection: Connection, group: Sequence[str], month: datetime) -> bool:
    """Make a month's partitions, unless another process did; say whether they were made."""
    limit_waiting(connection)
    # One process at a time: the second then sees what the first has made.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
    return _attach_missing(connection, group, month)


def _attach_missing(connection: Connection, group: Sequence[str], month: datetime) -> bool:
    missing = [table for table in group if month not in months(connection, table)]
    for table in missing:
        name = partition_name(table, month)
        # Made apart and then attached: others read and write the table meanwhile, as PARTITION OF would not let them.
        connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
        connection.execute(
            text(
                f"ALTER TABLE {table} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{lower_bound(month)}') TO ('{lower_bound(next_month(month))}')"
            )
        )
    return bool(missing)


def remove_month(connection: Connection, group: Sequence[str], month: datetime, *, keep: bool) -> None:
    """Drop a month's partitions; or detach them, to `keep` them as tables of their own."""
    for table in group:
        name = partition_name(table, month)
        # Not CONCURRENTLY, which PostgreSQL refuses where there is a default partition.
        connection.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name}"))
        if not keep:
            connection.execute(text(f"DROP TABLE {name}"))


def limit_waiting(connection: Connection) -> None:
    """Let the transaction give up soon where it must wait for a lock: while it waits, others queue behind it."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
