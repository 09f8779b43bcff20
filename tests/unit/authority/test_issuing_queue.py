"""Whatever arrives while one batch is in flight shares the next one, and bears only its own faults."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.support.clock import Clock
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority

from trivet.authority.access import Requester, Role
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR
from trivet.authority.issuance import application, certify
from trivet.authority.issuance import queue as issuing
from trivet.authority.issuance.application import Application, Issuance
from trivet.authority.issuance.case import Case, Outcome
from trivet.authority.issuance.queue import IssuingQueue, Ticket
from trivet.authority.issuance.results import stored_certificate
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.authority.metrics import meters
from trivet.pki.csr import parse_certificate_request
from trivet.pki.errors import (
    BadCSRError,
    IdempotencyError,
    InvalidError,
    NotFoundError,
    Refusal,
    RejectedIdentifierError,
    RevokedError,
    UnavailableError,
)
from trivet.pki.pem import from_der
from trivet.pki.revocation import EntryKind
from trivet.pki.subjects import names_of
from trivet.store import issuing as store_issuing
from trivet.store.engine import Database

SOON = 20.0  # seconds; nothing here takes that long, unless it never comes


@dataclass
class Delivered:
    """Where the queue puts what it decided."""

    batches: list[list[Ticket]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, batch: Sequence[Ticket]) -> None:
        with self.changed:
            self.batches.append(list(batch))
            self.changed.notify_all()

    def wait_for(self, tickets: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(map(len, self.batches)) >= tickets, SOON), self.batches


@pytest.fixture
def delivered() -> Delivered:
    return Delivered()


@pytest.fixture
def queue(world: World, delivered: Delivered) -> Iterator[IssuingQueue]:
    queue = IssuingQueue(world.authority, delivered)
    yield queue
    queue.close()


def wish(node: str = "node-1", **fields: Any) -> Issuance:  # noqa: ANN401
    return Issuance(
        **{"cluster": "blue", "profile": "kubelet-client", "request": csr(), "node": node} | fields
    )


@dataclass
class Gate:
    """Holds the batch in flight until it is opened."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Stop the first batch within `issue_all`, and note the sizes of all."""
    gate = Gate()

    def gated(authority: Authority, batch: Sequence[Application]) -> list[Outcome]:
        gate.sizes.append(len(batch))
        gate.reached.set()
        assert gate.opened.wait(SOON)
        return issue_all(authority, batch)

    monkeypatch.setattr(issuing, "issue_all", gated)
    yield gate
    gate.opened.set()


@contextmanager
def in_one_batch(queue: IssuingQueue, gate: Gate, delivered: Delivered, count: int) -> Iterator[None]:
    """Have all that the block puts share the second batch."""
    queue.put(OPERATOR, wish("node-0"), None)
    assert gate.reached.wait(SOON)
    yield
    gate.opened.set()
    delivered.wait_for(count + 1)
    assert [len(batch) for batch in delivered.batches] == [1, count]


def serial_of(ticket: Ticket) -> str:
    assert isinstance(ticket.outcome, IssuedCertificate), ticket.outcome
    return ticket.outcome.stored.serial


def counted(world: World, table: str) -> int:
    with world.authority.database.read() as connection:
        found = connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608  names of our own tables
        return int(found.scalar_one())


