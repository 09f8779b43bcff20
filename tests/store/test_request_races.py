"""Two at once, on both databases: of two administrators, and of two bootstrap tokens, one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from tests.support.clock import Clock
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.approval.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.approval.decide import Choice, approve_request
from trivet.authority.approval.fulfil import as_it_stands, fulfil, fulfil_left_over, wish_for
from trivet.authority.approval.inventory import put_node
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.authenticate import authenticate_token
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import prepare
from trivet.authority.issuance.case import IssuedCertificate, Outcome
from trivet.authority.issue import issue_all
from trivet.pki.errors import ConflictError, UnavailableError
from trivet.pki.inventory import read_grants
from trivet.store.requests import RequestState, StoredRequest
from trivet.store.tables import certificates

MANY = 4


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


def at_once(run: Callable[[int], object]) -> list[object]:
    """Run it for each number at the same moment."""
    barrier = threading.Barrier(MANY)

    def begun(number: int) -> object:
        barrier.wait()
        return run(number)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(begun, range(MANY)))


def test_of_administrators_who_grant_the_same_at_once_one_wins(world: World) -> None:
    networks = ["10.0.0.7", "10.0.0.0/24", "10.0.0.0/30", "10.0.0.4/30"]

    def put(number: int) -> bool:
        try:
            put_node(
                world.authority,
                OPERATOR,
                "blue",
                f"n{number}",
                read_grants(["db.example"], [networks[number]]),
            )
        except ConflictError:
            return False
        return True

    assert at_once(put).count(True) == 1


def by_token(world: World, number: int, node: str = "n1") -> StoredRequest:
    """A request with a bootstrap token and a key of its own."""
    _, token = create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken())
    requester = authenticate_token(world.authority, token)
    wanted = Submission("kubelet-client", csr(f"system:node:{node}", ("system:nodes",), key=number))
    return submit_request(world.authority, requester, "blue", wanted)


def in_one_batch(world: World, requests: list[StoredRequest]) -> list[Outcome]:
    """Issue for them in one transaction, as the queue does for what comes at the same time."""
    return issue_all(world.authority, [prepare(*wish_for(world.authority, each)) for each in requests])


def test_of_tokens_that_ask_for_one_new_node_at_once_one_gets_it(world: World) -> None:
    requests = [by_token(world, number) for number in range(MANY)]
    assert {each.state for each in requests} == {RequestState.APPROVED}
    states = at_once(lambda number: fulfil(world.authority, requests[number]).state)
    assert sorted(map(str, states)) == ["failed"] * (MANY - 1) + ["issued"]


def test_of_tokens_that_ask_for_one_new_node_in_one_batch_one_gets_it(world: World) -> None:
    requests = [by_token(world, number) for number in range(3)]
    outcomes = in_one_batch(world, requests)
    assert [type(each) for each in outcomes] == [IssuedCertificate, UnavailableError, UnavailableError]
    states = [as_it_stands(world.authority, each).state for each in requests]
    assert states == [RequestState.ISSUED, RequestState.APPROVED, RequestState.APPROVED]
    world.clock.advance(seconds=31)
    assert fulfil_left_over(world.authority) == 2
    left = [as_it_stands(world.authority, each) for each in requests[1:]]
    assert [each.state for each in left] == [RequestState.FAILED] * 2
    assert "holds the certificate" in left[0].reason


def test_new_nodes_do_not_wait_for_each_other_in_a_batch(world: World) -> None:
    requests = [by_token(world, number, f"n{number}") for number in range(3)]
    assert {type(each) for each in in_one_batch(world, requests)} == {IssuedCertificate}


def test_a_request_that_is_twice_in_one_batch_is_issued_once(world: World) -> None:
    stored = submit_request(world.authority, OPERATOR, "blue", Submission("scheduler", csr()))
    approved = approve_request(world.authority, OPERATOR, Choice("blue", stored.name))
    outcomes = in_one_batch(world, [approved, approved])
    assert [type(each) for each in outcomes] == [IssuedCertificate, UnavailableError]
    with world.authority.database.read() as connection:
        query = select(func.count()).where(certificates.c.profile == "scheduler")
        assert connection.scalar(query) == 1
    assert as_it_stands(world.authority, approved).state is RequestState.ISSUED
    assert all(isinstance(each, IssuedCertificate) for each in in_one_batch(world, [approved, approved]))


def test_a_request_that_many_approve_at_once_is_issued_once(world: World) -> None:
    stored = submit_request(world.authority, OPERATOR, "blue", Submission("scheduler", csr()))

    def approve(_: int) -> object:
        choice = Choice("blue", stored.name)
        return fulfil(world.authority, approve_request(world.authority, OPERATOR, choice)).certificate_id

    assert len(set(at_once(approve))) == 1
