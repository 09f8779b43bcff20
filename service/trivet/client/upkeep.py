"""What a cluster holds, when it renews, how long it survives without Trivet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.client.connection import Connection
    from trivet.client.repair_schemas import (
        AbandonedNode,
        EarlyRenewal,
        EarlyRenewalSummary,
        Identity,
        OutageBudget,
    )
    from trivet.client.schemas import RenewalInfo


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The operations on what a cluster holds."""

    connection: Connection

    def identities(
        self, cluster: str, *, node: str | None = None, limit: int | None = None
    ) -> Iterator[Identity]:
        """What a cluster (or one of its nodes) holds, newest first."""
        return each(self.connection, cluster_path(cluster, "identities"), {"node": node}, limit)

    def abandon(self, cluster: str, node: str) -> AbandonedNode:
        """Give up a node that was removed: nobody waits for what it holds."""
        path = cluster_path(cluster, "abandoned-nodes", node)
        return cast("AbandonedNode", self.connection.call("PUT", path))

    def take_back(self, cluster: str, node: str) -> None:
        """Wait for a node again that was given up."""
        self.connection.send("DELETE", cluster_path(cluster, "abandoned-nodes", node))

    def outage_budget(self, cluster: str) -> OutageBudget:
        """How long a cluster and its nodes survive if contact with Trivet is lost now."""
        return cast("OutageBudget", self.connection.call("GET", cluster_path(cluster, "outage-budget")))

    def renew(self, cluster: str, over_seconds: int | None = None) -> EarlyRenewal:
        """Ask a whole cluster to renew early, spread over a time."""
        path = cluster_path(cluster, "renewals")
        return cast(
            "EarlyRenewal",
            self.connection.call(
                "POST", path, json={"overSeconds": over_seconds} if over_seconds is not None else {}
            ),
        )

    def renewals(self, cluster: str, limit: int | None = None) -> Iterator[EarlyRenewalSummary]:
        """How often a cluster was asked to renew early, newest first."""
        return each(self.connection, cluster_path(cluster, "renewals"), limit=limit)

    def renewal(self, cluster: str, renewal: str) -> EarlyRenewal:
        """How far a cluster is that was asked to renew early."""
        path = cluster_path(cluster, "renewals", renewal)
        return cast("EarlyRenewal", self.connection.call("GET", path))

    def renewal_information(self, certificate_id: str) -> tuple[RenewalInfo, int | None]:
        """When to renew the certificate of that name (RFC 9773), and after how many seconds to ask again."""
        answer = self.connection.send("GET", f"renewal-info/{quote(certificate_id, safe='')}")
        again = answer.headers.get("Retry-After", "")
        return answer.json(), int(again) if again.isdecimal() else None
