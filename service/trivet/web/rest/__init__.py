"""The REST front end, under `/api/v1`: it reads a request, calls one use case, and renders the result."""

from __future__ import annotations

from fastapi import APIRouter

from trivet.web.rest import audit, authorities, certificates, clusters, renewals, revocations, tokens

router = APIRouter()
for module in (clusters, authorities, renewals, certificates, revocations, tokens, audit):
    router.include_router(module.router)
