"""Whether an API server shall refuse a request, because its client certificate is revoked.

kube-apiserver reads no CRLs and asks no OCSP responder. But it tells an authorization webhook by the fingerprint which
certificate a request came with; so it learns here what it cannot look up. All else is for other authorizers to decide:
nothing is ever allowed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, Role, authorized_cluster, require_permission
from trivet.authority.context import WhenStale
from trivet.pki.errors import AccessDeniedError
from trivet.store import clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority, ReviewPolicy
    from trivet.authority.revocations.view import RevokedView
    from trivet.store.clusters import Cluster

REVIEWER_PROFILE: Final = "apiserver-kubelet-client"
"""The client certificate that every API server holds; it may ask in its cluster."""


class Outcome(StrEnum):
    """What an API server is told; `STALE` is what it is told where too little is known."""

    DENIED = "denied"
    NO_OPINION = "noOpinion"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer.

    Attributes:
        denied: the request is to be refused; else others decide.
        reason: in words, for whoever is refused and for the API server's audit log.
        error: what kept this from being known.
    """

    outcome: Outcome
    denied: bool = False
    reason: str = ""
    error: str = ""


NO_OPINION: Final = Verdict(Outcome.NO_OPINION)


def admit_reviewer(authority: Authority, requester: Requester, cluster: str) -> Cluster:
    """Let an API server ask, or whoever has a token that may.

    The holder of the API server's certificate may ask also when that is revoked or has expired: what is revoked is no
    secret (CRLs tell everybody), and a revocation that names the API server's own certificate among others must not
    keep it from hearing of the others.

    Raises:
        AccessDeniedError: neither, or of another cluster.
        NotFoundError: there is no such cluster.
        UnavailableError: the database cannot be reached.
    """
    with authority.database.read() as connection:
        if requester.role is not Role.HOLDER:
            now = authority.clock()
            return authorized_cluster(connection, requester, Permission.REVIEW_ACCESS, cluster, now)
        require_permission(requester, Permission.REVIEW_ACCESS)
        found = clusters.find(connection, cluster)
    held = requester.certificate
    if found is None or found.id != requester.cluster_id or held is None or held.profile != REVIEWER_PROFILE:
        message = (
            f"only an API server of this cluster may ask, by its {REVIEWER_PROFILE} certificate, or an access token of"
            " the role auditor or admin"
        )
        raise AccessDeniedError(message)
    return found


def review(view: RevokedView, presented: Sequence[bytes], age: float, policy: ReviewPolicy) -> Verdict:
    """What to say of a request.

    Args:
        view: what is known of the cluster.
        presented: the SHA-256 fingerprints of the client certificates that it came with: one, or none.
        age: of the view, in seconds.
        policy: how old it may be.
    """
    if not presented:  # a service account, say: nothing that could be revoked here, however little is known
        return NO_OPINION
    for digest in presented:
        if digest in view.fingerprints:
            return Verdict(Outcome.DENIED, denied=True, reason=_revoked(digest, view.cluster.name))
    longest = max(policy.fresh, policy.stale).total_seconds()
    if age <= longest:
        return NO_OPINION
    told = (
        f"the database of Trivet cannot be read, and what is known of revoked certificates is {age:.0f} s old;"
        f" more than {longest:g} s are not allowed (authorize_stale_seconds)"
    )
    if policy.when_stale is WhenStale.DENY:
        return Verdict(Outcome.STALE, denied=True, reason=told, error=told)
    return Verdict(Outcome.STALE, error=told)


def _revoked(digest: bytes, cluster: str) -> str:
    return f"the client certificate with the SHA-256 fingerprint {digest.hex()} is revoked (Trivet, cluster {cluster})"
