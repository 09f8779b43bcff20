"""Renewals whose certificate is looked up for the whole batch: each is its holder's, judged by what stands now."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import update
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority import holders
from trivet.authority.install import OPERATOR
from trivet.authority.issuance import queue as queues
from trivet.authority.issuance.application import Issuance, PresentedRenewal
from trivet.authority.issuance.queue import IssuingQueue, Ticket
from trivet.authority.issue import IssuedCertificate
from trivet.pki.errors import AuthenticationError, Refusal, RevokedError, UnavailableError
from trivet.pki.pem import from_der
from trivet.pki.revocation import EntryKind
from trivet.store.tables import certificates, serials

SOON = 20.0


class Batch:
    """Has all that is put before `decide` share one batch."""

    def __init__(self, world: World) -> None:
        self._decided = threading.Event()
        self._may_begin = threading.Event()
        self._queue = IssuingQueue(world.authority, self._delivered)
        next_batch = self._queue._next_batch

        def held() -> tuple[list[Ticket], bool]:
            assert self._may_begin.wait(SOON)
            return next_batch()

        self._queue._next_batch = held  # type: ignore[method-assign]
        self._queue.put(OPERATOR, Issuance("blue", "kubelet-client", csr(), "node-0"), None)
        self.sizes: list[int] = []

    def _delivered(self, batch: Sequence[Ticket]) -> None:
        self.sizes.append(len(batch))
        self._decided.set()

    def put(self, wish: PresentedRenewal | Issuance) -> Ticket:
        return self._queue.put(OPERATOR if isinstance(wish, Issuance) else None, wish, None)

    def decide(self) -> None:
        self._may_begin.set()
        assert self._decided.wait(SOON)
        self._queue.close()


@pytest.fixture
def batch(world: World) -> Iterator[Batch]:
    batch = Batch(world)
    yield batch
    batch._may_begin.set()


def renewal(issued: IssuedCertificate | bytes, request: bytes | None = None) -> PresentedRenewal:
    der = issued if isinstance(issued, bytes) else issued.stored.der
    return PresentedRenewal(holders.presented(from_der(der), "r-1"), "blue", request or csr(key=1))


def made(ticket: Ticket) -> IssuedCertificate:
    assert isinstance(ticket.outcome, IssuedCertificate), ticket.outcome
    return ticket.outcome


def test_each_holder_renews_their_own_certificate(world: World, batch: Batch) -> None:
    held = [world.issue(node=f"node-{number}") for number in range(4)]
    tickets = [batch.put(renewal(one)) for one in held]
    batch.decide()
    for one, ticket in zip(held, tickets, strict=True):
        renewed = made(ticket).stored
        assert (renewed.parent_id, renewed.node) == (one.stored.id, one.stored.node)
        assert renewed.requester == f"certificate:{one.stored.serial} ({one.stored.common_name})"
        assert world.decision(renewed.decision_id).request_id == "r-1"
        assert world.stored(one).superseded_at == world.clock()


def test_a_certificate_that_is_not_trivets_refuses_only_whoever_shows_it(world: World, batch: Batch) -> None:
    held = world.issue()
    good, foreign, new = (
        batch.put(wish)
        for wish in (
            renewal(held),
            renewal(held.issuer),
            Issuance("blue", "kubelet-client", csr(), "node-7"),
        )
    )
    batch.decide()
    assert made(good).stored.parent_id == held.stored.id
    assert isinstance(foreign.outcome, AuthenticationError)
    assert "was not issued by this Trivet" in foreign.outcome.detail
    assert foreign.application is None
    assert made(new).stored.node == "node-7"


def test_a_request_that_cannot_be_read_refuses_only_itself(world: World, batch: Batch) -> None:
    held = world.issue()
    bad, good = batch.put(renewal(held, request=b"none")), batch.put(renewal(held))
    batch.decide()
    assert isinstance(bad.outcome, Refusal)
    assert world.decision(bad.outcome.decision).action == "renew"
    assert made(good).stored.parent_id == held.stored.id


@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_is_revoked_between_the_look_up_and_the_lock_is_refused(
    world: World, batch: Batch, monkeypatch: pytest.MonkeyPatch, *, is_deleted: bool
) -> None:
    held, other = world.issue(), world.issue(node="node-2")
    recognise = holders.recognise_holders

    def then_revoked(*arguments: Any) -> Any:  # noqa: ANN401
        found = recognise(*arguments)
        revoked = world.revoke(entry(EntryKind.SERIAL_NUMBER, held.stored.serial))
        if is_deleted:  # then no entry stands any more, but what was marked stays so
            world.delete(revoked)
        return found

    monkeypatch.setattr(queues, "recognise_holders", then_revoked)
    refused, good = batch.put(renewal(held)), batch.put(renewal(other))
    batch.decide()
    assert isinstance(refused.outcome, RevokedError)
    assert made(good).stored.parent_id == other.stored.id


def test_what_was_entered_into_the_database_renews_nothing(world: World, batch: Batch) -> None:
    held = world.issue()
    forged = world.issue(node="node-2").issuer
    with world.authority.database.write() as connection:
        serial = format(from_der(forged).serial_number, "x")
        change = update(certificates).where(certificates.c.id == held.stored.id)
        connection.execute(change.values(der=forged))
        own = update(serials).where(serials.c.certificate_id == held.stored.id)
        connection.execute(own.values(serial=serial))
    ticket = batch.put(renewal(forged))
    batch.decide()
    assert isinstance(ticket.outcome, AuthenticationError)


@pytest.mark.parametrize("error", [UnavailableError("away"), ZeroDivisionError()], ids=["away", "defect"])
def test_where_the_look_up_fails_all_who_need_it_are_told_and_no_other(
    world: World, batch: Batch, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked: list[int] = []

    def failing(_: object, shown: Sequence[object]) -> Any:  # noqa: ANN401
        asked.append(len(shown))
        raise error

    monkeypatch.setattr(queues, "recognise_holders", failing)
    held = world.issue()
    first, second = batch.put(renewal(held)), batch.put(renewal(held))
    new = batch.put(Issuance("blue", "kubelet-client", csr(), "node-7"))
    batch.decide()
    assert [type(ticket.outcome) for ticket in (first, second)] == [type(error)] * 2
    assert first.outcome is not second.outcome or not isinstance(error, Refusal)
    assert made(new).stored.node == "node-7"
    assert asked == ([2] if isinstance(error, Refusal) else [2, 1, 1])


def test_a_defect_in_the_look_up_is_its_own(
    world: World, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise = holders.recognise_holders
    bad, good = renewal(world.issue()), renewal(world.issue(node="node-2"))

    def failing(authority: Any, shown: Sequence[holders.Presented]) -> Any:  # noqa: ANN401
        if bad.presented in shown:
            raise ZeroDivisionError
        return recognise(authority, shown)

    monkeypatch.setattr(queues, "recognise_holders", failing)
    tickets = [batch.put(bad), batch.put(good)]
    batch.decide()
    assert isinstance(tickets[0].outcome, ZeroDivisionError)
    assert made(tickets[1]).stored.node == "node-2"
