"""Certificates: issue, renew, search, get, explain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from trivet.authority import explain, search
from trivet.authority.access import Permission
from trivet.authority.application import Issuance
from trivet.authority.issue import issue
from trivet.pki.errors import Fault, InvalidError, NotFoundError
from trivet.web.authentication import Authenticated, Caller
from trivet.web.rest import render, schemas
from trivet.web.rest.bodies import CERTIFICATE_BODIES, read_issuance
from trivet.web.rest.certificate_answers import ANSWERS, answer, issued, offered
from trivet.web.rest.negotiation import decode_id_cursor, encode_cursor, link_next, negotiate
from trivet.web.rest.operation import Cursor, IdempotencyKey, Limit, operation

router = APIRouter(tags=["certificates"])
_OF_CLUSTER = "/clusters/{cluster}/certificates"


@router.post(
    _OF_CLUSTER,
    status_code=201,
    response_model=schemas.Certificate,
    responses=ANSWERS,
    **operation("issueCertificate", Permission.ISSUE, requestBody=CERTIFICATE_BODIES),
)
async def issue_certificate(
    cluster: str,
    request: Request,
    caller: Authenticated,
    profile: Annotated[
        str | None, Query(max_length=80, description="With an application/pkcs10 body.")
    ] = None,
    node: Annotated[str | None, Query(max_length=253, description="With an application/pkcs10 body.")] = None,
    expiration_seconds: Annotated[
        schemas.Seconds | None,
        Query(alias="expirationSeconds", description="With an application/pkcs10 body."),
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Issue a certificate for a CSR, by a profile.

    Send JSON, or the CSR itself (PEM or DER) as application/pkcs10 with the rest in the query. The answer is JSON,
    a PEM chain (the default for application/pkcs10), the certificate alone as PEM, or DER, as Accept says.
    """
    media_types = offered(request)
    negotiate(request, media_types)
    in_query = (profile, node, expiration_seconds)
    body = await read_issuance(request, in_query)
    lifetime = timedelta(seconds=body.expiration_seconds) if body.expiration_seconds else None
    wish = Issuance(cluster, body.profile, body.csr, body.node, lifetime, idempotency_key)
    made = await caller.offload(issue, caller.authority, caller.requester, wish)
    return issued(request, caller.authority, made, cluster)


@router.get(_OF_CLUSTER, **operation("listCertificates", Permission.READ_CERTIFICATE))
async def list_certificates(
    cluster: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    serial: Annotated[str | None, Query(max_length=80)] = None,
    cn: Annotated[str | None, Query(max_length=256)] = None,
    group: Annotated[str | None, Query(max_length=256)] = None,
    dns: Annotated[str | None, Query(max_length=256)] = None,
    dns_suffix: Annotated[str | None, Query(alias="dnsSuffix", max_length=256)] = None,
    ip: Annotated[str | None, Query(max_length=50, description="An address or a CIDR range.")] = None,
    profile: Annotated[str | None, Query(max_length=80)] = None,
    authority: Annotated[str | None, Query(max_length=20)] = None,
    status: Annotated[str | None, Query(max_length=20, description="valid, revoked or expired.")] = None,
    not_after_before: Annotated[datetime | None, Query(alias="notAfterBefore")] = None,
    issued_after: Annotated[datetime | None, Query(alias="issuedAfter")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.CertificatePage:
    """Search the certificates of a cluster, newest first."""
    wanted = search.Search(
        serial, cn, group, dns, dns_suffix, ip, profile, authority, status,
        _aware("notAfterBefore", not_after_before), _aware("issuedAfter", issued_after),
    )  # fmt: skip
    before = decode_id_cursor(cursor)
    found, issuers = await caller.offload(_search, caller, cluster, wanted, before, limit + 1)
    following = encode_cursor(str(found[limit - 1].id)) if len(found) > limit else None
    link_next(request, response, following)
    now = caller.authority.clock()
    items = [
        render.certificate(stored, cluster, issuers[stored.generation_id], now) for stored in found[:limit]
    ]
    return schemas.CertificatePage(items=items, next=following)


def _search(caller: Caller, cluster: str, wanted: search.Search, before: UUID | None, limit: int) -> Any:  # noqa: ANN401
    found = search.search_certificates(caller.authority, caller.requester, cluster, wanted, before, limit)
    return found, search.issuers_of(caller.authority, found)


def _aware(field: str, moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        message = 'must be a time with its offset, as in RFC 3339, like "2026-04-17T17:22:05Z"'
        raise InvalidError(message, Fault(f"/{field}", message))
    try:
        return moment.astimezone(UTC) if moment is not None else None
    except OverflowError as error:
        message = "must be a time between the years 1 and 9999"
        raise InvalidError(message, Fault(f"/{field}", message)) from error


@router.get(
    _OF_CLUSTER + "/{serial}",
    response_model=schemas.Certificate,
    responses={200: ANSWERS[201]},
    **operation("getCertificate", Permission.READ_CERTIFICATE),
)
async def get_certificate(cluster: str, serial: str, request: Request, caller: Authenticated) -> Response:
    """Get a certificate by its serial number: JSON, PEM, PEM chain or DER, as Accept says."""
    media_type = negotiate(request, offered(request))
    stored = await caller.offload(search.get_certificate, caller.authority, caller.requester, cluster, serial)
    issuers = await caller.offload(search.issuers_of, caller.authority, [stored])
    return answer(media_type, stored, issuers[stored.generation_id], cluster, caller.authority.clock())


@router.get(_OF_CLUSTER + "/{serial}/decision", **operation("explainCertificate", Permission.READ_DECISION))
async def explain_certificate(cluster: str, serial: str, caller: Authenticated) -> schemas.Decision:
    """Explain why a certificate was issued."""
    found = await caller.offload(
        explain.explain_certificate, caller.authority, caller.requester, cluster, serial
    )
    return render.decision(found)


@router.get(
    _OF_CLUSTER + "/{serial}/renewal-info", **operation("getRenewalInfo", Permission.READ_CERTIFICATE)
)
async def get_renewal_info(cluster: str, serial: str, caller: Authenticated) -> schemas.RenewalInfo:
    """Tell when to renew a certificate (the shape of RFC 9773)."""
    stored = await caller.offload(search.get_certificate, caller.authority, caller.requester, cluster, serial)
    window = search.renewal_window(stored)
    return schemas.RenewalInfo(
        suggested_window=schemas.SuggestedWindow(start=window.not_before, end=window.not_after)
    )


@router.get("/decisions/{decision}", **operation("getDecision", Permission.READ_DECISION))
async def get_decision(decision: str, caller: Authenticated) -> schemas.Decision:
    """Get a decision by its id, as a refusal names it."""
    try:
        wanted = UUID(decision)
    except ValueError as error:
        message = f"{decision[:80]!r} is not the id of a decision"
        raise NotFoundError(message) from error
    found = await caller.offload(explain.explain_decision, caller.authority, caller.requester, wanted)
    return render.decision(found)
