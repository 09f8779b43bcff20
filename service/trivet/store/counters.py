"""Versions of objects: one counter for each cluster and kind of object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.tables import counters

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

Kind = Literal["inventory", "requests"]
"""In the order in which one transaction takes both, so that no two wait for each other."""


def advance(connection: Connection, cluster_id: UUID, kind: Kind) -> int:
    """Take the next version, and keep others from taking one until the transaction ends.

    What is read after this call sees all that was committed under an earlier version.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = dialect.insert(counters).values(cluster_id=cluster_id, kind=kind, value=1)
    statement = first.on_conflict_do_update(
        index_elements=[counters.c.cluster_id, counters.c.kind], set_={"value": counters.c.value + 1}
    )
    return int(connection.execute(statement.returning(counters.c.value)).scalar_one())
