"""The inventory of nodes: what each owns, and who owns what."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from trivet.pki.inventory import Grants
from trivet.pki.names import DnsName
from trivet.pki.search import NameKind, address_key
from trivet.store.tables import inventory_grants, inventory_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from trivet.pki.names import IPNetwork

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class InventoryNode:
    """What a node owns, and since when; `is_pinned` where its first request said so and no administrator."""

    cluster_id: UUID
    node: str
    grants: Grants
    version: int
    is_pinned: bool
    updated_at: datetime
    updated_by: str


def put(connection: Connection, stored: InventoryNode) -> None:
    """Put a node's entry in the place of what there was. The caller has looked for conflicts, and holds the counter."""
    remove(connection, stored.cluster_id, stored.node)
    connection.execute(
        insert(inventory_nodes).values(
            cluster_id=stored.cluster_id,
            node=stored.node,
            dns_names=list(stored.grants.dns_names),
            networks=[str(network) for network in stored.grants.networks],
            version=stored.version,
            is_pinned=stored.is_pinned,
            updated_at=stored.updated_at,
            updated_by=stored.updated_by,
        )
    )
    rows = [
        {"cluster_id": stored.cluster_id, "kind": kind, "first": first, "last": last, "node": stored.node}
        for kind, first, last in _keys(stored.node, stored.grants)
    ]
    connection.execute(insert(inventory_grants), rows)


def _keys(node: str, grants: Grants) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((node, *grants.dns_names)):
        yield NameKind.DNS.value, name, name
    for network in _disjoint(grants.networks):
        yield NameKind.IP.value, address_key(network[0]), address_key(network[-1])


def _disjoint(networks: Sequence[IPNetwork]) -> Iterator[IPNetwork]:
    """The same addresses in ranges that do not overlap."""
    yield from ipaddress.collapse_addresses(each for each in networks if each.version == 4)  # noqa: PLR2004
    yield from ipaddress.collapse_addresses(each for each in networks if each.version == 6)  # noqa: PLR2004


def remove(connection: Connection, cluster_id: UUID, node: str) -> bool:
    """Forget what a node owns; say whether there was anything."""
    for table in (inventory_grants, inventory_nodes):
        removed = connection.execute(
            delete(table).where(table.c.cluster_id == cluster_id, table.c.node == node)
        )
    return removed.rowcount == 1


def find(connection: Connection, cluster_id: UUID, node: str) -> InventoryNode | None:
    """The entry of a node."""
    return _entries(connection, cluster_id, [node]).get(node)


def grants_of(connection: Connection, cluster_id: UUID, nodes: Collection[str]) -> dict[str, Grants]:
    """What each of the nodes owns; without those that have no entry."""
    found = _entries(connection, cluster_id, sorted(nodes))
    return {node: entry.grants for node, entry in found.items()}


def rivals(connection: Connection, cluster_id: UUID, node: str, grants: Grants) -> dict[str, Grants]:
    """The other nodes that own some of it; an index search for each name and range."""
    others: set[str] = set()
    for kind, first, last in _keys(node, grants):
        others |= set(_owners(connection, cluster_id, node, (kind, first, last)))
    return grants_of(connection, cluster_id, others)


def _owners(connection: Connection, cluster_id: UUID, node: str, key: tuple[str, str, str]) -> Iterator[str]:
    kind, first, last = key
    columns = inventory_grants.c
    of_kind = (columns.cluster_id == cluster_id, columns.kind == kind)
    # Of the ranges that begin before this one only the nearest may reach into it, as none of them overlap.
    before = select(columns.node, columns.last).where(*of_kind, columns.first <= first)
    nearest = connection.execute(before.order_by(columns.first.desc()).limit(1)).first()
    if nearest is not None and nearest.last >= first and nearest.node != node:
        yield nearest.node
    if last > first:
        within = select(columns.node).where(*of_kind, columns.first > first, columns.first <= last)
        # Of others some are enough; the node's own must not take their place.
        yield from connection.scalars(within.where(columns.node != node).limit(_AT_ONCE))


def owners_of_names(connection: Connection, cluster_id: UUID, names: Collection[str]) -> dict[str, str]:
    """The nodes to which names were granted, by name."""
    columns = inventory_grants.c
    query = select(columns.first, columns.node).where(
        columns.cluster_id == cluster_id,
        columns.kind == NameKind.DNS.value,
        columns.first.in_(sorted(names)),
    )
    return {row.first: row.node for row in connection.execute(query)}


def page(connection: Connection, cluster_id: UUID, after: str | None, limit: int) -> list[InventoryNode]:
    """Entries of a cluster by node, from the first one after `after`."""
    columns = inventory_nodes.c
    query = (
        select(inventory_nodes).where(columns.cluster_id == cluster_id).order_by(columns.node).limit(limit)
    )
    if after is not None:
        query = query.where(columns.node > after)
    return [_entry(row) for row in connection.execute(query)]


def _entries(connection: Connection, cluster_id: UUID, nodes: Sequence[str]) -> dict[str, InventoryNode]:
    columns = inventory_nodes.c
    found: dict[str, InventoryNode] = {}
    for start in range(0, len(nodes), _AT_ONCE):
        some = nodes[start : start + _AT_ONCE]
        query = select(inventory_nodes).where(columns.cluster_id == cluster_id, columns.node.in_(some))
        found.update((row.node, _entry(row)) for row in connection.execute(query))
    return found


def _entry(row: Row[Any]) -> InventoryNode:
    grants = Grants(
        tuple(DnsName(name) for name in row.dns_names),
        tuple(ipaddress.ip_network(network) for network in row.networks),
    )
    return InventoryNode(
        row.cluster_id, row.node, grants, row.version, row.is_pinned, row.updated_at, row.updated_by
    )