def test_a_lone_application_is_decided_without_waiting_for_company(
    world: World, queue: IssuingQueue, delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    ticket = queue.put(OPERATOR, wish(), "tag")
    delivered.wait_for(1)
    assert delivered.batches == [[ticket]]
    assert ticket.tag == "tag"
    assert slept == []
    serial = serial_of(ticket)
    with world.authority.database.read() as connection:
        assert connection.execute(text("SELECT serial FROM certificates")).scalar_one() == serial


def test_what_arrives_while_a_batch_is_in_flight_shares_the_next(
    world: World, queue: IssuingQueue, delivered: Delivered, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions: list[int] = []
    write = Database.write

    def counting(self: Database) -> Any:  # noqa: ANN401
        if self is world.authority.database:  # other tests' services may still be writing to theirs
            transactions.append(1)
        return write(self)

    monkeypatch.setattr(Database, "write", counting)
    before = meters.BATCH_SIZE._sum.get()
    with in_one_batch(queue, gate, delivered, 20):
        tickets = [queue.put(OPERATOR, wish(f"node-{number}"), number) for number in range(20)]
        assert queue.waiting == 20
    assert gate.sizes == [1, 20]
    assert len(transactions) == 3  # the first opens the chain of their records
    assert len({serial_of(ticket) for ticket in tickets}) == 20
    assert delivered.batches[1] == tickets  # first come, first served
    assert counted(world, "certificates") == 21
    assert meters.BATCH_SIZE._sum.get() == before + 21


def test_a_batch_is_no_larger_than_is_good_for_the_lock(
    world: World, delivered: Delivered, gate: Gate
) -> None:
    queue = IssuingQueue(world.authority, delivered, largest=3)
    queue.put(OPERATOR, wish("node-0"), None)
    assert gate.reached.wait(SOON)
    for number in range(7):
        queue.put(OPERATOR, wish(f"node-{number}"), None)
    gate.opened.set()
    delivered.wait_for(8)
    queue.close()
    assert gate.sizes == [1, 3, 3, 1]


def test_a_refusal_concerns_its_own_application_only(
    world: World, queue: IssuingQueue, delivered: Delivered, gate: Gate
) -> None:
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:stolen"))
    wishes: list[tuple[Issuance, type[Refusal] | None]] = [
        (wish("a"), None),
        (wish("stolen"), RevokedError),
        (wish(request=b"no request"), BadCSRError),
        (wish("b", request=csr("system:node:other")), RejectedIdentifierError),
        (wish(profile="unknown"), InvalidError),
        (wish(cluster="nowhere"), NotFoundError),
        (wish("c", idempotency_key="x" * 256), InvalidError),
        (wish("d", lifetime=timedelta(seconds=1)), InvalidError),
        (wish("e", idempotency_key="key"), None),
        (wish("f", idempotency_key="key"), IdempotencyError),
        (wish("g"), None),
    ]
    with in_one_batch(queue, gate, delivered, len(wishes)):
        tickets = [queue.put(OPERATOR, one, None) for one, _ in wishes]
    assert gate.sizes == [1, len(wishes)]
    records = set()
    for ticket, (one, expected) in zip(tickets, wishes, strict=True):
        if expected is None:
            issued = ticket.outcome
            assert isinstance(issued, IssuedCertificate)
            assert issued.stored.node == one.node
            assert world.stored(issued) == issued.stored
            continue
        assert isinstance(ticket.outcome, Refusal)
        if expected is not InvalidError:
            assert type(ticket.outcome) is expected
        record = world.decision(ticket.outcome.decision)
        assert (record.verdict, record.reason) == ("refused", ticket.outcome.slug)
        assert record.detail == ticket.outcome.detail
        records.add(record.id)
    assert len(records) == 8
    assert counted(world, "certificates") == 4
    assert counted(world, "decisions") == 1 + len(wishes)


def test_two_that_are_refused_under_one_key_have_a_record_each(
    world: World, queue: IssuingQueue, delivered: Delivered, gate: Gate
) -> None:
    unlawful = wish("a", lifetime=timedelta(seconds=1), idempotency_key="key")
    with in_one_batch(queue, gate, delivered, 3):
        tickets = [queue.put(OPERATOR, unlawful, None) for _ in range(3)]
    outcomes = [ticket.outcome for ticket in tickets]
    assert all(isinstance(outcome, Refusal) for outcome in outcomes)
    named = {outcome.decision for outcome in outcomes if isinstance(outcome, Refusal)}
    assert len(named) == 3
    assert all(world.decision(one).verdict == "refused" for one in named)


class DefectError(RuntimeError):
    """What nobody has thought of."""


def _fail_for(monkeypatch: pytest.MonkeyPatch, node: str, error: Exception) -> None:
    """Have a step of the transaction raise for one node's application."""
    store = stored_certificate

    def failing(case: Case, *rest: Any) -> Any:  # noqa: ANN401
        if case.draft is not None and case.draft.node == node:
            raise error
        return store(case, *rest)

    monkeypatch.setattr(certify, "stored_certificate", failing)


def test_a_defect_for_one_application_leaves_the_others_their_certificates(
    world: World,
    queue: IssuingQueue,
    delivered: Delivered,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defect = DefectError("of node b")
    _fail_for(monkeypatch, "b", defect)
    with in_one_batch(queue, gate, delivered, 4):
        tickets = [queue.put(OPERATOR, wish(node), None) for node in "abcd"]
    assert gate.sizes == [1, 4, 1, 1, 1, 1]
    assert [ticket.outcome is defect for ticket in tickets] == [False, True, False, False]
    assert len({serial_of(ticket) for ticket in tickets if ticket.outcome is not defect}) == 3
    # What the failed batch had signed for the others is not there twice.
    assert counted(world, "certificates") == 4
    assert counted(world, "decisions") == 4


def test_a_request_that_cannot_even_be_read_without_a_defect_concerns_nobody_else(
    world: World,
    queue: IssuingQueue,
    delivered: Delivered,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defect = DefectError("in the reader")
    read = parse_certificate_request

    def failing(request: bytes, *rest: Any) -> Any:  # noqa: ANN401
        if request == b"bad":
            raise defect
        return read(request, *rest)

    monkeypatch.setattr(application, "parse_certificate_request", failing)
    with in_one_batch(queue, gate, delivered, 3):
        tickets = [queue.put(OPERATOR, one, None) for one in (wish("a"), wish(request=b"bad"), wish("b"))]
    assert gate.sizes == [1, 2]
    assert tickets[1].outcome is defect
    assert serial_of(tickets[0]) != serial_of(tickets[2])
    assert counted(world, "decisions") == 3


def test_a_constraint_that_one_violates_leaves_the_others_their_certificates(
    world: World, delivered: Delivered, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = world.issue()
    serials = [int(taken.stored.serial, 16)]
    draw = Authority.new_serial

    def new_serial(self: Authority) -> Any:  # noqa: ANN401
        return serials.pop() if serials and gate.sizes == [1, 3] else draw(self)

    queue = IssuingQueue(world.authority, delivered)
    with in_one_batch(queue, gate, delivered, 3):
        monkeypatch.setattr(Authority, "new_serial", new_serial)
        tickets = [queue.put(OPERATOR, wish(node), None) for node in "abc"]
    queue.close()
    assert len({serial_of(ticket) for ticket in tickets} | {taken.stored.serial}) == 4
    assert counted(world, "certificates") == 5


def test_nothing_is_told_before_it_is_committed(
    world: World, delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def deliver(batch: Sequence[Ticket]) -> None:
        seen.append(counted(world, "certificates"))
        delivered(batch)

    queue = IssuingQueue(world.authority, deliver)
    committing, go_on = threading.Event(), threading.Event()
    write = store_issuing.write

    def slowly(*arguments: Any) -> None:  # noqa: ANN401
        write(*arguments)
        committing.set()
        assert go_on.wait(SOON)

    monkeypatch.setattr(store_issuing, "write", slowly)
    ticket = queue.put(OPERATOR, wish(), None)
    assert committing.wait(SOON)
    assert ticket.outcome is None
    assert delivered.batches == []
    go_on.set()
    delivered.wait_for(1)
    queue.close()
    assert seen == [1]


def test_a_full_queue_turns_away_at_once(world: World, delivered: Delivered, gate: Gate) -> None:
    queue = IssuingQueue(world.authority, delivered, longest=2)
    queue.put(OPERATOR, wish("node-0"), None)
    assert gate.reached.wait(SOON)
    before = meters.TURNED_AWAY._value.get()
    for number in range(2):
        queue.put(OPERATOR, wish(f"node-{number}"), None)
    with pytest.raises(UnavailableError) as caught:
        queue.put(OPERATOR, wish("node-9"), None)
    assert caught.value.retry_after > timedelta(0)
    assert meters.TURNED_AWAY._value.get() == before + 1
    gate.opened.set()
    delivered.wait_for(3)
    queue.put(OPERATOR, wish("node-9"), None)  # there is room again
    delivered.wait_for(4)
    queue.close()
    assert counted(world, "certificates") == 4


def test_what_was_withdrawn_is_not_begun(
    world: World, queue: IssuingQueue, delivered: Delivered, gate: Gate
) -> None:
    with in_one_batch(queue, gate, delivered, 1):
        tickets = [queue.put(OPERATOR, wish(node), None) for node in "abc"]
        tickets[0].withdrawn = tickets[2].withdrawn = True
    assert [ticket.outcome is None for ticket in tickets] == [True, False, True]
    assert counted(world, "certificates") == 2


def test_a_batch_of_which_nobody_waits_is_no_transaction(
    world: World, queue: IssuingQueue, delivered: Delivered, gate: Gate
) -> None:
    queue.put(OPERATOR, wish("node-0"), None)
    assert gate.reached.wait(SOON)
    queue.put(OPERATOR, wish("a"), None).withdrawn = True
    gate.opened.set()
    delivered.wait_for(1)
    last = queue.put(OPERATOR, wish("b"), None)
    delivered.wait_for(2)
    assert gate.sizes == [1, 1]
    assert delivered.batches[1] == [last]
    assert counted(world, "decisions") == 2


def test_closing_decides_what_waits_and_takes_no_more(world: World, delivered: Delivered, gate: Gate) -> None:
    queue = IssuingQueue(world.authority, delivered, largest=2)
    queue.put(OPERATOR, wish("node-0"), None)
    assert gate.reached.wait(SOON)
    tickets = [queue.put(OPERATOR, wish(f"node-{number}"), None) for number in range(5)]
    closing = threading.Thread(target=queue.close)
    closing.start()
    while not queue._closed:
        time.sleep(0.001)
    with pytest.raises(UnavailableError):
        queue.put(OPERATOR, wish("late"), None)
    gate.opened.set()
    closing.join(SOON)
    assert not closing.is_alive()
    assert len({serial_of(ticket) for ticket in tickets}) == 5
    assert not queue._thread.is_alive()
    queue.close()  # again does no harm
    assert counted(world, "certificates") == 6


def test_what_comes_while_the_queue_closes_is_decided_or_told_so(
    world: World, delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "issue_all", lambda _, batch: [UnavailableError("not really")] * len(batch))
    for _ in range(20):
        queue = IssuingQueue(world.authority, delivered)
        accepted: list[Ticket] = []
        threads = [threading.Thread(target=_put_until_refused, args=(queue, accepted)) for _ in range(3)]
        for thread in threads:
            thread.start()
        queue.close()
        for thread in threads:
            thread.join(SOON)
        assert all(ticket.outcome is not None for ticket in accepted)


def _put_until_refused(queue: IssuingQueue, accepted: list[Ticket]) -> None:
    try:
        while True:
            accepted.append(queue.put(OPERATOR, wish(), None))
    except UnavailableError:
        return


def test_while_the_database_is_away_all_are_told_so_and_then_all_is_well(
    queue: IssuingQueue,
    delivered: Delivered,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_one_batch(queue, gate, delivered, 3):
        tickets = [queue.put(OPERATOR, wish(node), None) for node in "abc"]
        # The first batch must be over before the database goes.
        with monkeypatch.context() as patched:
            patched.setattr(Database, "write", _away)
            gate.opened.set()
            delivered.wait_for(4)
    assert gate.sizes == [1, 3]  # not each by itself: it would wait for the database once for each
    outcomes = [ticket.outcome for ticket in tickets]
    assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 3
    last = queue.put(OPERATOR, wish(), None)
    delivered.wait_for(5)
    assert serial_of(last)


@contextmanager
def _away(database: Database) -> Iterator[None]:
    if database.is_sqlite:
        raise UnavailableError("the database is away")
    yield


def test_whoever_cannot_take_the_answer_does_not_stop_the_queue(
    world: World, delivered: Delivered, caplog: pytest.LogCaptureFixture
) -> None:
    def deliver(batch: Sequence[Ticket]) -> None:
        delivered(batch)
        if len(delivered.batches) == 1:
            raise DefectError("in the front end")

    queue = IssuingQueue(world.authority, deliver)
    queue.put(OPERATOR, wish("a"), None)
    delivered.wait_for(1)
    ticket = queue.put(OPERATOR, wish("b"), None)
    delivered.wait_for(2)
    assert serial_of(ticket)
    queue.close()
    assert "could not be delivered" in caplog.text


# A batch decides as its applications one by one would.

WISHES: dict[str, tuple[Callable[[World], Requester], Issuance]] = {
    "plain": (lambda _: OPERATOR, wish("n1")),
    "hosts": (
        lambda _: OPERATOR,
        wish("n2", profile="kubelet-serving", request=csr(hosts=("n2", "10.1.2.3"))),
    ),
    "user": (
        lambda _: OPERATOR,
        wish(None, profile="kube-apiserver-client", request=csr("jane", ("team",), key=1)),  # type: ignore[arg-type]
    ),
    "banned name": (lambda _: OPERATOR, wish("banned")),
    "banned host": (
        lambda _: OPERATOR,
        wish("n3", profile="kubelet-serving", request=csr(hosts=("n3", "x.bad.example"))),
    ),
    "banned elsewhere only": (lambda _: OPERATOR, wish("of-red")),
    "banned there": (lambda _: OPERATOR, wish("of-red", cluster="red")),
    "a near miss": (lambda _: OPERATOR, wish("n4", profile="etcd-peer", request=csr(hosts=("bad.example",)))),
    "short": (lambda _: OPERATOR, wish("n5", lifetime=timedelta(hours=2))),
    "too short": (lambda _: OPERATOR, wish("n5", lifetime=timedelta(seconds=5))),
    "no request": (lambda _: OPERATOR, wish("n6", request=b"\x30\x00")),
    "another's name": (lambda _: OPERATOR, wish("n7", request=csr("system:node:n8"))),
    "no cluster": (lambda _: OPERATOR, wish("n9", cluster="green")),
    "no profile": (lambda _: OPERATOR, wish("n9", profile="nothing")),
    "not permitted": (lambda _: Requester("token:a", Role.AUDITOR), wish("n10")),
    "no such token": (
        lambda world: Requester("token:b", Role.ISSUER, token_id=world.authority.new_id(world.clock())),
        wish("n11"),
    ),
    "keyed": (lambda _: OPERATOR, wish("n12", idempotency_key="key")),
    "bad key": (lambda _: OPERATOR, wish("n13", idempotency_key="ö")),
}


def described(world: World, outcome: Outcome) -> tuple[object, ...]:
    """All of an outcome but what is random, and its decision record."""
    if isinstance(outcome, Refusal):
        record = world.decision(outcome.decision)
        return (type(outcome), outcome.detail, outcome.faults, *_recorded(record))
    stored, record = outcome.stored, world.decision(outcome.stored.decision_id)
    names = names_of(from_der(stored.der))
    validity = (stored.not_before, stored.not_after, stored.issued_at)
    told = (stored.profile, stored.authority, stored.node, stored.cluster_id, stored.spki_sha256, names)
    return (
        *told,
        *validity,
        outcome.issuer,
        outcome.replayed,
        record.serial == stored.serial,
        *_recorded(record),
    )


def _recorded(record: Any) -> tuple[object, ...]:  # noqa: ANN401
    return (
        record.verdict, record.reason, record.detail, record.action, record.profile, record.request_sha256,
        record.cluster_version, record.global_version, record.considered, record.identity, record.cluster_id,
    )  # fmt: skip


@pytest.fixture(scope="module")
def banning(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    clock = Clock()
    path = shutil.copy(prepared_file, tmp_path_factory.mktemp("banning"))
    world = World(make_authority(f"sqlite:///{path}", clock), clock)
    world.make_cluster("red")
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:banned"))
    world.revoke(entry(EntryKind.DNS, ".bad.example"), cluster=None)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:of-red"), cluster="red")
    return world


@settings(max_examples=15)
@given(names=st.lists(st.sampled_from(sorted(WISHES)), unique=True, min_size=2), seed=st.integers(0, 99))
def test_a_batch_is_decided_as_one_by_one(banning: World, names: list[str], seed: int) -> None:
    random.Random(seed).shuffle(names)  # noqa: S311
    applications = []
    for name in names:
        requester, one = WISHES[name]
        applications.append(application.prepare(requester(banning), one))
    together = issue_all(banning.authority, applications)
    with banning.authority.database.write() as connection:
        connection.execute(text("DELETE FROM idempotency_keys"))
    alone = [issue_all(banning.authority, [one])[0] for one in applications]
    with banning.authority.database.write() as connection:
        connection.execute(text("DELETE FROM idempotency_keys"))
    for name, of_batch, own in zip(names, together, alone, strict=True):
        assert described(banning, of_batch) == described(banning, own), name


def test_the_answers_of_one_by_one_are_of_many_kinds(banning: World) -> None:
    outcomes = [
        issue_all(banning.authority, [application.prepare(requester(banning), one)])[0]
        for requester, one in WISHES.values()
    ]
    assert sum(isinstance(outcome, IssuedCertificate) for outcome in outcomes) == 7
    assert len({outcome.slug for outcome in outcomes if isinstance(outcome, Refusal)}) >= 7
    with banning.authority.database.write() as connection:
        connection.execute(text("DELETE FROM idempotency_keys"))
