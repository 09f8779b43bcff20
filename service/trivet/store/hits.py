"""The live certificates that entries would hit: counted, by profile and node, and a few of them as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Subquery, and_, func, select

from trivet.store.certificates import StoredCertificate, stored_certificate, unexpired
from trivet.store.marking import named
from trivet.store.tables import certificates, clusters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection

    from trivet.pki.revocation import Entry


@dataclass(frozen=True, slots=True)
class Aim:
    """Which certificates are meant.

    Attributes:
        entries: that name them.
        scope: the cluster's id, or ALL_CLUSTERS.
        now: they are live then.
        spared: entries; what one of these names is left out.
    """

    entries: Sequence[Entry]
    scope: UUID
    now: datetime
    spared: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """How many certificates of a profile are hit, on how many nodes, and when the first of them expires."""

    profile: str
    count: int
    nodes: int
    first_end: datetime


@dataclass(frozen=True, slots=True)
class Hit:
    """How many certificates of a profile are hit on a node (None where none is noted) of a cluster."""

    cluster: str
    profile: str
    node: str | None
    count: int
    first_end: datetime


def totals(connection: Connection, aim: Aim) -> dict[str, Total]:
    """What is hit, by profile."""
    if not aim.entries:
        return {}
    each = _grouped(aim)
    columns = each.c
    query = select(
        columns.profile, func.sum(columns.count), func.count(columns.node), func.min(columns.first_end)
    ).group_by(columns.profile)
    return {row[0]: Total(row[0], int(row[1]), row[2], row[3]) for row in connection.execute(query)}


def by_node(connection: Connection, aim: Aim, limit: int, profile: str | None = None) -> list[Hit]:
    """What is hit, by profile, cluster and node, in this order; of one profile where it is given."""
    if not aim.entries:
        return []
    each = _grouped(aim, profile).c
    query = (
        select(clusters.c.name, each.profile, each.node, each.count, each.first_end)
        .join(clusters, clusters.c.id == each.cluster_id)
        .order_by(each.profile, clusters.c.name, each.node)
        .limit(limit)
    )
    return [Hit(*row) for row in connection.execute(query)]


def newest(
    connection: Connection, aim: Aim, limit: int, profile: str | None = None
) -> list[StoredCertificate]:
    """The certificates themselves, newest first; of one profile where it is given."""
    if not aim.entries:
        return []
    query = select(certificates).where(_hit(aim, profile)).order_by(certificates.c.id.desc()).limit(limit)
    return [stored_certificate(row) for row in connection.execute(query)]


def _grouped(aim: Aim, profile: str | None = None) -> Subquery:
    columns = certificates.c
    groups = (columns.cluster_id, columns.profile, columns.node)
    counted = (func.count().label("count"), func.min(columns.not_after).label("first_end"))
    return select(*groups, *counted).where(_hit(aim, profile)).group_by(*groups).subquery()


def _hit(aim: Aim, profile: str | None) -> ColumnElement[bool]:
    is_live = and_(certificates.c.revoked_at.is_(None), unexpired(aim.now))
    is_named = named(aim.entries, aim.scope, aim.spared)
    return and_(is_live, is_named, *([certificates.c.profile == profile] if profile else []))
