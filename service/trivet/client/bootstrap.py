"""Bootstrap tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trivet.client.connection import Connection
    from trivet.client.request_schemas import BootstrapToken, CreatedBootstrapToken


@dataclass(frozen=True, slots=True)
class BootstrapTokens:
    """The operations on bootstrap tokens."""

    connection: Connection

    def create(
        self,
        cluster: str,
        *,
        node: str | None = None,
        usages: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        description: str | None = None,
        expires_in_seconds: int | None = None,
    ) -> CreatedBootstrapToken:
        """Make a token; its secret is in this answer and nowhere else."""
        wanted = {
            "node": node,
            "usages": usages,
            "groups": groups,
            "description": description,
            "expiresInSeconds": expires_in_seconds,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return cast("CreatedBootstrapToken", self.connection.call("POST", _path(cluster), json=given))

    def list(self, cluster: str, limit: int | None = None) -> Iterator[BootstrapToken]:
        """The tokens of a cluster by their ids."""
        return each(self.connection, _path(cluster), limit=limit)

    def get(self, cluster: str, token: str) -> BootstrapToken:
        """One token by its id."""
        return cast("BootstrapToken", self.connection.call("GET", _path(cluster, token)))

    def delete(self, cluster: str, token: str) -> None:
        """Make a token worthless."""
        self.connection.send("DELETE", _path(cluster, token))


def _path(cluster: str, *below: str) -> str:
    return cluster_path(cluster, "bootstrap-tokens", *below)
