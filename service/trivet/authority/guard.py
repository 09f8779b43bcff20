"""The guard against lock-outs: a revocation that would lock out a control plane waits until its preview was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.context import LockoutGuard
from trivet.authority.preview import Preview, look_ahead
from trivet.pki.errors import ConfirmationRequiredError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.store.clusters import Cluster


def guarded(
    authority: Authority,
    connection: Connection,
    cluster: Cluster | None,
    wanted: RenewRevocation,
    now: datetime,
    confirmation: str | None,
) -> Preview:
    """Look ahead, and refuse what would lock out a control plane and was not confirmed.

    Raises:
        ConfirmationRequiredError: the policy refuses lock-outs, and the token is not that of the preview.
    """
    preview = look_ahead(connection, cluster, wanted, now)
    refuses = authority.policy.lockout_guard is LockoutGuard.REFUSE
    if refuses and preview.locks_out and confirmation != preview.token:
        message = (
            "this would lock out a control plane: "
            + "; ".join(preview.warnings)
            + ". Add a notBefore, or read the"
            " preview (dryRun=All) and repeat the request with its token as `confirm`."
        )
        raise ConfirmationRequiredError(message)
    return preview
