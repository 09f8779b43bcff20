"""Versions of objects: one counter for each cluster and kind of object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.tables import counters

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy import Connection

Kind = Literal["inventory", "requests"]
"""In the order in which one transaction takes both, so that no two wait for each other."""


def hold(connection: Connection, cluster_id: UUID, kind: Kind) -> int:
    """Keep others from taking a version until the transaction ends; give the present one, which stays as it is.

    What is read after this call sees all that was committed under this version or an earlier one.
    """
    return advance(connection, cluster_id, kind, 0)


def advance(connection: Connection, cluster_id: UUID, kind: Kind, by: int = 1) -> int:
    """Take the next version (or so many, of which the last is given), and hold the counter.

    Every version that is taken must be that of a change: whoever watches takes one that is missing for one it lost.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = dialect.insert(counters).values(cluster_id=cluster_id, kind=kind, value=by)
    statement = first.on_conflict_do_update(
        index_elements=[counters.c.cluster_id, counters.c.kind], set_={"value": counters.c.value + by}
    )
    return int(connection.execute(statement.returning(counters.c.value)).scalar_one())


def values(connection: Connection, cluster_ids: Iterable[UUID], kind: Kind) -> dict[UUID, int]:
    """The version that each cluster is at; 0 where nothing has changed yet."""
    wanted = list(cluster_ids)
    query = select(counters.c.cluster_id, counters.c.value)
    query = query.where(counters.c.cluster_id.in_(wanted), counters.c.kind == kind)
    return dict.fromkeys(wanted, 0) | {row.cluster_id: row.value for row in connection.execute(query)}


def leave_gap(connection: Connection, gap: int) -> None:
    """Let all counters go on behind a gap."""
    connection.execute(update(counters).values(value=counters.c.value + gap))
