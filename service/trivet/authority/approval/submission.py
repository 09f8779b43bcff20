"""What is submitted to be approved: read strictly, and asked whether its submitter may."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.access import Role, check_own_names
from trivet.pki.csr import parse_certificate_request
from trivet.pki.documents import Reader
from trivet.pki.errors import (
    AccessDeniedError,
    BadCSRError,
    Fault,
    InvalidError,
    RejectedIdentifierError,
)
from trivet.pki.keys import check_public_key
from trivet.pki.kubernetes import NODE_GROUP, NODE_PREFIX, profile_named
from trivet.pki.names import parse_node_name
from trivet.pki.subjects import names_for, node_of, reserved_hosts
from trivet.pki.usages import check_usages
from trivet.pki.validity import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.pki.csr import CertificateRequest
    from trivet.pki.profiles import Profile
    from trivet.store.clusters import Cluster

MAX_BYTES: Final = (
    16 * 1024
)  # RSA-4096 with 100 SANs; requests are kept, so they may be no larger than they need to be
SUFFIX: Final = 10
"""How many letters follow `generate_name`."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A certificate request as it is submitted.

    Attributes:
        profile: name of the profile.
        request: the CSR as it was received, PEM or DER.
        node: name of the node, where the profile holds one and the CSR does not tell.
        lifetime: the longest wanted.
        name: of the object; made up from `generate_name` where it is None.
        usages: as Kubernetes has them; the profile's where they are left out.
        managed_fields: as metadata.managedFields has them.
    """

    profile: str
    request: bytes
    node: str | None = None
    lifetime: timedelta | None = None
    name: str | None = None
    generate_name: str | None = None
    usages: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed_fields: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadSubmission:
    """The same, once it was read."""

    profile: Profile
    request: CertificateRequest


def read_submission(authority: Authority, wanted: Submission) -> ReadSubmission:
    """Read a submission, outside of any transaction.

    Raises:
        InvalidError, BadCSRError, BadPublicKeyError: it cannot be granted to anybody.
    """
    profile = profile_named(wanted.profile)
    if len(wanted.request) > MAX_BYTES:
        message = f"a certificate request that is to be approved has at most {MAX_BYTES} bytes"
        raise BadCSRError(message)
    if wanted.lifetime is not None and wanted.lifetime < SHORTEST:
        message = f"a certificate lives at least {SHORTEST.total_seconds():.0f} seconds"
        raise InvalidError(message, Fault("/expirationSeconds", message))
    if wanted.usages:
        check_usages(profile, wanted.usages)
    request = parse_certificate_request(wanted.request, authority.engine.is_self_signed)
    check_public_key(request.public_key, profile.keys)
    for pointer, name in (("/name", wanted.name), ("/generateName", wanted.generate_name)):
        if name is not None:
            _check_name(pointer, name)
    check_labels(wanted.labels, wanted.annotations)
    return ReadSubmission(profile, request)


def check_labels(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Refuse what cannot be stored.

    Raises:
        InvalidError: it says where.
    """
    reader = Reader()
    reader.texts(labels, "/labels")
    reader.texts(annotations, "/annotations")
    if reader.faults:
        message = "the labels or annotations cannot be stored"
        raise InvalidError(message, *reader.faults)


def _check_name(pointer: str, name: str) -> None:
    # A prefix may end with what a name may not (apimachinery/pkg/api/validation NameIsDNSSubdomain).
    try:
        parse_node_name(name if pointer == "/name" else name + "x" * SUFFIX)
    except ValueError as error:
        message = "a name is RFC 1123 labels of a-z, 0-9 and -, joined by dots, at most 253 characters"
        raise InvalidError(message, Fault(pointer, message)) from error


def checked_node(
    requester: Requester, cluster: Cluster, wanted: Submission, read: ReadSubmission
) -> str | None:
    """The node that the request is for, once it is known that the requester may ask for it.

    Raises:
        AccessDeniedError, RejectedIdentifierError: they may not; or nobody may have these names.
    """
    token, profile, request = requester.bootstrap_token, read.profile, read.request
    if requester.role is Role.BOOTSTRAP and profile.name != "kubelet-client":
        message = f"a bootstrap token is for the profile kubelet-client only, not for {profile.name}"
        raise AccessDeniedError(message)
    names = names_for(profile, request, wanted.node, cluster.names)
    is_of_node = profile.is_per_node or wanted.node is not None
    node = node_of(profile, request, wanted.node) if is_of_node else None
    check_own_names(requester, profile, names, node)
    if requester.role is not Role.BOOTSTRAP:
        return node
    if token is None or (token.node is not None and token.node != node):
        message = f"this bootstrap token is for the node {token.node if token else None} only, not for {node}"
        raise RejectedIdentifierError(message)
    check_not_reserved(cluster, node or "")
    if (request.common_name, request.organizations) != (f"{NODE_PREFIX}{node}", (NODE_GROUP,)):
        message = f"the subject must be exactly CN {NODE_PREFIX}{node} and O {NODE_GROUP}"
        raise RejectedIdentifierError(message)
    return node


def check_not_reserved(cluster: Cluster, node: str) -> None:
    """Let nobody in by a bootstrap token under a name that clients find the API server by.

    Raises:
        RejectedIdentifierError: the way in is a certificate from an issuer, who knows what that node is.
    """
    if node in {str(host) for host in reserved_hosts(cluster.names)}:
        message = (
            f"the API server of the cluster {cluster.name} is found by {node}, so no bootstrap token lets a node of"
            " that name in; give the node another name, or let an issuer give it its certificate (trivet issue)"
        )
        raise RejectedIdentifierError(message)
