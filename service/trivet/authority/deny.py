"""Leave a decision record for a wish that was refused at the door, before it was read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trivet.authority.access import Permission, Requester, require_permission
from trivet.authority.metrics import measures
from trivet.pki.errors import AccessDeniedError, Refusal
from trivet.store import clusters, decisions
from trivet.store.decisions import Decision

if TYPE_CHECKING:
    from trivet.authority.context import Authority

_ACTIONS = {Permission.ISSUE: "issue", Permission.RENEW: "renew"}
_UNREAD = "-"  # the profile of a wish that nobody read


def require_or_record(
    authority: Authority, requester: Requester, permission: Permission, cluster: str | None, body: bytes
) -> None:
    """Refuse whose role may not issue or renew, and leave the decision record that every refused request leaves.

    Args:
        authority: the context.
        requester: who asks.
        permission: for what; only refusals to issue or renew are decisions.
        cluster: where, as it was asked.
        body: the request as it was received.

    Raises:
        AccessDeniedError: with the id of its decision record.
    """
    try:
        require_permission(requester, permission)
    except AccessDeniedError as refusal:
        if permission in _ACTIONS:
            record_refusal(authority, requester, _ACTIONS[permission], cluster, body, refusal)
        raise


def record_refusal(
    authority: Authority,
    requester: Requester,
    action: str,
    cluster: str | None,
    body: bytes,
    refusal: Refusal,
) -> None:
    """Leave the decision record of a refusal that came before the wish was read, and note its id in the refusal."""
    with authority.ledger.chain(authority) as chain, authority.database.write() as connection:
        now = authority.clock()
        found = clusters.find(connection, cluster) if cluster is not None else None
        decision = Decision(
            id=authority.new_id(now),
            decided_at=now,
            cluster_id=found.id if found else None,
            requester=requester.name,
            action=action,
            profile=_UNREAD,
            request_sha256=hashlib.sha256(body).hexdigest(),
            verdict="refused",
            reason=refusal.slug,
            detail=refusal.detail,
            request_id=requester.request_id,
            **chain.place,
        )
        decisions.add_all(connection, [chain.link(decision)])
    refusal.decision = str(decision.id)
    measures.decided(found, _UNREAD, action, refusal)
