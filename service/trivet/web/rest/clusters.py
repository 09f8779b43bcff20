"""Clusters: create, import, list, get."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, Request, Response

from trivet.authority import create, search
from trivet.authority.access import Permission
from trivet.authority.create import ImportedRoot
from trivet.pki.errors import Fault, InvalidError
from trivet.pki.names import parse_dns_name, parse_ip_network
from trivet.pki.profiles import AuthorityName
from trivet.pki.subjects import ClusterNames, parse_host
from trivet.web.authentication import Authenticated
from trivet.web.rest import render, schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.operation import IdempotencyKey, json_body, operation
from trivet.web.rest.paging import Paged

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

router = APIRouter(prefix="/clusters", tags=["clusters"])


@router.post(
    "",
    status_code=201,
    **operation("createCluster", Permission.CREATE_CLUSTER, requestBody=json_body(schemas.ClusterCreate)),
)
async def create_cluster(
    request: Request, response: Response, caller: Authenticated, idempotency_key: IdempotencyKey = None
) -> schemas.Cluster:
    """Create a cluster with its three authorities, or take over those of a running one."""
    body = await read_json(request, schemas.ClusterCreate)
    cluster = await caller.ask(
        create.create_cluster,
        body.name,
        _names(body),
        algorithm=body.algorithm,
        imported=_imported(body.roots) if body.roots else None,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/api/v1/clusters/{cluster.name}"
    return render.cluster(cluster)


def _names(body: schemas.ClusterCreate) -> ClusterNames:
    faults: list[Fault] = []
    endpoint = _parsed(faults, "/endpoint", parse_host, body.endpoint)
    service_cidr = _parsed(faults, "/serviceCidr", parse_ip_network, body.service_cidr)
    dns_domain = _parsed(faults, "/dnsDomain", parse_dns_name, body.dns_domain)
    if endpoint is None or service_cidr is None or dns_domain is None:
        message = "some names of the cluster are wrong"
        raise InvalidError(message, *faults)
    return ClusterNames(endpoint, service_cidr, dns_domain)


def _parsed(faults: list[Fault], pointer: str, parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except ValueError as error:
        faults.append(Fault(pointer, str(error)))
        return None


def _imported(roots: schemas.ImportedRoots) -> dict[AuthorityName, ImportedRoot]:
    pairs = {
        AuthorityName.CLUSTER: roots.cluster,
        AuthorityName.ETCD: roots.etcd,
        AuthorityName.FRONT_PROXY: roots.front_proxy,
    }
    return {
        name: ImportedRoot(pair.certificate.encode(), pair.private_key.get_secret_value().encode())
        for name, pair in pairs.items()
    }


@router.get("", **operation("listClusters", Permission.READ_CLUSTER))
async def list_clusters(caller: Authenticated, paged: Paged) -> schemas.ClusterPage:
    """List clusters by name."""
    found = await caller.ask(search.list_clusters, paged.after(), paged.look_for)
    page, following = paged.page(found, lambda one: one.name)
    return schemas.ClusterPage(items=[render.cluster(cluster) for cluster in page], next=following)


@router.get("/{cluster}", **operation("getCluster", Permission.READ_CLUSTER))
async def get_cluster(cluster: str, caller: Authenticated) -> schemas.Cluster:
    """Get a cluster."""
    found = await caller.ask(search.get_cluster, cluster)
    return render.cluster(found)
