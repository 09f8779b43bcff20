"""Keys of authorities by the path under which their certificates and CRLs are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.pki.errors import NotFoundError
from trivet.pki.pem import from_der
from trivet.pki.plan import stated_key_identifier
from trivet.pki.profiles import CLUSTER_AUTHORITIES
from trivet.store import authorities, clusters

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.store.authorities import Generation
    from trivet.store.clusters import Cluster


@dataclass(frozen=True, slots=True)
class PublishedIssuer:
    """A generation of an authority of a cluster. Neither ever changes, but the generation's state."""

    cluster: Cluster
    generation: Generation


def published_issuer(authority: Authority, cluster: str, name: str, key_identifier: str) -> PublishedIssuer:
    """The generation that `/pki/{cluster}/{authority}/{ski}` stands for; remembered, as that never changes.

    Anybody may ask: certificates of the cluster, and the authority's own, tell as much.

    Raises:
        NotFoundError: there is none such.
    """
    known = authority.memory.issuers.get((cluster, name, key_identifier))
    if known is not None:
        return known
    with authority.database.read() as connection:
        found = clusters.find(connection, cluster)
        standing = authorities.all_generations(connection, found.id) if found else []
    for generation in standing:
        stated = stated_key_identifier(from_der(generation.certificate)).hex()
        if (
            found
            and generation.name in CLUSTER_AUTHORITIES
            and (generation.name, stated) == (name, key_identifier)
        ):
            issuer = PublishedIssuer(found, generation)
            authority.memory.issuers.put((cluster, name, key_identifier), issuer)
            return issuer
    message = f"no authority {name[:80]!r} of a cluster {cluster[:80]!r} has a key of that identifier"
    raise NotFoundError(message)
