"""Room for certificate requests: a flood of them neither fills the database nor keeps others out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Role
from trivet.authority.approval.person import submitted_by
from trivet.pki.errors import RateLimitedError
from trivet.store import requests

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import RequestLimits
    from trivet.store.clusters import Cluster

_WAIT: Final = timedelta(minutes=1)
_WAY_OUT: Final = (
    "approvers decide them (trivet requests list --state pending), an administrator can delete some, and what waits"
    " longer than 24 h is removed"
)
_DECIDED: Final = "each is removed 1 h after its decision"


def check_room(connection: Connection, limits: RequestLimits, requester: Requester, cluster: Cluster) -> None:
    """Let a request pass where there is room for one more.

    Raises:
        RateLimitedError: too many wait, of this requester or in the cluster; or too many were decided lately.
    """
    # Bootstrap tokens are known to many; a leaked one must not take the places of nodes and administrators.
    username = submitted_by(requester).username
    is_guest = requester.role is Role.BOOTSTRAP
    waiting_places = limits.pending_in_cluster // 2 if is_guest else limits.pending_in_cluster
    places = limits.kept_in_cluster // 2 if is_guest else limits.kept_in_cluster
    if requests.has_pending(connection, cluster.id, username, limits.pending):
        message = (
            f"{limits.pending} requests of {username} wait already in the cluster {cluster.name}; {_WAY_OUT}"
        )
        raise RateLimitedError(message, _WAIT)
    if requests.has_pending(connection, cluster.id, None, waiting_places):
        message = f"{waiting_places} requests wait already in the cluster {cluster.name}; {_WAY_OUT}"
        raise RateLimitedError(message, _WAIT)
    if requests.has_kept(connection, cluster.id, username, limits.kept):
        message = f"{username} has {limits.kept} requests in the cluster {cluster.name}; {_DECIDED}"
        raise RateLimitedError(message, _WAIT)
    if requests.has_kept(connection, cluster.id, None, places):
        message = f"the cluster {cluster.name} has {places} requests; {_DECIDED}"
        raise RateLimitedError(message, _WAIT)
