"""Certificate requests: submit, list, get, approve, deny, delete, and fetch what was issued."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from trivet.authority.access import Permission
from trivet.authority.approval import decide
from trivet.authority.approval import requests as use_cases
from trivet.authority.approval.decide import Choice
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.pki.errors import Fault, InvalidError
from trivet.store.requests import StoredRequest
from trivet.web.authentication import Authenticated, Caller
from trivet.web.rest import request_answers, schemas
from trivet.web.rest.bodies import PKCS10_BODY, read_json, validated
from trivet.web.rest.certificate_answers import ANSWERS, answer
from trivet.web.rest.negotiation import (
    DER,
    JSON,
    PEM,
    PEM_CHAIN,
    PKCS10,
    content_type,
    etag,
    expected_version,
    negotiate,
)
from trivet.web.rest.operation import IdempotencyKey, IfMatch, body_of, operation, schema_of
from trivet.web.rest.paging import Paged
from trivet.web.settling import settled

router = APIRouter(prefix="/clusters/{cluster}/certificate-requests", tags=["certificate requests"])
_DECISION = body_of({JSON: schema_of(schemas.RequestDecision)})


@router.post(
    "",
    status_code=201,
    response_model=schemas.CertificateRequest,
    **operation(
        "createCertificateRequest",
        Permission.SUBMIT_REQUEST,
        requestBody=body_of({JSON: schema_of(schemas.CertificateRequestCreate), PKCS10: PKCS10_BODY}),
    ),
)
async def create_certificate_request(
    cluster: str,
    request: Request,
    caller: Authenticated,
    query: Annotated[schemas.CertificateRequestQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a certificate request. What a rule approves is issued at once; all else waits for an approver.

    Send JSON, or the CSR itself (PEM or DER) as application/pkcs10 with the rest in the query.
    """
    wanted = await _read(request, query)
    stored = await caller.ask(submit_request, cluster, wanted, idempotency_key)
    shown = await _settled(caller, cluster, stored)
    shown.status_code = 201
    shown.headers["Location"] = f"{request.url.path}/{stored.name}"
    return shown


async def _read(request: Request, query: schemas.CertificateRequestQuery) -> Submission:
    raw = await request.body()
    if content_type(request, (JSON, PKCS10)) == PKCS10:
        if query.profile is None:
            message = "the query needs a profile, like ?profile=kubelet-client"
            raise InvalidError(message, Fault("/profile", "is required in the query"))
        return Submission(query.profile, raw, query.node, _span(query.expiration_seconds), query.name)
    body = validated(schemas.CertificateRequestCreate, raw)
    return Submission(
        body.profile,
        body.csr.encode(),
        body.node,
        _span(body.expiration_seconds),
        body.name,
        body.generate_name,
    )


def _span(seconds: int | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


async def _settled(caller: Caller, cluster: str, stored: StoredRequest) -> Response:
    """Issue for a request that is approved, and show it as it is then."""
    return await _shown(caller, cluster, await settled(caller, stored))


async def _shown(caller: Caller, cluster: str, stored: StoredRequest) -> Response:
    made = await caller.offload(use_cases.certificates_of, caller.authority, [stored])
    shown = request_answers.certificate_request(stored, cluster, made)
    return JSONResponse(shown.model_dump(mode="json"), headers={"ETag": etag(stored.version)})


@router.get("", **operation("listCertificateRequests", Permission.READ_REQUEST))
async def list_certificate_requests(
    cluster: str,
    caller: Authenticated,
    paged: Paged,
    state: Annotated[schemas.CertificateRequestState | None, Query()] = None,
    profile: Annotated[str | None, Query(max_length=80, description="A row of the profile table.")] = None,
    node: Annotated[str | None, Query(max_length=253, description="The name of a node.")] = None,
    username: Annotated[str | None, Query(max_length=300, description="Who submitted it.")] = None,
) -> schemas.CertificateRequestPage:
    """List certificate requests, newest first; nodes and bootstrap tokens see their own."""
    wanted = use_cases.filter_of(state, profile, node, username)
    before = paged.after_id()
    found = await caller.ask(use_cases.list_requests, cluster, wanted, before, paged.look_for)
    page, following = paged.page(found, lambda one: one.id)
    made = await caller.offload(use_cases.certificates_of, caller.authority, page)
    items = [request_answers.certificate_request(stored, cluster, made) for stored in page]
    return schemas.CertificateRequestPage(items=items, next=following)


@router.get(
    "/{name}",
    response_model=schemas.CertificateRequest,
    **operation("getCertificateRequest", Permission.READ_REQUEST),
)
async def get_certificate_request(cluster: str, name: str, caller: Authenticated) -> Response:
    """Get a certificate request by its name."""
    stored = await caller.ask(use_cases.get_request, cluster, name)
    return await _shown(caller, cluster, stored)


@router.post(
    "/{name}/approve",
    response_model=schemas.CertificateRequest,
    **operation("approveCertificateRequest", Permission.DECIDE_REQUEST, requestBody=_DECISION),
)
async def approve_certificate_request(
    cluster: str, name: str, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> Response:
    """Approve a certificate request, and issue its certificate. Where that is refused the request is `failed`."""
    choice = await _choice(request, cluster, name, if_match)
    stored = await caller.ask(decide.approve_request, choice)
    return await _settled(caller, cluster, stored)


@router.post(
    "/{name}/deny",
    response_model=schemas.CertificateRequest,
    **operation("denyCertificateRequest", Permission.DECIDE_REQUEST, requestBody=_DECISION),
)
async def deny_certificate_request(
    cluster: str, name: str, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> Response:
    """Deny a certificate request for good."""
    choice = await _choice(request, cluster, name, if_match)
    stored = await caller.ask(decide.deny_request, choice)
    return await _shown(caller, cluster, stored)


async def _choice(request: Request, cluster: str, name: str, if_match: str | None) -> Choice:
    version = expected_version(if_match)
    body = await read_json(request, schemas.RequestDecision)
    return Choice(cluster, name, body.reason, version)


@router.delete(
    "/{name}",
    status_code=204,
    **operation("deleteCertificateRequest", Permission.DELETE_REQUEST),
)
async def delete_certificate_request(
    cluster: str, name: str, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Delete a certificate request; a certificate that was issued for it stays."""
    version = expected_version(if_match)
    await caller.ask(use_cases.delete_request, cluster, name, version)


_CERTIFICATE: dict[int | str, dict[str, Any]] = {200: ANSWERS[201]}


@router.get(
    "/{name}/certificate",
    response_model=schemas.Certificate,
    responses=_CERTIFICATE,
    **operation("getRequestedCertificate", Permission.READ_REQUEST),
)
async def get_requested_certificate(
    cluster: str, name: str, request: Request, caller: Authenticated
) -> Response:
    """Get the certificate that was issued for a request: PEM chain, PEM, DER or JSON, as Accept says."""
    media_type = negotiate(request, (PEM_CHAIN, PEM, DER, JSON))
    stored, issuer = await caller.ask(use_cases.certificate_of, cluster, name)
    return answer(media_type, stored, issuer, cluster, caller.authority.clock())
