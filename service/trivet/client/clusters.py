"""Clusters and their authorities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trivet.client.connection import Connection
    from trivet.client.schemas import Cluster, Generation, ImportedRootPair


def cluster_path(cluster: str, *below: str) -> str:
    """The path of a cluster, or of something below it; the names come from a user."""
    return "/".join(["clusters", quote(cluster, safe=""), *(quote(part, safe="") for part in below)])


@dataclass(frozen=True, slots=True)
class Clusters:
    """The operations on clusters."""

    connection: Connection

    def create(
        self,
        name: str,
        endpoint: str,
        *,
        service_cidr: str | None = None,
        dns_domain: str | None = None,
        algorithm: str | None = None,
        roots: Mapping[str, ImportedRootPair] | None = None,
    ) -> Cluster:
        """Make a cluster with its three authorities, or take over `roots` by the authorities' names."""
        wanted = {
            "name": name,
            "endpoint": endpoint,
            "serviceCidr": service_cidr,
            "dnsDomain": dns_domain,
            "algorithm": algorithm,
            "import": roots,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return cast("Cluster", self.connection.call("POST", "clusters", json=given))

    def list(self, limit: int | None = None) -> Iterator[Cluster]:
        """Clusters, by name."""
        return each(self.connection, "clusters", limit=limit)

    def get(self, name: str) -> Cluster:
        """One cluster."""
        return cast("Cluster", self.connection.call("GET", cluster_path(name)))

    def authorities(self, name: str) -> Sequence[Generation]:
        """The generations of all authorities of a cluster."""
        answer = self.connection.call("GET", cluster_path(name, "authorities"))
        return cast("Sequence[Generation]", answer["items"])

    def ca_certificate(self, name: str, authority: str) -> bytes:
        """The certificate of the generation that issues, PEM."""
        return self.connection.send(
            "GET", cluster_path(name, "authorities", authority, "certificate")
        ).content

    def bundle(self, name: str, authority: str) -> bytes:
        """All certificates of an authority that are to be trusted, PEM."""
        return self.connection.send("GET", cluster_path(name, "authorities", authority, "bundle")).content
