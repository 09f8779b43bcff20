"""Read what was published: the newest CRL of an authority's key, or of a shard. Anybody may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.pki.errors import NotFoundError, UnavailableError
from trivet.store import crls

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.authority.status.issuers import PublishedIssuer
    from trivet.pki.locations import Shard
    from trivet.store.crls import Crl


def newest_crl(authority: Authority, issuer: PublishedIssuer, shard: Shard) -> Crl:
    """The CRL that holds now, without its octets.

    Raises:
        NotFoundError: the CRL of this key was never split in that way.
        UnavailableError: the first one is not made yet; or the database cannot be reached.
    """
    with authority.database.read() as connection:
        listed = crls.find_list(connection, issuer.generation.id, shard)
        found = crls.newest(connection, listed.id) if listed else None
    if found is not None:
        return found
    if listed is None and not shard.is_complete:
        message = f"the CRL of this key was never split in {shard.of} parts"
        raise NotFoundError(message)
    message = "the first CRL of this key is being made; try again in a moment"
    raise UnavailableError(message)


def crl_octets(authority: Authority, crl: Crl) -> bytes | None:
    """The DER of a CRL; None once a newer one took its place."""
    with authority.database.read() as connection:
        content = crls.content(connection, crl.list_id, crl.number)
    return content.der if content else None
