"""The guard against lock-outs: a revocation that would lock out a control plane waits until its preview was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.context import LockoutGuard
from trivet.authority.preview import Outlook, look_ahead
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
) -> Outlook:
    """Look ahead, and refuse what would lock out a control plane and was not confirmed.

    Raises:
        ConfirmationRequiredError: the policy refuses lock-outs, and the token is not that of the preview.
    """
    outlook = look_ahead(connection, cluster, wanted, now)
    refuses = authority.policy.lockout_guard is LockoutGuard.REFUSE
    if refuses and outlook.locks_out and confirmation != outlook.token:
        lockouts = "; ".join(finding.detail for finding in outlook.findings if finding.locks_out)
        raise ConfirmationRequiredError(
            f"this would lock out a control plane: {lockouts}. {_way_out(confirmation)}"
        )
    return outlook


def _way_out(confirmation: str | None) -> str:
    if confirmation is None:
        return "Add a notBefore, or read the preview (dryRun=All) and repeat the request with its token as `confirm`."
    return (
        "The token in `confirm` is not that of this object's preview as things stand: the object, the other"
        " revocations, or who would be locked out has changed since. Read the preview (dryRun=All) again and repeat"
        " the request with its new token, or add a notBefore."
    )
