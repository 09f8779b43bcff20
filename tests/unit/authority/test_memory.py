"""What a process remembers never decides: two processes over one database, each with a memory of its own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, delete, text, update
from tests.support import rows
from tests.support.clock import START, Clock
from tests.support.refused import refused_write
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.access import Requester, Role
from trivet.authority.authenticate import authenticate_token, recognise_token
from trivet.authority.create import make_root
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, prepare
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.authority.memory import Memory, Remembered
from trivet.authority.tokens import create_token, delete_token
from trivet.pki.errors import AuthenticationError, NotFoundError, Refusal, RevokedError
from trivet.pki.pem import from_der, to_der
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import EntryKind
from trivet.pki.roots import RootAlgorithm
from trivet.store import authorities, clusters, issuing, tokens
from trivet.store.authorities import Generation, GenerationState
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.engine import lock_exclusive
from trivet.store.tables import certificates, generations

SOON = 20.0


@pytest.fixture
def both(database_url: str) -> Iterator[tuple[World, World]]:
    """Give the same installation as two processes have it, on either database."""
    clock = Clock()
    prepare_database(database_url, clock)
    here, there = (World(make_authority(database_url, clock), clock) for _ in range(2))
    here.make_cluster()
    yield here, there
    for world in (here, there):
        world.authority.database.dispose()


def _token(world: World, lifetime: timedelta | None = None) -> tuple[UUID, str]:
    token, secret = create_token(world.authority, OPERATOR, role=Role.ISSUER, lifetime=lifetime)
    return token.id, secret


def _known(world: World, secret: str) -> Requester:
    """Whoever holds the token, as a process that has issued for it knows them."""
    world.issue(requester=authenticate_token(world.authority, secret))
    known = recognise_token(world.authority, secret)
    assert known is not None
    return known


def test_a_token_is_remembered_by_the_process_that_has_seen_it(both: tuple[World, World]) -> None:
    here, there = both
    _, secret = _token(here)
    assert recognise_token(here.authority, secret) is None
    known = authenticate_token(here.authority, secret)
    assert recognise_token(here.authority, secret) == known
    assert recognise_token(there.authority, secret) is None


def test_a_token_that_was_deleted_elsewhere_is_refused_though_it_is_remembered(
    both: tuple[World, World],
) -> None:
    here, there = both
    token, secret = _token(here)
    known = _known(here, secret)
    delete_token(there.authority, OPERATOR, token)
    with pytest.raises(AuthenticationError, match="deleted") as caught:
        here.issue(node="late", requester=known)
    record = here.decision(caught.value.decision)
    assert (record.verdict, record.reason) == ("refused", "unauthenticated")
    with pytest.raises(AuthenticationError):
        authenticate_token(here.authority, secret)
    # And once it was looked up in vain it is remembered no longer.
    assert recognise_token(here.authority, secret) is None


def test_a_deleted_token_takes_nobody_else_along(both: tuple[World, World]) -> None:
    here, there = both
    gone, secret = _token(here)
    _, kept = _token(here)
    known = _known(here, secret)
    delete_token(there.authority, OPERATOR, gone)
    wish = Issuance("blue", "kubelet-client", csr(), "node-1")
    asked = [known, authenticate_token(here.authority, kept), OPERATOR]
    outcomes = issue_all(here.authority, [prepare(one, wish) for one in asked])
    assert [isinstance(outcome, IssuedCertificate) for outcome in outcomes] == [False, True, True]


def test_a_token_expires_though_it_is_remembered(both: tuple[World, World]) -> None:
    here, _ = both
    _, secret = _token(here, timedelta(hours=1))
    known = _known(here, secret)
    here.clock.advance(hours=1)
    with pytest.raises(AuthenticationError, match="expired"):
        recognise_token(here.authority, secret)
    # Though whoever asked was known when they came, and time passed in the queue.
    with pytest.raises(AuthenticationError, match="expired"):
        here.issue(requester=known)


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_revocation_that_was_acknowledged_elsewhere_holds_here(
    both: tuple[World, World], *, everywhere: bool
) -> None:
    here, there = both
    here.issue()
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"), cluster=None if everywhere else "blue")
    with pytest.raises(RevokedError):
        here.issue()


def _replace_generation(world: World) -> Generation:
    """Put another generation in the active one's place, as a rotation does."""
    with world.authority.database.write() as connection:
        (cluster,) = clusters.page(connection, None, None, 10)
        old = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
        certificate, key = make_root(world.authority, AuthorityName.CLUSTER, "blue", RootAlgorithm.P384)
        connection.execute(
            update(generations).where(generations.c.id == old.id).values(state=GenerationState.RETIRING)
        )
        made = Generation(
            world.authority.new_id(world.clock()),
            old.authority_id,
            AuthorityName.CLUSTER,
            GenerationState.ACTIVE,
            to_der(certificate),
            world.authority.keyring.encrypt(key),
            world.clock(),
        )
        authorities.add_generation(connection, made)
    return made


