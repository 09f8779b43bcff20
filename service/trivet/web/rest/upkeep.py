"""What a cluster holds, when it renews, and how long it survives without Trivet."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from trivet.authority.access import Permission
from trivet.authority.renewals import budget as budgets
from trivet.authority.renewals import early, identities, suggest
from trivet.web.authentication import Authenticated, limit_address, services_of
from trivet.web.rest import repair_answers, schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.operation import (
    IdempotencyKey,
    json_body,
    operation,
    public_operation,
)
from trivet.web.rest.paging import Paged

router = APIRouter(tags=["upkeep"])
_NOTHING = UUID(int=0)
_CLUSTER = "/clusters/{cluster}"


def parsed_id(text: str) -> UUID:
    """The id in a path; for what is no id one that nothing has, so that permissions are asked about first."""
    try:
        return UUID(text)
    except ValueError:
        return _NOTHING


@router.get("/renewal-info/{certificate}", **public_operation("getRenewalInfoById"))
async def get_renewal_info_by_id(
    certificate: str, request: Request, response: Response
) -> schemas.RenewalInfo:
    """Tell when to renew the certificate that RFC 9773 section 4.1 names so; anybody may ask."""
    limit_address(request)
    services = services_of(request)
    found = await services.offload(suggest.suggest_by_id, services.authority, certificate)
    return shown_suggestion(found, response)


def shown_suggestion(found: suggest.Suggestion, response: Response) -> schemas.RenewalInfo:
    """When to renew, and (in a header) when to ask again (RFC 9773 section 4.3)."""
    response.headers["Retry-After"] = str(round(found.ask_after.total_seconds()))
    window = schemas.SuggestedWindow(start=found.window.not_before, end=found.window.not_after)
    return schemas.RenewalInfo(suggested_window=window)


@router.get(_CLUSTER + "/identities", **operation("listIdentities", Permission.READ_REPAIR))
async def list_identities(
    cluster: str,
    caller: Authenticated,
    paged: Paged,
    node: Annotated[str | None, Query(max_length=253)] = None,
) -> schemas.IdentityPage:
    """List what a cluster holds: the newest certificate of each identity, expired and revoked ones included."""
    before = paged.after_id()
    _, held = await caller.ask(identities.list_identities, cluster, node)
    marked = [
        *((one, True, False) for one in held.waited_for),
        *((one, False, False) for one in held.others),
        *((one, False, True) for one in held.abandoned),
    ]
    marked.sort(key=lambda one: one[0].id, reverse=True)
    rest = [one for one in marked if before is None or one[0].id < before]
    page, following = paged.page(rest, lambda one: one[0].id)
    now = caller.authority.clock()
    items = [
        repair_answers.identity(one, now, waited_for=waited_for, abandoned=abandoned)
        for one, waited_for, abandoned in page
    ]
    return schemas.IdentityPage(items=items, next=following)


@router.put(
    _CLUSTER + "/abandoned-nodes/{node}", **operation("replaceAbandonedNode", Permission.WRITE_REPAIR)
)
async def abandon_node(cluster: str, node: str, caller: Authenticated) -> schemas.AbandonedNode:
    """Give up a node that was removed: nobody waits for what it holds now. It is no revocation."""
    count = await caller.ask(identities.abandon, cluster, node)
    return schemas.AbandonedNode(node=node, identities=count)


@router.delete(
    _CLUSTER + "/abandoned-nodes/{node}",
    status_code=204,
    **operation("deleteAbandonedNode", Permission.WRITE_REPAIR),
)
async def take_back_node(cluster: str, node: str, caller: Authenticated) -> None:
    """Wait for a node again that was given up."""
    await caller.ask(identities.take_back, cluster, node)


@router.get(_CLUSTER + "/outage-budget", **operation("getOutageBudget", Permission.READ_REPAIR))
async def get_outage_budget(cluster: str, caller: Authenticated) -> schemas.OutageBudget:
    """Tell how long a cluster, and each of its nodes, survives if contact with Trivet is lost now."""
    found = await caller.ask(budgets.outage_budget, cluster)
    return repair_answers.budget(found, cluster)


@router.post(
    _CLUSTER + "/renewals",
    status_code=201,
    **operation(
        "createEarlyRenewal", Permission.ASK_RENEWAL, requestBody=json_body(schemas.EarlyRenewalCreate)
    ),
)
async def create_early_renewal(
    cluster: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    idempotency_key: IdempotencyKey = None,
) -> schemas.EarlyRenewal:
    """Ask a whole cluster to renew early: what was issued until now is suggested to be renewed within a time."""
    body = await read_json(request, schemas.EarlyRenewalCreate)
    over = timedelta(seconds=body.over_seconds)
    found = await caller.ask(early.ask_cluster, cluster, over, idempotency_key)
    response.headers["Location"] = f"{request.url.path}/{found.wish.id}"
    return repair_answers.early_renewal(found, cluster)


@router.get(_CLUSTER + "/renewals", **operation("listEarlyRenewals", Permission.READ_REPAIR))
async def list_early_renewals(cluster: str, caller: Authenticated, paged: Paged) -> schemas.EarlyRenewalPage:
    """List how often a cluster was asked to renew early, newest first."""
    before = paged.after_id()
    found = await caller.ask(early.list_wishes, cluster, before, paged.look_for)
    page, following = paged.page(found, lambda one: one.id)
    items = [
        schemas.EarlyRenewalSummary(
            id=wish.id, asked_at=wish.asked_at, asked_by=wish.asked_by, ends_at=wish.ends_at
        )
        for wish in page
    ]
    return schemas.EarlyRenewalPage(items=items, next=following)


@router.get(_CLUSTER + "/renewals/{renewal}", **operation("getEarlyRenewal", Permission.READ_REPAIR))
async def get_early_renewal(cluster: str, renewal: str, caller: Authenticated) -> schemas.EarlyRenewal:
    """Get how far a cluster is that was asked to renew early."""
    wish = parsed_id(renewal)
    found = await caller.ask(early.renewal_progress, cluster, wish)
    return repair_answers.early_renewal(found, cluster)
