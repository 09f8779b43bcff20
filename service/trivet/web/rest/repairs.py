"""Repairs: open a window, follow it, close it; one-time tokens; what was carried here by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from trivet.authority import repair as use_cases
from trivet.authority.access import Permission
from trivet.authority.renew import renewal_by_carried_message
from trivet.authority.repairs import tokens as repair_tokens
from trivet.pki.repair import Stage
from trivet.web.authentication import Authenticated
from trivet.web.rest import repair_answers, schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.certificate_answers import ANSWERS, issued, offered
from trivet.web.rest.negotiation import negotiate
from trivet.web.rest.operation import IdempotencyKey, json_body, operation
from trivet.web.rest.paging import Paged
from trivet.web.rest.upkeep import parsed_id

router = APIRouter(prefix="/clusters/{cluster}/repairs", tags=["repairs"])
DryRun = Annotated[
    schemas.DryRun | None,
    Query(alias="dryRun", description="`All`: tell what would bar the way, and open nothing."),
]


@router.post(
    "",
    status_code=201,
    response_model=schemas.Repair,
    responses={200: {"model": schemas.Repair, "description": "With dryRun=All: what would bar the way."}},
    **operation(
        "createRepair",
        Permission.WRITE_REPAIR,
        in_dry_run=Permission.READ_REPAIR,
        requestBody=json_body(schemas.RepairCreate),
    ),
)
async def create_repair(
    cluster: str,
    request: Request,
    caller: Authenticated,
    dry_run: DryRun = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Open a window in which a cluster's expired certificates may renew: etcd, then API servers, then the rest."""
    body = await read_json(request, schemas.RepairCreate)
    reach = timedelta(seconds=body.expired_for_seconds) if body.expired_for_seconds else None
    if dry_run is not None:
        rehearsed = await caller.ask(use_cases.rehearse_repair, cluster, reach)
        return _shown(repair_answers.repair(rehearsed), 200)
    opened = await caller.ask(
        use_cases.open_repair,
        cluster,
        lifetime=timedelta(seconds=body.for_seconds),
        expired_for=reach,
        patience=timedelta(seconds=body.patience_seconds),
        idempotency_key=idempotency_key,
    )
    answer = _shown(repair_answers.repair(opened), 201)
    answer.headers["Location"] = f"{request.url.path}/{opened.window.id}"
    return answer


def _shown(found: schemas.Schema, status: int) -> JSONResponse:
    return JSONResponse(found.model_dump(mode="json"), status)


@router.get("", **operation("listRepairs", Permission.READ_REPAIR))
async def list_repairs(cluster: str, caller: Authenticated, paged: Paged) -> schemas.RepairPage:
    """List the repair windows of a cluster, newest first."""
    before = paged.after_id()
    now, found = await caller.ask(use_cases.list_repairs, cluster, before, paged.look_for)
    page, following = paged.page(found, lambda one: one.id)
    return schemas.RepairPage(items=[repair_answers.summary(window, now) for window in page], next=following)


@router.get("/{repair}", **operation("getRepair", Permission.READ_REPAIR))
async def get_repair(cluster: str, repair: str, caller: Authenticated) -> schemas.Repair:
    """Get how a repair stands: stage by stage, what is not fresh yet, and what bars the way."""
    window = parsed_id(repair)
    found = await caller.ask(use_cases.repair_progress, cluster, window)
    return repair_answers.repair(found)


@router.delete("/{repair}", status_code=204, **operation("deleteRepair", Permission.WRITE_REPAIR))
async def delete_repair(cluster: str, repair: str, caller: Authenticated) -> None:
    """Close a repair window at once; its one-time tokens are worthless from then on."""
    await caller.ask(use_cases.close_repair, cluster, parsed_id(repair))


@router.post(
    "/{repair}/skips",
    status_code=201,
    **operation("createRepairSkip", Permission.WRITE_REPAIR, requestBody=json_body(schemas.RepairSkipCreate)),
)
async def create_repair_skip(
    cluster: str,
    repair: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Repair:
    """Let the next stage begin, though this one is not over."""
    body = await read_json(request, schemas.RepairSkipCreate)
    window = parsed_id(repair)
    found = await caller.ask(
        use_cases.skip_stage,
        cluster,
        window,
        Stage(body.stage),
        idempotency_key,
    )
    response.headers["Location"] = request.url.path.removesuffix("/skips")
    return repair_answers.repair(found)


@router.post(
    "/{repair}/tokens",
    status_code=201,
    **operation(
        "createRepairToken", Permission.WRITE_REPAIR, requestBody=json_body(schemas.RepairTokenCreate)
    ),
)
async def create_repair_token(
    cluster: str,
    repair: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    idempotency_key: IdempotencyKey = None,
) -> schemas.RepairToken:
    """Make a one-time token for a node whose certificates were revoked; its secret is shown this once."""
    body = await read_json(request, schemas.RepairTokenCreate)
    window = parsed_id(repair)
    made, secret, held = await caller.ask(
        repair_tokens.create_repair_token, cluster, window, body.node, idempotency_key
    )
    response.headers["Location"] = request.url.path.removesuffix("/tokens")
    return repair_answers.token(made, secret, held, caller.authority.clock())


@router.post(
    "/{repair}/renewals",
    status_code=201,
    response_model=schemas.Certificate,
    responses=ANSWERS,
    **operation("renewInRepair", Permission.WRITE_REPAIR, requestBody=json_body(schemas.RepairRenewalCreate)),
)
async def renew_in_repair(
    cluster: str,
    repair: str,
    request: Request,
    caller: Authenticated,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Renew by a message that an administrator carried here from a node that cannot reach Trivet."""
    del idempotency_key  # the message is its own: sent again, it gives the same certificate
    media_type = negotiate(request, offered(request))
    body = await read_json(request, schemas.RepairRenewalCreate)
    window, message = parsed_id(repair), body.message.encode()
    holder, wish = await caller.ask(renewal_by_carried_message, cluster, window, message)
    made = await caller.issuing(holder, wish)
    return issued(media_type, caller.authority, made, cluster)
