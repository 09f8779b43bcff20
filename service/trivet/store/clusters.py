"""Clusters."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import Row, insert, select

from trivet.pki.errors import NotFoundError
from trivet.pki.names import DnsName, is_plain
from trivet.pki.subjects import ClusterNames, parse_host
from trivet.store import revocations
from trivet.store.tables import clusters

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

ALL_CLUSTERS: Final = UUID(int=0)
"""The scope of revocations that hold in every cluster."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that Trivet hosts."""

    id: UUID
    name: str
    names: ClusterNames
    created_at: datetime


def add(connection: Connection, cluster: Cluster) -> None:
    """Store a new cluster and its empty set of revocations."""
    connection.execute(
        insert(clusters).values(
            id=cluster.id,
            name=cluster.name,
            endpoint=str(cluster.names.endpoint),
            service_cidr=str(cluster.names.service_cidr),
            dns_domain=cluster.names.dns_domain,
            created_at=cluster.created_at,
        )
    )
    revocations.add_set(connection, cluster.id)


def find(connection: Connection, name: str) -> Cluster | None:
    """The cluster of that name."""
    if not is_plain(name):  # PostgreSQL refuses to compare with what it cannot hold
        return None
    row = connection.execute(select(clusters).where(clusters.c.name == name)).first()
    return _cluster(row) if row else None


def get(connection: Connection, name: str) -> Cluster:
    """The cluster of that name.

    Raises:
        NotFoundError: there is none.
    """
    cluster = find(connection, name)
    if cluster is None:
        message = f"there is no cluster {name[:80]!r}"
        raise NotFoundError(message)
    return cluster


def with_id(connection: Connection, cluster_id: UUID) -> Cluster | None:
    """The cluster of that id."""
    row = connection.execute(select(clusters).where(clusters.c.id == cluster_id)).first()
    return _cluster(row) if row else None


def names_by_id(connection: Connection) -> dict[UUID, str]:
    """The names of all clusters."""
    return {row.id: row.name for row in connection.execute(select(clusters.c.id, clusters.c.name))}


def name_of(connection: Connection, cluster_id: UUID) -> str:
    """The name of the cluster of that id, which exists."""
    name: str = connection.execute(select(clusters.c.name).where(clusters.c.id == cluster_id)).scalar_one()
    return name


def page(connection: Connection, only: UUID | None, after: str | None, limit: int) -> list[Cluster]:
    """Clusters (or only the one of that id) in the order of their names, from the first one after `after`."""
    query = select(clusters).order_by(clusters.c.name).limit(limit)
    if only is not None:
        query = query.where(clusters.c.id == only)
    if after is not None:
        query = query.where(clusters.c.name > after)
    return [_cluster(row) for row in connection.execute(query)]


def _cluster(row: Row[Any]) -> Cluster:
    names = ClusterNames(
        parse_host(row.endpoint), ipaddress.ip_network(row.service_cidr), DnsName(row.dns_domain)
    )
    return Cluster(row.id, row.name, names, row.created_at)
