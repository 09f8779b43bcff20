"""Certificates: issue, renew, search, get, explain."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from trivet.authority import search
from trivet.authority.access import Permission
from trivet.authority.issuance.application import Issuance
from trivet.authority.proof import explain
from trivet.authority.renewals import suggest
from trivet.pki.errors import NotFoundError
from trivet.web.authentication import Applicant, Authenticated, Caller, applicant
from trivet.web.rest import render, schemas
from trivet.web.rest.bodies import CERTIFICATE_BODIES, read_issuance
from trivet.web.rest.certificate_answers import ANSWERS, answer, issued, offered
from trivet.web.rest.negotiation import negotiate
from trivet.web.rest.operation import IdempotencyKey, operation
from trivet.web.rest.paging import Paged
from trivet.web.rest.upkeep import shown_suggestion

router = APIRouter(tags=["certificates"])
OF_CLUSTER = "/clusters/{cluster}/certificates"


@router.post(
    OF_CLUSTER,
    status_code=201,
    response_model=schemas.Certificate,
    responses=ANSWERS,
    **operation("issueCertificate", Permission.ISSUE, applicant, requestBody=CERTIFICATE_BODIES),
)
async def issue_certificate(
    cluster: str,
    request: Request,
    caller: Applicant,
    query: Annotated[schemas.IssuanceQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Issue a certificate for a CSR, by a profile.

    Send JSON, or the CSR itself (PEM or DER) as application/pkcs10 with the rest in the query. The answer is JSON,
    a PEM chain (the default for application/pkcs10), the certificate alone as PEM, or DER, as Accept says.
    """
    return await answer_issuance(request, cluster, caller, query, idempotency_key)


async def answer_issuance(
    request: Request, cluster: str, caller: Caller, query: schemas.IssuanceQuery, idempotency_key: str | None
) -> Response:
    """Read the wish, have it fulfilled, and answer."""
    media_type = negotiate(request, offered(request))
    body = await read_issuance(request, query)
    lifetime = timedelta(seconds=body.expiration_seconds) if body.expiration_seconds else None
    wish = Issuance(cluster, body.profile, body.csr, body.node, lifetime, idempotency_key)
    made = await caller.issuing(caller.requester, wish)
    return issued(media_type, caller.authority, made, cluster)


@router.get(OF_CLUSTER, **operation("listCertificates", Permission.READ_CERTIFICATE))
async def list_certificates(
    cluster: str,
    caller: Authenticated,
    paged: Paged,
    serial: Annotated[str | None, Query(max_length=80, description="Hexadecimal.")] = None,
    cn: Annotated[str | None, Query(max_length=256, description="The common name.")] = None,
    group: Annotated[str | None, Query(max_length=256, description="One of the organizations.")] = None,
    dns: Annotated[str | None, Query(max_length=256, description="A DNS name.")] = None,
    dns_suffix: Annotated[
        str | None, Query(alias="dnsSuffix", max_length=256, description="What DNS names end with.")
    ] = None,
    ip: Annotated[str | None, Query(max_length=50, description="An address or a CIDR range.")] = None,
    profile: Annotated[str | None, Query(max_length=80, description="A row of the profile table.")] = None,
    authority: Annotated[schemas.AuthorityName | None, Query()] = None,
    status: Annotated[schemas.CertificateStatus | None, Query()] = None,
    not_after_before: Annotated[
        schemas.Moment | None, Query(alias="notAfterBefore", description="Ends before then.")
    ] = None,
    issued_after: Annotated[
        schemas.Moment | None, Query(alias="issuedAfter", description="Issued after then.")
    ] = None,
) -> schemas.CertificatePage:
    """Search the certificates of a cluster, newest first."""
    wanted = search.Search(
        serial, cn, group, dns, dns_suffix, ip, profile, authority, status,
        not_after_before, issued_after,
    )  # fmt: skip
    before = paged.after_id()
    found, issuers = await caller.offload(_search, caller, cluster, wanted, before, paged.look_for)
    page, following = paged.page(found, lambda one: one.id)
    now = caller.authority.clock()
    items = [render.certificate(stored, cluster, issuers[stored.generation_id], now) for stored in page]
    return schemas.CertificatePage(items=items, next=following)


def _search(caller: Caller, cluster: str, wanted: search.Search, before: UUID | None, limit: int) -> Any:  # noqa: ANN401
    found = search.search_certificates(caller.authority, caller.requester, cluster, wanted, before, limit)
    return found, search.issuers_of(caller.authority, found)


@router.get(
    OF_CLUSTER + "/{serial}",
    response_model=schemas.Certificate,
    responses={200: ANSWERS[201]},
    **operation("getCertificate", Permission.READ_CERTIFICATE),
)
async def get_certificate(cluster: str, serial: str, request: Request, caller: Authenticated) -> Response:
    """Get a certificate by its serial number: JSON, PEM, PEM chain or DER, as Accept says."""
    media_type = negotiate(request, offered(request))
    stored = await caller.ask(search.get_certificate, cluster, serial)
    issuers = await caller.offload(search.issuers_of, caller.authority, [stored])
    return answer(media_type, stored, issuers[stored.generation_id], cluster, caller.authority.clock())


@router.get(OF_CLUSTER + "/{serial}/decision", **operation("explainCertificate", Permission.READ_DECISION))
async def explain_certificate(cluster: str, serial: str, caller: Authenticated) -> schemas.Decision:
    """Explain why a certificate was issued."""
    found = await caller.ask(explain.explain_certificate, cluster, serial)
    return render.decision(found)


@router.get(OF_CLUSTER + "/{serial}/renewal-info", **operation("getRenewalInfo", Permission.READ_CERTIFICATE))
async def get_renewal_info(
    cluster: str, serial: str, response: Response, caller: Authenticated
) -> schemas.RenewalInfo:
    """Tell when to renew a certificate (the shape of RFC 9773)."""
    found = await caller.ask(suggest.suggest, cluster, serial)
    return shown_suggestion(found, response)


@router.get("/decisions/{decision}", **operation("getDecision", Permission.READ_DECISION))
async def get_decision(decision: str, caller: Authenticated) -> schemas.Decision:
    """Get a decision by its id, as a refusal names it."""
    try:
        wanted = UUID(decision)
    except ValueError as error:
        message = f"{decision[:80]!r} is not the id of a decision"
        raise NotFoundError(message) from error
    found = await caller.ask(explain.explain_decision, wanted)
    return render.decision(found)
