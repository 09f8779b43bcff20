"""The steps that a certificate request takes, each with its condition, and the seal of an approval."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from trivet.store.requests import RequestState

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.store.requests import StoredRequest

# As kube-controller-manager's cleaner has it (pkg/controller/certificates/cleaner/cleaner.go).
KEPT_PENDING: Final = timedelta(hours=24)
KEPT_DECIDED: Final = timedelta(hours=1)

RULE: Final = "rule:"
"""Before the name of the rule, in place of an approver."""


def approved(
    authority: Authority,
    request: StoredRequest,
    by: str,
    message: str,
    version: int,
    now: datetime,
    *,
    code: str | None = None,
) -> StoredRequest:
    """The request once somebody (or a rule) approved it; `code` is the reason in one word, where they have one."""
    reason = code or ("AutoApproved" if by.startswith(RULE) else "ApprovedByPerson")
    decided = replace(
        request,
        version=version,
        state=RequestState.APPROVED,
        reason=message,
        conditions=(*request.conditions, condition("Approved", reason, message, by, now)),
        decided_at=now,
        decided_by=by,
        collect_at=now + KEPT_PENDING,
    )
    return replace(decided, seal=authority.key_encryption_key.seal(_approval(decided)))


def denied(
    request: StoredRequest, by: str, message: str, version: int, now: datetime, *, code: str | None = None
) -> StoredRequest:
    """The request once somebody denied it; `code` is the reason in one word, where they have one."""
    return replace(
        request,
        version=version,
        state=RequestState.DENIED,
        reason=message,
        conditions=(*request.conditions, condition("Denied", code or "DeniedByPerson", message, by, now)),
        decided_at=now,
        decided_by=by,
        collect_at=now + KEPT_DECIDED,
    )


def issued(
    request: StoredRequest, certificate_id: UUID, decision_id: UUID, version: int, now: datetime
) -> StoredRequest:
    """The request once its certificate was issued; its approval is spent."""
    return replace(
        request,
        version=version,
        state=RequestState.ISSUED,
        seal=None,
        certificate_id=certificate_id,
        decision_id=decision_id,
        collect_at=now + KEPT_DECIDED,
    )


def failed(
    request: StoredRequest, slug: str, message: str, decision_id: UUID | None, version: int, now: datetime
) -> StoredRequest:
    """The request once it was approved, and refused all the same when it should have been issued."""
    step = condition("Failed", "SignerValidationFailure", f"{slug}: {message}", "trivet", now)
    return replace(
        request,
        version=version,
        state=RequestState.FAILED,
        reason=f"{slug}: {message}",
        conditions=(*request.conditions, step),
        seal=None,
        decision_id=decision_id,
        collect_at=now + KEPT_DECIDED,
    )


def condition(kind: str, reason: str, message: str, by: str, now: datetime) -> dict[str, Any]:
    """A step as a condition of Kubernetes, with who took it."""
    moment = now.isoformat().replace("+00:00", "Z")
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "by": by,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }


def is_sealed(authority: Authority, request: StoredRequest) -> bool:
    """Whether what stands in the database is what was approved."""
    return request.seal == authority.key_encryption_key.seal(_approval(request))


def _approval(request: StoredRequest) -> str:
    submitted = request.submitted
    return repr([
        "certificate request", str(request.id), str(request.cluster_id), hashlib.sha256(request.der).hexdigest(),
        request.profile, request.node, request.expiration_seconds, submitted.username, submitted.requester,
        str(submitted.voucher_id), submitted.bootstrap_token, request.decided_by,
        request.decided_at.isoformat() if request.decided_at else None,
    ])  # fmt: skip
