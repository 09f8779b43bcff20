"""The JSON of the REST API."""

from __future__ import annotations

from trivet.web.rest.schemas.access import (
    AuditRecord,
    AuditRecordPage,
    CreatedToken,
    Token,
    TokenCreate,
    TokenPage,
)
from trivet.web.rest.schemas.base import Moment, Page, RequestSchema, Schema, Seconds
from trivet.web.rest.schemas.certificates import (
    Certificate,
    CertificateCreate,
    CertificatePage,
    CertificateRenew,
    Decision,
    IssuanceQuery,
    RenewalInfo,
    RenewalQuery,
    SuggestedWindow,
)
from trivet.web.rest.schemas.clusters import (
    Cluster,
    ClusterCreate,
    ClusterPage,
    Generation,
    GenerationPage,
    ImportedRootPair,
    ImportedRoots,
)
from trivet.web.rest.schemas.revocations import (
    PreviewHit,
    RenewRevocation,
    RenewRevocationPage,
    RevocationEntry,
    RevocationMetadata,
    RevocationPreview,
    RevocationSpec,
    RevocationStatus,
)

__all__ = [
    "AuditRecord",
    "AuditRecordPage",
    "Certificate",
    "CertificateCreate",
    "CertificatePage",
    "CertificateRenew",
    "Cluster",
    "ClusterCreate",
    "ClusterPage",
    "CreatedToken",
    "Decision",
    "Generation",
    "GenerationPage",
    "ImportedRootPair",
    "ImportedRoots",
    "IssuanceQuery",
    "Moment",
    "Page",
    "PreviewHit",
    "RenewRevocation",
    "RenewRevocationPage",
    "RenewalInfo",
    "RenewalQuery",
    "RequestSchema",
    "RevocationEntry",
    "RevocationMetadata",
    "RevocationPreview",
    "RevocationSpec",
    "RevocationStatus",
    "Schema",
    "Seconds",
    "SuggestedWindow",
    "Token",
    "TokenCreate",
    "TokenPage",
]
