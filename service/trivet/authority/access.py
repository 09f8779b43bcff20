"""Who may do what: one table of permissions by role, and the few rules about certificate holders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.pki.errors import (
    AccessDeniedError,
    ExpiredError,
    NotFoundError,
    RejectedIdentifierError,
    RevokedError,
)
from trivet.pki.kubernetes import NODE_PREFIX
from trivet.pki.pem import from_der
from trivet.pki.subjects import names_of
from trivet.pki.validity import Validity
from trivet.store import clusters

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.pki.inventory import Owned
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile
    from trivet.store.bootstrap_tokens import StoredBootstrapToken
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster


class Permission(StrEnum):
    """One kind of thing to do; every operation of every front end asks for exactly one."""

    CREATE_CLUSTER = "clusters:create"
    READ_CLUSTER = "clusters:read"
    ISSUE = "certificates:issue"
    RENEW = "certificates:renew"
    READ_CERTIFICATE = "certificates:read"
    READ_DECISION = "decisions:read"
    WRITE_REVOCATION = "revocations:write"
    PREVIEW_REVOCATION = "revocations:preview"
    READ_REVOCATION = "revocations:read"
    WRITE_TOKEN = "tokens:write"  # noqa: S105  a permission, not a secret
    READ_TOKEN = "tokens:read"  # noqa: S105
    READ_AUDIT = "audit:read"
    READ_METRICS = "metrics:read"
    WRITE_REPAIR = "repairs:write"
    READ_REPAIR = "repairs:read"
    ASK_RENEWAL = "renewals:write"
    SUBMIT_REQUEST = "requests:submit"
    READ_REQUEST = "requests:read"
    DECIDE_REQUEST = "requests:decide"
    DELETE_REQUEST = "requests:delete"
    WRITE_BOOTSTRAP_TOKEN = "bootstrap-tokens:write"  # noqa: S105
    READ_BOOTSTRAP_TOKEN = "bootstrap-tokens:read"  # noqa: S105
    WRITE_INVENTORY = "inventory:write"
    READ_INVENTORY = "inventory:read"
    REVIEW_ACCESS = "access:review"


class Role(StrEnum):
    """What an access token is for.

    SIGNER is a living cluster's external signer. HOLDER is whoever holds a certificate's key, REPAIR whoever has a
    one-time token, BOOTSTRAP whoever has a bootstrap token. APPROVED is nobody who can ask for anything: in its name a
    certificate request is issued once it is approved.
    """

    ADMIN = "admin"
    ISSUER = "issuer"
    APPROVER = "approver"
    AUDITOR = "auditor"
    SIGNER = "signer"
    HOLDER = "holder"
    REPAIR = "repair"
    BOOTSTRAP = "bootstrap"
    APPROVED = "approved"


TOKEN_ROLES: Final = (Role.ADMIN, Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.SIGNER)

_READ = frozenset({Permission.READ_CLUSTER, Permission.READ_CERTIFICATE})
PERMISSIONS: Final = {
    Role.ADMIN: frozenset(Permission) - {Permission.RENEW},
    Role.ISSUER: _READ | {Permission.ISSUE, Permission.SUBMIT_REQUEST, Permission.READ_REQUEST},
    Role.APPROVER: _READ
    | {
        Permission.READ_REVOCATION,
        Permission.READ_REPAIR,
        Permission.READ_DECISION,
        Permission.READ_REQUEST,
        Permission.DECIDE_REQUEST,
        Permission.READ_INVENTORY,
    },
    Role.AUDITOR: _READ
    | {
        Permission.READ_DECISION,
        Permission.PREVIEW_REVOCATION,
        Permission.READ_REVOCATION,
        Permission.READ_TOKEN,
        Permission.READ_AUDIT,
        Permission.READ_METRICS,
        Permission.READ_REPAIR,
        Permission.READ_REQUEST,
        Permission.READ_BOOTSTRAP_TOKEN,
        Permission.READ_INVENTORY,
        Permission.REVIEW_ACCESS,
    },
    # Of profiles: those with a signerName; of revocations: those that it mirrored (`authority.external_signer`).
    Role.SIGNER: frozenset(
        {
            Permission.READ_CLUSTER,
            Permission.ISSUE,
            Permission.WRITE_REVOCATION,
            Permission.PREVIEW_REVOCATION,
            Permission.READ_REVOCATION,
        }
    ),
    # Only with the certificate's own key: a token, however mighty, does not prove possession. Of requests: its own.
    # To review access: API servers (`authority.review`).
    Role.HOLDER: _READ
    | {
        Permission.RENEW,
        Permission.ISSUE,
        Permission.SUBMIT_REQUEST,
        Permission.READ_REQUEST,
        Permission.REVIEW_ACCESS,
    },
    # What its node held, each once, while its window is open (`authority.repairs.gate`); nothing else.
    Role.REPAIR: frozenset({Permission.ISSUE}),
    # A client certificate for its node, by a request (`authority.approval.submit`), and that request; nothing else.
    Role.BOOTSTRAP: frozenset({Permission.SUBMIT_REQUEST, Permission.READ_REQUEST}),
    Role.APPROVED: frozenset({Permission.ISSUE}),
}


@dataclass(frozen=True, slots=True)
class Requester:
    """Somebody who was authenticated.

    Attributes:
        name: for records: `token:ID`, or `certificate:SERIAL (CN)`.
        role: what they may do.
        cluster_id: the one cluster they may do it in; None for all.
        certificate: the certificate whose key they hold, for holders.
        request_id: of the HTTP request, for records.
        expires_at: when the token ends that vouches for them; None for never.
        token_id: of the access token that they were known by.
        repair_token: id of the one-time token that they were known by.
        bootstrap_token: the one that they were known by.
        signer_names: of an approver: whose requests they decide; none for all.
    """

    name: str
    role: Role
    cluster_id: UUID | None = None
    certificate: StoredCertificate | None = None
    request_id: str | None = None
    expires_at: datetime | None = None
    token_id: UUID | None = None
    repair_token: UUID | None = None
    bootstrap_token: StoredBootstrapToken | None = None
    signer_names: tuple[str, ...] = ()

    @property
    def node(self) -> str | None:
        """The node that the requester is, as its kubelet client certificate says."""
        if self.certificate is None or self.certificate.profile != "kubelet-client":
            return None
        # From what was signed, not from the database's other columns, which a signature does not protect.
        name = names_of(from_der(self.certificate.der)).common_name
        return name.removeprefix(NODE_PREFIX) if name.startswith(NODE_PREFIX) else None


def require_permission(requester: Requester, permission: Permission) -> None:
    """Look at the role alone: a front end asks before it reads anything else of a request.

    Raises:
        AccessDeniedError: the role lacks the permission.
    """
    if permission not in PERMISSIONS[requester.role]:
        message = f"the role {requester.role} lacks the permission {permission}"
        raise AccessDeniedError(message)


def authorize(requester: Requester, permission: Permission, cluster_id: UUID | None, now: datetime) -> None:
    """Let pass, or refuse.

    Args:
        requester: who asks.
        permission: for what.
        cluster_id: where; None for what concerns all clusters.
        now: a holder's certificate must be valid.

    Raises:
        AccessDeniedError: the role lacks the permission, or holds in another cluster only.
        ExpiredError: the certificate that vouches for the requester is outside its validity.
        RevokedError: that certificate is revoked.
    """
    require_permission(requester, permission)
    if requester.cluster_id is not None and requester.cluster_id != cluster_id:
        # The same words whether there is such a cluster or not: its name is nobody else's to learn.
        message = f"this requester has the permission {permission} in its own cluster only"
        raise AccessDeniedError(message)
    if requester.certificate is not None:
        _check_standing(requester.certificate, now)


def _check_standing(held: StoredCertificate, now: datetime) -> None:
    if held.revoked_at is not None:
        message = (
            f"the certificate {held.serial} was revoked at {held.revoked_at:%Y-%m-%dT%H:%M:%SZ};"
            " an administrator can let this node in again by issuing it a new certificate, or with a one-time token"
            " (trivet repair token CLUSTER NODE)"
        )
        raise RevokedError(message)
    if not Validity(held.not_before, held.not_after).contains(now):
        message = (
            f"the certificate {held.serial} was valid from {held.not_before:%Y-%m-%dT%H:%M:%SZ} to"
            f" {held.not_after:%Y-%m-%dT%H:%M:%SZ}; {way_out_of_expiry(None)}"
        )
        raise ExpiredError(message)


def way_out_of_expiry(cluster: str | None) -> str:
    """What helps whoever holds an expired certificate, in words."""
    name = cluster or "CLUSTER"
    return (
        f"an administrator can let it renew all the same (trivet repair {name}),"
        " or an issuer can give this holder a new certificate for its names"
    )


def authorized_cluster(
    connection: Connection, requester: Requester, permission: Permission, name: str, now: datetime
) -> Cluster:
    """The cluster of that name, if the requester may do this in it.

    Raises:
        NotFoundError: there is no such cluster (for those who may know).
        AccessDeniedError, ExpiredError, RevokedError: as `authorize`.
    """
    cluster = clusters.find(connection, name)
    # One who belongs to a cluster learns nothing of the names of others.
    authorize(requester, permission, cluster.id if cluster else None, now)
    if cluster is None:
        message = f"there is no cluster {name[:80]!r}"
        raise NotFoundError(message)
    return cluster


def check_signer(requester: Requester, signer_name: str) -> None:
    """Hold an approver to the signers whose requests they may decide, as RBAC's `approve` of `signers` does.

    Raises:
        AccessDeniedError: it is another's.
    """
    if requester.signer_names and signer_name not in requester.signer_names:
        message = (
            f"this token decides requests for {', '.join(requester.signer_names)} only, and this one is for"
            f" {signer_name}"
        )
        raise AccessDeniedError(message)


def check_own(requester: Requester, current: StoredCertificate) -> None:
    """Let a certificate be renewed by whoever holds its key, and by nobody else.

    Raises:
        AccessDeniedError: the requester holds another certificate, or none.
    """
    if requester.certificate is None or requester.certificate.id != current.id:
        message = "a certificate is renewed with its own key only"
        raise AccessDeniedError(message)


def check_own_names(requester: Requester, profile: Profile, names: Names, node: str | None) -> None:
    """Hold certificate holders to kubelets' certificates of their own node; tokens may ask for any.

    Raises:
        AccessDeniedError: the holder is not a node, or asks for a profile that is not a kubelet's.
        RejectedIdentifierError: the node asks for another's name.
    """
    if requester.role is not Role.HOLDER:
        return
    own = requester.node
    if own is None or profile.name not in {"kubelet-client", "kubelet-serving"}:
        message = f"this certificate's holder may renew it, but not ask for the profile {profile.name}"
        raise AccessDeniedError(message)
    if node != own or names.common_name != NODE_PREFIX + own:
        message = f"the node {own} may ask for its own names only"
        raise RejectedIdentifierError(message)


def check_granted_names(requester: Requester, names: Names, owned: Owned) -> None:
    """Hold certificate holders to the hosts that the inventory grants to their node; tokens may ask for any.

    Nothing else vouches for the names and addresses that a node claims; renewal keeps what it was given.

    Raises:
        RejectedIdentifierError: the node asks for more than it owns.
    """
    if requester.role is not Role.HOLDER:
        return
    missing = owned.missing(names)
    if missing:
        message = (
            f"the inventory does not grant to the node {owned.node}: {', '.join(missing)}; an administrator adds them"
            " to the inventory, or the node submits a certificate request, which an approver decides"
        )
        raise RejectedIdentifierError(message)
