"""What holds once only, or for a short time, and is given up by a restore: it may have been used or ended since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.authority import record
from trivet.authority.approval import steps
from trivet.authority.install import OPERATOR
from trivet.authority.repairs.watch import close_window
from trivet.store import bootstrap_tokens, clusters, counters, repairs, requests
from trivet.store.requests import RequestFilter, RequestState

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority

_AT_ONCE: Final = 500
_SLUG: Final = "restored"
_REASON: Final = "the database was restored; whether this was issued before is not known: submit it anew"


def give_up(authority: Authority, connection: Connection) -> dict[str, int]:
    """Give up, each with its record, and count: open repair windows, approvals, bootstrap tokens.

    A one-time token of a repair is worth nothing without its window. Who has a certificate or an access token keeps it.
    """
    return {
        "closedRepairs": _close_windows(authority, connection),
        "failedRequests": sum(
            _fail_approved(authority, connection, cluster_id)
            for cluster_id in clusters.names_by_id(connection)
        ),
        "removedBootstrapTokens": _remove_bootstrap_tokens(authority, connection),
    }


def _close_windows(authority: Authority, connection: Connection) -> int:
    count, now = 0, authority.clock()
    while standing := repairs.all_unclosed(connection):
        for window in standing:
            close_window(authority, connection, OPERATOR, window, "closed", min(now, window.ends_at))
        count += len(standing)
    return count


def _fail_approved(authority: Authority, connection: Connection, cluster_id: UUID) -> int:
    """As failed, not as pending: in Kubernetes an approval is never taken back."""
    count, wanted = 0, RequestFilter(RequestState.APPROVED)
    while found := requests.page(connection, cluster_id, wanted, None, _AT_ONCE):
        for stored in found:
            version = counters.advance(connection, cluster_id, "requests")
            requests.change(
                connection, steps.failed(stored, _SLUG, _REASON, None, version, authority.clock())
            )
            details = {"uid": str(stored.id), "reason": _REASON}
            record.change(authority, connection, OPERATOR, "request.fail", stored.name, cluster_id, details)
        count += len(found)
    return count


def _remove_bootstrap_tokens(authority: Authority, connection: Connection) -> int:
    removed = bootstrap_tokens.remove_all(connection)
    for token_id, cluster_id in removed.items():
        record.change(authority, connection, OPERATOR, "bootstrap-token.delete", token_id, cluster_id, {})
    return len(removed)