def test_the_generation_that_is_active_now_signs_everywhere(both: tuple[World, World]) -> None:
    here, there = both
    before = here.issue()
    assert there.issue().issuer == before.issuer
    made = _replace_generation(there)
    for world in both:
        issued = world.issue()
        assert (issued.issuer, issued.stored.generation_id) == (made.certificate, made.id)
        assert issued.issuer != before.issuer
        from_der(issued.stored.der).verify_directly_issued_by(from_der(made.certificate))
    # A certificate of the old one vouches all the same, and what renews it is the new one's.
    assert here.renew(before.stored).issuer == made.certificate


def test_an_authority_without_an_active_generation_signs_nothing_though_one_is_remembered(
    both: tuple[World, World],
) -> None:
    here, there = both
    here.issue()
    with there.authority.database.write() as connection:
        connection.execute(update(generations).values(state=GenerationState.RETIRING))
    with pytest.raises(NotFoundError, match="no active generation"):
        here.issue()


def test_a_certificate_that_was_revoked_elsewhere_renews_nothing(both: tuple[World, World]) -> None:
    here, there = both
    held = here.issue()
    holder = here.holder(held.stored)
    there.revoke(entry(EntryKind.SERIAL_NUMBER, held.stored.serial))
    with pytest.raises(RevokedError):
        here.renew(held.stored, requester=holder)


def test_a_certificate_that_was_renewed_elsewhere_is_known_as_superseded(both: tuple[World, World]) -> None:
    here, there = both
    held = here.issue()
    there.renew(held.stored)
    assert here.stored(held).superseded_at == here.clock()
    here.clock.advance(hours=1)
    here.renew(held.stored, key=2)
    assert here.stored(held).superseded_at == START


def test_a_holder_whose_certificate_is_no_longer_kept_is_nobody(both: tuple[World, World]) -> None:
    here, there = both
    held = here.issue()
    holder = here.holder(held.stored)
    with there.authority.database.write() as connection:
        connection.execute(delete(certificates))
    with pytest.raises(AuthenticationError, match="no longer kept"):
        here.renew(held.stored, requester=holder)


