"""Repairs of clusters whose certificates expired or were revoked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.client.connection import Connection
    from trivet.client.repair_schemas import Repair, RepairSummary, RepairToken
    from trivet.client.schemas import Certificate

_JSON = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Repairs:
    """The operations on repair windows."""

    connection: Connection

    def open(
        self,
        cluster: str,
        *,
        for_seconds: int | None = None,
        expired_for_seconds: int | None = None,
        patience_seconds: int | None = None,
        dry_run: bool = False,
    ) -> Repair:
        """Open a window in which expired certificates may renew; or (`dry_run`) tell what would bar the way."""
        wanted = {
            "forSeconds": for_seconds,
            "expiredForSeconds": expired_for_seconds,
            "patienceSeconds": patience_seconds,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        query = {"dryRun": "All" if dry_run else None}
        return cast("Repair", self.connection.call("POST", _path(cluster), query=query, json=given))

    def list(self, cluster: str, limit: int | None = None) -> Iterator[RepairSummary]:
        """The windows of a cluster, newest first."""
        return each(self.connection, _path(cluster), limit=limit)

    def get(self, cluster: str, repair: str) -> Repair:
        """How a repair stands."""
        return cast("Repair", self.connection.call("GET", _path(cluster, repair)))

    def close(self, cluster: str, repair: str) -> None:
        """Close a window at once."""
        self.connection.send("DELETE", _path(cluster, repair))

    def skip(self, cluster: str, repair: str, stage: str) -> Repair:
        """Let the next stage begin, though this one is not over."""
        return cast(
            "Repair", self.connection.call("POST", _path(cluster, repair, "skips"), json={"stage": stage})
        )

    def token(self, cluster: str, repair: str, node: str) -> RepairToken:
        """Make a one-time token; its secret is in this answer and nowhere else."""
        answer = self.connection.call("POST", _path(cluster, repair, "tokens"), json={"node": node})
        return cast("RepairToken", answer)

    def renew(self, cluster: str, repair: str, message: str) -> Certificate:
        """Renew by a message that was carried here from a node that cannot reach Trivet."""
        path = _path(cluster, repair, "renewals")
        return cast(
            "Certificate", self.connection.call("POST", path, json={"message": message}, headers=_JSON)
        )


def _path(cluster: str, *below: str) -> str:
    return cluster_path(cluster, "repairs", *below)
