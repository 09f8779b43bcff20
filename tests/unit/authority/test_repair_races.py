"""Two at once: of a one-time token and of an expired certificate one has it, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from tests.support.clock import Clock
from tests.support.fleet import Fleet, new_request
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.pki.errors import AccessDeniedError, ConflictError, ExpiredError, Refusal
from trivet.pki.revocation import EntryKind
from trivet.store import identities, repair_tokens

CLIENT = "kubelet-client"
AT_ONCE = 6


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster("blue")
    fleet = Fleet(world)
    fleet.provision("w", CLIENT)
    yield fleet
    world.authority.database.dispose()


def all_at_once(attempt: Callable[[], object]) -> list[object]:
    """Let several threads try at the same moment; what each got, or its refusal."""
    barrier = Barrier(AT_ONCE)

    def tried() -> object:
        barrier.wait()
        try:
            return attempt()
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(tried) for _ in range(AT_ONCE)]]


def refusals(found: list[object]) -> list[type]:
    return sorted((type(one) for one in found if isinstance(one, Refusal)), key=str)


def test_of_many_requests_with_one_token_one_wins(fleet: Fleet) -> None:
    world = fleet.world
    world.revoke(entry(EntryKind.SERIAL_NUMBER, fleet.held["w", CLIENT].serial))
    world.clock.advance(seconds=1)
    secret = fleet.token(fleet.open(), "w")
    world.clock.advance(seconds=1)
    bearer = fleet.bearer(secret)
    found = all_at_once(lambda: fleet.by_token(secret, "w", CLIENT, requester=bearer))
    assert refusals(found) == [AccessDeniedError] * (AT_ONCE - 1)
    with world.authority.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM certificates").scalar()
        decided = connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar()
        uses = connection.exec_driver_sql("SELECT count(*) FROM repair_token_uses").scalar()
    # What was signed for the others was neither stored nor sent, and each has its decision record.
    assert (stored, decided, uses) == (2, 1 + AT_ONCE, 1)


def test_of_many_renewals_of_an_expired_certificate_one_wins(fleet: Fleet) -> None:
    world, held = fleet.world, fleet.held["w", CLIENT]
    world.clock.advance(days=5)
    fleet.open()
    holder = world.holder(held)
    found = all_at_once(lambda: world.renew(held, request=new_request(), requester=holder))
    assert refusals(found) == [ExpiredError] * (AT_ONCE - 1)


def test_the_same_request_many_times_at_once_gives_one_certificate(fleet: Fleet) -> None:
    world, held = fleet.world, fleet.held["w", CLIENT]
    fleet.provision("v", CLIENT)
    world.clock.advance(days=5)
    secret = fleet.token(fleet.open(), "v")
    world.clock.advance(seconds=1)
    holder, request = world.holder(held), new_request()
    renewed = all_at_once(
        lambda: world.renew(held, request=request, requester=holder, idempotency_key="k").stored.id
    )
    assert len(set(renewed)) == 1
    bearer, wish = fleet.bearer(secret), Issuance("blue", CLIENT, new_request(), "v", idempotency_key="k")
    issued = all_at_once(lambda: issue(world.authority, bearer, wish).stored.id)
    assert len(set(issued)) == 1


@pytest.mark.parametrize("when", ["each", "uses"])
def test_a_request_whose_twin_is_answered_while_it_reads_gets_the_same_certificate(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    world = fleet.world
    if world.authority.database.is_sqlite:
        pytest.skip("SQLite's other writers wait")
    world.clock.advance(days=5)
    bearer = fleet.bearer(fleet.token(fleet.open(), "w"))
    world.clock.advance(seconds=1)
    wish = Issuance("blue", CLIENT, new_request(), "w", idempotency_key="k")
    module = {"each": identities, "uses": repair_tokens}[when]
    read = getattr(module, when)
    twins: list[object] = []

    def read_and_wait(*arguments: object) -> object:
        found = read(*arguments)
        if not twins:
            twins.append(None)
            with ThreadPoolExecutor(1) as pool:
                twins[0] = pool.submit(issue, world.authority, bearer, wish).result().stored.id
        return found

    monkeypatch.setattr(module, when, read_and_wait)
    assert [issue(world.authority, bearer, wish).stored.id] == twins


def test_of_many_who_open_a_window_one_does(fleet: Fleet) -> None:
    fleet.world.clock.advance(days=5)
    found = all_at_once(fleet.open)
    assert refusals(found) == [ConflictError] * (AT_ONCE - 1)
    assert len(fleet.audited("repair.open")) == 1
