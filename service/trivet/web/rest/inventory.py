"""The inventory: which node owns which names and addresses."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from trivet.authority.access import Permission
from trivet.authority.approval import inventory as use_cases
from trivet.pki.inventory import read_grants
from trivet.store.inventory import InventoryNode
from trivet.web.authentication import Authenticated
from trivet.web.rest import schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.negotiation import (
    etag,
    expected_version,
)
from trivet.web.rest.operation import IfMatch, json_body, operation
from trivet.web.rest.paging import Paged

router = APIRouter(prefix="/clusters/{cluster}/inventory", tags=["inventory"])


@router.get("", **operation("listInventoryNodes", Permission.READ_INVENTORY))
async def list_inventory_nodes(
    cluster: str, caller: Authenticated, paged: Paged
) -> schemas.InventoryNodePage:
    """List what the nodes of a cluster own, by their names."""
    found = await caller.ask(
        use_cases.list_nodes,
        cluster,
        paged.after(),
        paged.look_for,
    )
    page, following = paged.page(found, lambda one: one.node)
    return schemas.InventoryNodePage(items=[_shown(entry) for entry in page], next=following)


@router.get("/{node}", **operation("getInventoryNode", Permission.READ_INVENTORY))
async def get_inventory_node(
    cluster: str, node: str, response: Response, caller: Authenticated
) -> schemas.InventoryNode:
    """Get what a node owns."""
    found = await caller.ask(use_cases.get_node, cluster, node)
    response.headers["ETag"] = etag(found.version)
    return _shown(found)


@router.put(
    "/{node}",
    **operation(
        "replaceInventoryNode", Permission.WRITE_INVENTORY, requestBody=json_body(schemas.InventoryNodePut)
    ),
)
async def put_inventory_node(
    cluster: str,
    node: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> schemas.InventoryNode:
    """Say what a node owns, in the place of what was said before; refused where another node owns some of it."""
    version = expected_version(if_match)
    body = await read_json(request, schemas.InventoryNodePut)
    grants = read_grants(body.dns_names, body.ip_addresses)
    stored = await caller.ask(use_cases.put_node, cluster, node, grants, version)
    response.headers["ETag"] = etag(stored.version)
    return _shown(stored)


@router.delete("/{node}", status_code=204, **operation("deleteInventoryNode", Permission.WRITE_INVENTORY))
async def delete_inventory_node(
    cluster: str, node: str, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Take from a node all that it owns; certificates that it holds stay as they are."""
    version = expected_version(if_match)
    await caller.ask(use_cases.delete_node, cluster, node, version)


def _shown(stored: InventoryNode) -> schemas.InventoryNode:
    return schemas.InventoryNode(
        node=stored.node,
        dns_names=list(stored.grants.dns_names),
        ip_addresses=[_address(str(network)) for network in stored.grants.networks],
        pinned=stored.is_pinned,
        updated_at=stored.updated_at,
        updated_by=stored.updated_by,
    )


def _address(network: str) -> str:
    """A range of one is shown as the address that it is."""
    address, _, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network