def test_a_transaction_that_is_taken_back_leaves_no_false_memory(
    both: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = both
    with monkeypatch.context() as patched:
        patched.setattr(issuing, "write", _fail)
        with pytest.raises(ZeroDivisionError):
            here.issue()
        with pytest.raises(ZeroDivisionError):
            here.issue(cluster="red")
    # What it read had been committed by others, so what it remembers of it is true.
    with here.authority.database.read() as connection:
        assert here.authority.memory.clusters.get("blue") == clusters.find(connection, "blue")
    # And what was not there is not remembered as absent.
    assert here.authority.memory.clusters.get("red") is None
    there.make_cluster("red")
    assert here.issue(cluster="red").stored.cluster_id != here.issue().stored.cluster_id


def _fail(*_: object) -> None:
    raise ZeroDivisionError


def test_a_cluster_that_was_not_committed_is_not_remembered(both: tuple[World, World]) -> None:
    here, there = both
    if here.authority.database.is_sqlite:
        pytest.skip("SQLite's other writers wait")
    with refused_write(there.authority.database, ZeroDivisionError) as connection:
        rows.add_cluster(connection, "red")
        with pytest.raises(NotFoundError):
            here.issue(cluster="red")
        _fail()
    assert here.authority.memory.clusters.get("red") is None


# What was acknowledged while an issuance waited for the lock counts for it.


@pytest.mark.parametrize("change", ["revocation", "token", "time", "generation"])
def test_all_is_read_and_timed_after_the_lock_was_granted(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    clock = Clock()
    prepare_database(postgres_database, clock)
    here, there = (World(make_authority(postgres_database, clock), clock) for _ in range(2))
    cluster = here.make_cluster()
    token, secret = _token(here, timedelta(hours=2))
    known = _known(here, secret)
    reached, outcomes = threading.Event(), []
    read = issuing.read

    def reading(*arguments: Any) -> Any:  # noqa: ANN401
        reached.set()
        return read(*arguments)

    monkeypatch.setattr(issuing, "read", reading)
    wish = Issuance("blue", "kubelet-client", csr(), "node-2")
    thread = threading.Thread(
        target=lambda: outcomes.extend(issue_all(here.authority, [prepare(known, wish)]))
    )
    with there.authority.database.write() as connection:
        lock_exclusive(connection, [ALL_CLUSTERS])
        thread.start()
        assert reached.wait(SOON)
        _wait_for_lock(connection)
        clock.advance(hours=1)
        if change == "revocation":
            rows.add_revocation(connection, cluster.id, entry(EntryKind.COMMON_NAME, "system:node:node-2"))
        elif change == "token":
            tokens.remove(connection, token)
        elif change == "time":
            clock.advance(hours=1)
        else:
            connection.execute(update(generations).values(state=GenerationState.RETIRING))
    thread.join(SOON)
    (outcome,) = outcomes
    expected = {
        "revocation": RevokedError,
        "token": AuthenticationError,
        "time": AuthenticationError,
        "generation": NotFoundError,
    }
    assert type(outcome) is expected[change]
    assert here.decision(outcome.decision).decided_at == clock()
    for world in (here, there):
        world.authority.database.dispose()


def _wait_for_lock(connection: Connection) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
    deadline = time.monotonic() + SOON
    while not connection.execute(waiting).scalar_one():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_writer_of_sqlite_is_timed_once_its_turn_has_come(sqlite_database: str) -> None:
    clock = Clock()
    prepare_database(sqlite_database, clock)
    world = World(make_authority(sqlite_database, clock), clock)
    world.make_cluster()
    issued: list[IssuedCertificate] = []
    thread = threading.Thread(target=lambda: issued.append(world.issue()))
    with world.authority.database.write():
        thread.start()
        thread.join(0.2)
        assert issued == []
        later = clock.advance(hours=1)
    thread.join(SOON)
    assert issued[0].stored.issued_at == later
    world.authority.database.dispose()


# Two real processes.


def _serve(url: str, pipe: Pipe) -> None:
    """Issue for the secrets that come, and tell how it went."""
    world = World(make_authority(url, lambda: datetime.now(UTC)), Clock())
    while (asked := pipe.recv()) is not None:
        secret, node = asked
        try:
            known = recognise_token(world.authority, secret)
            requester = known or authenticate_token(world.authority, secret)
            world.issue(node=node, requester=requester)
        except Refusal as refusal:
            pipe.send((known is not None, refusal.slug))
        else:
            pipe.send((known is not None, "issued"))
        finally:
            known = None


@pytest.mark.slow
def test_two_processes_agree_at_once(database_url: str) -> None:
    prepare_database(database_url, lambda: datetime.now(UTC))
    world = World(make_authority(database_url, lambda: datetime.now(UTC)), Clock())
    world.make_cluster()
    token, secret = _token(world)
    own, others = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(database_url, others))
    process.start()

    def ask(node: str) -> tuple[bool, str]:
        own.send((secret, node))
        assert own.poll(60)
        answer: tuple[bool, str] = own.recv()
        return answer

    try:
        assert ask("node-1") == (False, "issued")
        assert ask("node-1") == (True, "issued")
        world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
        assert ask("node-1") == (True, "revoked")
        assert ask("node-2") == (True, "issued")
        delete_token(world.authority, OPERATOR, token)
        assert ask("node-2") == (True, "unauthenticated")
        own.send(None)
        process.join(20)
    finally:
        process.kill()
        world.authority.database.dispose()


# What remembers.


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    remembered: Remembered[str, int] = Remembered(most=2)
    remembered.put("a", 1)
    remembered.put("b", 2)
    assert remembered.get("a") == 1
    remembered.put("c", 3)
    assert [remembered.get(key) for key in "abc"] == [1, None, 3]
    remembered.forget("a")
    remembered.forget("a")
    assert [remembered.get(key) for key in "abc"] == [None, None, 3]
    remembered.put("c", 4)
    assert remembered.get("c") == 4


def test_threads_share_a_memory() -> None:
    remembered: Remembered[int, int] = Remembered(most=10)

    def use(begin: int) -> None:
        for number in range(begin, begin + 3000):
            remembered.put(number % 40, number % 40)
            assert remembered.get(number % 17) in {None, number % 17}
            remembered.forget(number % 23)

    threads = [threading.Thread(target=use, args=(begin,)) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(remembered._values) <= 10


def test_each_authority_has_a_memory_of_its_own() -> None:
    assert Memory().tokens is not Memory().tokens
