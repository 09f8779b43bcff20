"""The resources that the API has, and which permission each verb takes: one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping

_READING: Final = dict.fromkeys(("get", "list", "watch"), Permission.READ_REVOCATION)
_WRITING: Final = dict.fromkeys(
    ("create", "update", "patch", "delete", "deletecollection"), Permission.WRITE_REVOCATION
)
_ANYBODY: Final = {"create": None}


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource.

    Attributes:
        verbs: with the permission that each takes; None where it is enough to be known.
        subresources: with the verbs of each.
        needs_version: whether an update must name the version that it is made of.
        patches_strategically: whether there is a strategic merge patch, as there is none for custom resources.
        in_dry_run: what a change takes instead with dryRun=All.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: Mapping[str, Permission | None]
    short_names: tuple[str, ...] = ()
    in_dry_run: Permission | None = None
    list_kind: str = field(default="")
    subresources: Mapping[str, Mapping[str, Permission | None]] = field(default_factory=dict)
    needs_version: bool = True
    patches_strategically: bool = False

    @property
    def api_version(self) -> str:
        """As objects have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def verbs_of(self, subresource: str) -> Mapping[str, Permission | None] | None:
        """The verbs of the resource, or of a subresource; None where there is no such."""
        return self.subresources.get(subresource) if subresource else self.verbs


RENEW_REVOCATION: Final = Resource(
    "certificates.microsoft.com",
    "v1",
    "renewrevocations",
    "renewrevocation",
    "RenewRevocation",
    namespaced=True,
    verbs=_READING | _WRITING,
    short_names=("rr",),
    in_dry_run=Permission.PREVIEW_REVOCATION,
    list_kind="RenewRevocationList",
)
_PART: Final = {
    "get": Permission.READ_REQUEST,
    "patch": Permission.DECIDE_REQUEST,
    "update": Permission.DECIDE_REQUEST,
}
CERTIFICATE_SIGNING_REQUEST: Final = Resource(
    "certificates.k8s.io",
    "v1",
    "certificatesigningrequests",
    "certificatesigningrequest",
    "CertificateSigningRequest",
    namespaced=False,
    verbs={
        "create": Permission.SUBMIT_REQUEST,
        "delete": Permission.DELETE_REQUEST,
        "deletecollection": Permission.DELETE_REQUEST,
        "get": Permission.READ_REQUEST,
        "list": Permission.READ_REQUEST,
        "patch": Permission.DECIDE_REQUEST,
        "update": Permission.DECIDE_REQUEST,
        "watch": Permission.READ_REQUEST,
    },
    short_names=("csr",),
    list_kind="CertificateSigningRequestList",
    subresources={"approval": _PART, "status": _PART},
    needs_version=False,
    patches_strategically=True,
)
NAMESPACE: Final = Resource(
    "",
    "v1",
    "namespaces",
    "namespace",
    "Namespace",
    namespaced=False,
    verbs={"get": Permission.READ_REVOCATION, "list": Permission.READ_REVOCATION},
    short_names=("ns",),
    list_kind="NamespaceList",
)
EVENT: Final = Resource(
    "",
    "v1",
    "events",
    "event",
    "Event",
    namespaced=True,
    verbs={"list": Permission.READ_REVOCATION},
    short_names=("ev",),
    list_kind="EventList",
)
SELF_SUBJECT_REVIEW: Final = Resource(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "selfsubjectreview",
    "SelfSubjectReview",
    namespaced=False,
    verbs=_ANYBODY,
)
SELF_SUBJECT_ACCESS_REVIEW: Final = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "selfsubjectaccessreview",
    "SelfSubjectAccessReview",
    namespaced=False,
    verbs=_ANYBODY,
)
SELF_SUBJECT_RULES_REVIEW: Final = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectrulesreviews",
    "selfsubjectrulesreview",
    "SelfSubjectRulesReview",
    namespaced=False,
    verbs=_ANYBODY,
)
SIGNER: Final = Resource(
    "certificates.k8s.io",
    "v1",
    "signers",
    "signer",
    "Signer",
    namespaced=False,
    verbs={"approve": Permission.DECIDE_REQUEST},
)
"""No resource that can be asked for: the right to approve requests for a signer, as RBAC has it."""

ALL: Final = (
    NAMESPACE,
    EVENT,
    SELF_SUBJECT_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    CERTIFICATE_SIGNING_REQUEST,
    RENEW_REVOCATION,
)
RESOURCES: Final = {(resource.group, resource.version, resource.plural): resource for resource in ALL}
