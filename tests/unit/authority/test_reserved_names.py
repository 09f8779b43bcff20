"""What a cluster's API server is found by is no node's, unless an administrator says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.signing_requests import csr
from tests.support.world import CLUSTER_NAMES, World

from trivet.authority.access import Requester
from trivet.authority.approval.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.approval.inventory import get_node, put_node
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.authenticate import authenticate_token
from trivet.authority.install import OPERATOR
from trivet.pki.errors import InvalidError, NotFoundError, RejectedIdentifierError
from trivet.pki.inventory import read_grants
from trivet.pki.names import DnsName, parse_ip_address, parse_ip_network
from trivet.pki.subjects import reserved_hosts
from trivet.store import inventory
from trivet.store.inventory import InventoryNode
from trivet.store.requests import RequestState, StoredRequest

NAMES = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster",
    "kubernetes.default.svc.cluster.local",
    "api.blue.example",
    "10.96.0.1",
]


def node_csr(node: str, *hosts: str) -> bytes:
    return csr(f"system:node:{node}", ("system:nodes",), hosts)


def submit(
    world: World, requester: Requester, request: bytes, profile: str = "kubelet-serving"
) -> StoredRequest:
    return submit_request(world.authority, requester, "blue", Submission(profile, request))


def pinning(world: World) -> World:
    policy = replace(world.authority.policy, pin_inventory=True)
    return World(replace(world.authority, policy=policy), world.clock)


def node(world: World, name: str) -> Requester:
    return world.holder(world.issue(node=name).stored)


@pytest.mark.parametrize("name", NAMES)
def test_no_bootstrap_token_lets_a_node_in_under_a_name_of_the_api_server(world: World, name: str) -> None:
    with pytest.raises(InvalidError) as wrong:
        create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken(node=name))
    assert [fault.pointer for fault in wrong.value.faults] == ["/node"]
    _, token = create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken())
    requester = authenticate_token(world.authority, token)
    with pytest.raises(RejectedIdentifierError, match="give the node another name") as caught:
        submit(world, requester, node_csr(name), "kubelet-client")
    assert world.decision(caught.value.decision).reason == "rejectedIdentifier"


def test_a_node_that_has_such_a_name_does_not_own_it_until_an_administrator_says_so(world: World) -> None:
    name = "kubernetes.default.svc"
    holder, request = node(world, name), node_csr(name, name)
    with pytest.raises(RejectedIdentifierError, match="which the API server is found by"):
        world.issue("kubelet-serving", name, request=request, requester=holder)
    waits = submit(world, holder, request)
    assert (waits.state, name in waits.reason) == (RequestState.PENDING, True)
    put_node(world.authority, OPERATOR, "blue", name, read_grants([name], []))
    assert submit(world, holder, request).decided_by == "rule:serving-by-inventory"
    world.issue("kubelet-serving", name, request=request, requester=holder)


@pytest.mark.parametrize("host", [name for name in NAMES if name != "kubernetes"])
def test_a_node_pins_nothing_that_the_api_server_is_found_by(world: World, host: str) -> None:
    trusting = pinning(world)
    holder = node(trusting, "n1")
    assert submit(trusting, holder, node_csr("n1", "n1", host)).state is RequestState.PENDING
    with pytest.raises(NotFoundError):
        get_node(trusting.authority, OPERATOR, "blue", "n1")
    assert submit(trusting, holder, node_csr("n1", "n1", "10.0.0.7")).state is RequestState.APPROVED


def test_what_was_pinned_before_it_was_reserved_is_not_granted(world: World) -> None:
    holder = node(world, "n1")
    with world.authority.database.write() as connection:
        assert holder.certificate is not None
        assert holder.certificate.cluster_id is not None
        grants = read_grants(["api.blue.example", "db.example"], [])
        pinned = InventoryNode(
            holder.certificate.cluster_id, "n1", grants, 1, is_pinned=True, updated_at=world.clock.now, updated_by="x"
        )  # fmt: skip
        inventory.put(connection, pinned)
    assert submit(world, holder, node_csr("n1", "api.blue.example")).state is RequestState.PENDING
    assert submit(world, holder, node_csr("n1", "db.example")).state is RequestState.APPROVED


def test_an_endpoint_that_is_an_address_is_reserved_and_a_cluster_without_names_reserves_its_endpoint() -> (
    None
):
    address = parse_ip_address("192.0.2.1")
    assert address in reserved_hosts(replace(CLUSTER_NAMES, endpoint=address))
    poor = replace(CLUSTER_NAMES, service_cidr=parse_ip_network("10.96.0.1/32"))
    assert reserved_hosts(poor) == {DnsName("api.blue.example")}
