"""The REST front end, under `/api/v1`: it reads a request, calls one use case, and renders the result."""

from __future__ import annotations

from fastapi import APIRouter

from trivet.web.rest import (
    audit,
    audit_export,
    authorities,
    bootstrap,
    certificates,
    clusters,
    inventory,
    renewals,
    repairs,
    requests,
    revocations,
    schemas,
    tokens,
    upkeep,
)

router = APIRouter()
for module in (
    clusters,
    authorities,
    renewals,
    certificates,
    bootstrap,
    requests,
    inventory,
    revocations,
    upkeep,
    repairs,
    tokens,
    audit,
):
    router.include_router(module.router)
router.include_router(audit_export.router)

BODY_SCHEMAS = (
    schemas.BootstrapTokenCreate,
    schemas.CertificateCreate,
    schemas.CertificateRenew,
    schemas.CertificateRequestCreate,
    schemas.ClusterCreate,
    schemas.EarlyRenewalCreate,
    schemas.InventoryNodePut,
    schemas.RepairCreate,
    schemas.RepairRenewalCreate,
    schemas.RepairSkipCreate,
    schemas.RepairTokenCreate,
    schemas.RenewRevocation,
    schemas.RequestDecision,
    schemas.TokenCreate,
)
"""The bodies that routes read by themselves, for the OpenAPI document."""
