"""What monitoring reads: small tables only, so that looking costs the same however many certificates there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from trivet.store.authorities import GenerationState
from trivet.store.tables import authorities, clusters, crl_lists, crls, generations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TrustedGeneration:
    """A generation that stands in a trust bundle; `cluster` is a name, None for Trivet's own authority."""

    id: UUID
    cluster: str | None
    authority: str
    state: str


def trusted_generations(connection: Connection) -> list[TrustedGeneration]:
    """Every generation that is not retired, of all clusters, in one query."""
    query = (
        select(generations.c.id, clusters.c.name, authorities.c.name, generations.c.state)
        .select_from(generations.join(authorities).outerjoin(clusters))
        .where(generations.c.state != GenerationState.RETIRED)
    )
    return [TrustedGeneration(*row) for row in connection.execute(query)]


def crl_times(connection: Connection) -> list[tuple[str, str, datetime, datetime]]:
    """By cluster and authority: the earliest thisUpdate and nextUpdate of the newest CRLs, shards among them."""
    query = (
        select(
            clusters.c.name, authorities.c.name, func.min(crls.c.this_update), func.min(crls.c.next_update)
        )
        .select_from(crl_lists)
        .join(crls, and_(crls.c.list_id == crl_lists.c.id, crls.c.number == crl_lists.c.number))
        .join(generations, generations.c.id == crl_lists.c.generation_id)
        .join(authorities, authorities.c.id == generations.c.authority_id)
        .join(clusters, clusters.c.id == crl_lists.c.cluster_id)
        .where(generations.c.state != GenerationState.RETIRED)
        .group_by(clusters.c.name, authorities.c.name)
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def certificates_of(connection: Connection, wanted: Sequence[UUID]) -> dict[UUID, bytes]:
    """The CA certificates of generations, DER."""
    found: dict[UUID, bytes] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        query = select(generations.c.id, generations.c.certificate).where(generations.c.id.in_(some))
        found.update((row.id, row.certificate) for row in connection.execute(query))
    return found


def server_time(connection: Connection) -> datetime | None:
    """The time of the database's machine; None for SQLite, which has no machine of its own."""
    if connection.dialect.name == "sqlite":
        connection.execute(select(1))
        return None
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment
