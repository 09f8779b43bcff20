"""The inventory of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trivet.client.connection import Connection
    from trivet.client.request_schemas import InventoryNode


@dataclass(frozen=True, slots=True)
class Inventory:
    """The operations on the inventory."""

    connection: Connection

    def list(self, cluster: str, limit: int | None = None) -> Iterator[InventoryNode]:
        """What the nodes of a cluster own, by their names."""
        return each(self.connection, _path(cluster), limit=limit)

    def get(self, cluster: str, node: str) -> InventoryNode:
        """What a node owns."""
        return cast("InventoryNode", self.connection.call("GET", _path(cluster, node)))

    def replace(
        self, cluster: str, node: str, dns_names: Sequence[str], ip_addresses: Sequence[str]
    ) -> InventoryNode:
        """Say what a node owns, in the place of what was said before."""
        given = {"dnsNames": list(dns_names), "ipAddresses": list(ip_addresses)}
        return cast("InventoryNode", self.connection.call("PUT", _path(cluster, node), json=given))

    def delete(self, cluster: str, node: str) -> None:
        """Take from a node all that it owns."""
        self.connection.send("DELETE", _path(cluster, node))


def _path(cluster: str, *below: str) -> str:
    return cluster_path(cluster, "inventory", *below)
