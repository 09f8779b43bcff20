"""The REST front end, under `/api/v1`: it reads a request, calls one use case, and renders the result."""

from __future__ import annotations

from fastapi import APIRouter

from trivet.web.rest import (
    audit,
    authorities,
    certificates,
    clusters,
    renewals,
    repairs,
    revocations,
    schemas,
    tokens,
    upkeep,
)

router = APIRouter()
for module in (clusters, authorities, renewals, certificates, revocations, upkeep, repairs, tokens, audit):
    router.include_router(module.router)

BODY_SCHEMAS = (
    schemas.CertificateCreate,
    schemas.CertificateRenew,
    schemas.ClusterCreate,
    schemas.EarlyRenewalCreate,
    schemas.RepairCreate,
    schemas.RepairRenewalCreate,
    schemas.RepairSkipCreate,
    schemas.RepairTokenCreate,
    schemas.RenewRevocation,
    schemas.TokenCreate,
)
"""The bodies that routes read by themselves, for the OpenAPI document."""
