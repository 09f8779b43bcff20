"""Two at once, on both databases: of two administrators, and of two bootstrap tokens, one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.clock import Clock
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.authenticate import authenticate_token
from trivet.authority.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.decide import Choice, approve_request
from trivet.authority.fulfil import fulfil
from trivet.authority.install import OPERATOR
from trivet.authority.inventory import put_node
from trivet.authority.submission import Submission
from trivet.authority.submit import submit_request
from trivet.pki.errors import ConflictError
from trivet.pki.inventory import read_grants
from trivet.store.requests import RequestState, StoredRequest

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


def test_of_tokens_that_ask_for_one_new_node_at_once_one_gets_it(world: World) -> None:
    def submit(number: int) -> StoredRequest:
        _, token = create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken())
        requester = authenticate_token(world.authority, token)
        wanted = Submission("kubelet-client", csr("system:node:n1", ("system:nodes",), key=number))
        return submit_request(world.authority, requester, "blue", wanted)

    requests = [submit(number) for number in range(MANY)]
    assert {each.state for each in requests} == {RequestState.APPROVED}
    states = at_once(lambda number: fulfil(world.authority, requests[number]).state)
    assert sorted(map(str, states)) == ["failed"] * (MANY - 1) + ["issued"]


def test_a_request_that_many_approve_at_once_is_issued_once(world: World) -> None:
    stored = submit_request(world.authority, OPERATOR, "blue", Submission("scheduler", csr()))

    def approve(_: int) -> object:
        choice = Choice("blue", stored.name)
        return fulfil(world.authority, approve_request(world.authority, OPERATOR, choice)).certificate_id

    assert len(set(at_once(approve))) == 1
