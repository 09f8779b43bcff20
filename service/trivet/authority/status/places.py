"""From the path of a URL to the generation that it speaks of, whatever state that is in: certificates outlive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.status.issuers import published_issuer
from trivet.authority.status.replies import Answerable
from trivet.pki.errors import NotFoundError
from trivet.pki.ocsp import issuer_ids
from trivet.pki.pem import from_der

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.authority.status.replies import Place


def find_place(authority: Authority, place: Place) -> Answerable | None:
    """The generation that a URL names; None where there is none.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    try:
        issuer = published_issuer(authority, *place)
    except NotFoundError:
        return None
    ids = issuer_ids(from_der(issuer.generation.certificate))
    return Answerable(issuer.cluster.name, issuer.cluster.id, issuer.generation, ids)
