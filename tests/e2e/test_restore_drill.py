"""The drill: a backup while everything goes on, the loss of everything, a restore elsewhere; and what goes on there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.x509 import ocsp
from sqlalchemy import inspect, select
from tests.support.clock import Clock
from tests.support.fleet import Fleet
from tests.support.installations import KEY_TEXT, new_world, place_of, settings_for, world_over
from tests.support.ocsp_world import OcspWorld
from tests.support.proof import complaints, exported, verified
from tests.support.revocation_objects import entry
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.follow import changes_after
from trivet.authority.install import OPERATOR
from trivet.authority.issue import IssuedCertificate
from trivet.authority.proof.seal import seal
from trivet.authority.status.publish import Publisher
from trivet.authority.tokens import create_token, delete_token
from trivet.bootstrap import composition
from trivet.bootstrap.backup import make_backup, restore_backup
from trivet.bootstrap.errors import StartError
from trivet.pki.errors import AuthenticationError, RevokedError
from trivet.pki.proof.lines import AUDIT_CHAIN
from trivet.pki.revocation import EntryKind
from trivet.signing.age import Identity
from trivet.store import chains, clusters, crls, revocations
from trivet.store.changes import RENEW_REVOCATIONS, Place
from trivet.store.engine import Database
from trivet.store.tables import crls as crl_rows

IDENTITY = Identity(bytes(range(32)))
OTHER_KEY = "A" * 43 + "="


@dataclass
class Lost:
    """What others knew when the installation was lost.

    Attributes:
        before: certificates that left before the backup began; `since`: after it had ended.
        numbers: of the newest CRL, by list.
        checkpoint: the last one, as an auditor noted it.
        watched: the scope of the entries of `blue`, and the version of it that a watch has seen.
    """

    backup: Path
    before: list[IssuedCertificate]
    since: IssuedCertificate
    token: str
    deleted_token: str
    numbers: dict[UUID, int]
    checkpoint: tuple[int, str]
    watched: tuple[UUID, int]


def crl_numbers(world: World) -> dict[UUID, int]:
    Publisher(world.authority).publish_all()
    with world.authority.database.read() as connection:
        query = select(crl_rows.c.list_id, crl_rows.c.number)
        return {row.list_id: row.number for row in connection.execute(query)}


def version_of_blue(world: World) -> tuple[UUID, int]:
    with world.authority.database.read() as connection:
        scope = clusters.get(connection, "blue").id
        return scope, revocations.versions(connection, {scope})[scope]


@contextmanager
def load(world: World) -> Iterator[None]:
    """Issue from two threads until the block ends."""
    stop, started = threading.Event(), threading.Semaphore(0)
    done: list[int] = []

    def work(number: int) -> None:
        count = 0
        try:
            while not stop.is_set():
                world.issue(node=f"busy-{number}-{count}", key=number)
                count += 1
                if count == 2:
                    started.release()
            done.append(count)
        finally:
            started.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            started.acquire()
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(done) == 2, "a thread failed"


def live(url: str, folder: Path, clock: Clock) -> Lost:
    """An installation lives, is backed up under load, lives on, and is lost."""
    world = new_world(url, clock)
    before = [world.issue(node=f"node-{number}", key=number) for number in range(4)]
    world.issue(node="node-9", key=5, idempotency_key="a-wish")
    _, token = create_token(world.authority, OPERATOR, role=Role.ISSUER, description="kept")
    deleted, deleted_token = create_token(world.authority, OPERATOR, role=Role.ISSUER, description="leaked")
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-2"), name="banned")
    crl_numbers(world)
    with load(world):
        backup = make_backup(settings_for(url), folder / "the.backup", [IDENTITY.recipient])
    clock.advance(minutes=10)
    since = world.renew(world.stored(before[3]), key=4)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"), name="lost")
    delete_token(world.authority, OPERATOR, deleted.id)
    clock.advance(hours=3)  # whoever published had a clock that was ahead
    numbers = crl_numbers(world)
    clock.advance(hours=-3)
    exported(world.authority)  # seals
    with world.authority.database.read() as connection:
        last = chains.last_checkpoint(connection)
    assert last is not None
    lost = Lost(
        backup.path,
        before,
        since,
        token,
        deleted_token,
        numbers,
        (last.number, last.sha256),
        version_of_blue(world),
    )
    world.authority.database.dispose()
    return lost


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(composition, "now", clock)
    return clock


@pytest.fixture
def elsewhere(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Give the URL of another empty database of the same kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'elsewhere' / 'trivet.db'}"
    url: str = request.getfixturevalue("other_postgres_database")
    return url


def is_untouched(url: str) -> bool:
    if url.startswith("sqlite"):
        return not place_of(url).exists()
    database = Database(url)
    with database.read() as connection:
        names = inspect(connection).get_table_names()
    database.dispose()
    return not names


def test_what_was_backed_up_under_load_goes_on_elsewhere(
    database_url: str, elsewhere: str, tmp_path: Path, clock: Clock
) -> None:
    lost = live(database_url, tmp_path, clock)
    if database_url.startswith("sqlite"):
        place_of(database_url).unlink()
    clock.advance(minutes=1)  # the leases of the chains that were open have not ended

    # A wrong key-encryption key is refused before anything is written.
    with pytest.raises(StartError, match="key-encryption key is not the one"):
        restore_backup(settings_for(elsewhere, OTHER_KEY), lost.backup, [IDENTITY])
    assert is_untouched(elsewhere)

    restore_backup(settings_for(elsewhere, KEY_TEXT), lost.backup, [IDENTITY])
    world = world_over(elsewhere, clock)
    only_the_audit_trail_is_open(world)
    certificates_go_on(world, lost)
    entries_go_on(world)
    tokens_go_on(world, lost)
    numbers_go_on(world, lost)
    proof_goes_on(world, lost)
    world.authority.database.dispose()


def only_the_audit_trail_is_open(world: World) -> None:
    """Check that chains whose writers are gone are closed at once, not when their lease ends."""
    seal(world.authority)
    with world.authority.database.read() as connection:
        assert [chain.number for chain in chains.open_chains(connection)] == [AUDIT_CHAIN]


def certificates_go_on(world: World, lost: Lost) -> None:
    for issued in lost.before:
        assert world.stored(issued).der == issued.stored.der
        assert world.decision(issued.stored.decision_id).serial == issued.stored.serial
    renewed = world.renew(world.stored(lost.before[0]))
    assert renewed.stored.parent_id == lost.before[0].stored.id
    first = world.issue(node="node-9", key=5, idempotency_key="a-wish")
    assert world.issue(node="node-9", key=5, idempotency_key="a-wish").stored.der == first.stored.der
    assert first.stored.issued_at < world.clock() - world.authority.policy.backdate
    # Nobody knows of what was issued since. Its node comes back by a one-time token of a repair.
    with pytest.raises(AuthenticationError):
        world.holder(lost.since.stored)
    reply = OcspWorld(world).ask(lost.since.stored.serial)
    assert ocsp.load_der_ocsp_response(reply.body).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    fleet = Fleet(world)
    secret = fleet.token(fleet.open(), "node-3")
    assert fleet.by_token(secret, "node-3", "kubelet-client").stored.common_name == "system:node:node-3"


def entries_go_on(world: World) -> None:
    with pytest.raises(RevokedError):
        world.issue(node="node-2", key=2)
    world.issue(node="node-1", key=1)  # the entry that was added since is lost


def tokens_go_on(world: World, lost: Lost) -> None:
    assert authenticate_token(world.authority, lost.token).role is Role.ISSUER
    # As the documentation says: what was deleted since is good again.
    assert authenticate_token(world.authority, lost.deleted_token).role is Role.ISSUER


def numbers_go_on(world: World, lost: Lost) -> None:
    numbers = crl_numbers(world)
    assert numbers.keys() == lost.numbers.keys()
    for list_id, number in numbers.items():
        assert number > lost.numbers[list_id]
        with world.authority.database.read() as connection:
            found = crls.newest(connection, list_id)
        assert found is not None
    with world.authority.database.read() as connection:
        listed = {number for number in (crls.newest(connection, one) for one in numbers) if number}
    assert sum(one.entries for one in listed) == 1  # node-2's
    scope, version = lost.watched
    assert changes_after(world.authority, Place(scope, RENEW_REVOCATIONS), version).lost
    assert version_of_blue(world)[1] > version


def proof_goes_on(world: World, lost: Lost) -> None:
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"), name="again")
    with pytest.raises(RevokedError):
        world.issue(node="node-1", key=1)
    for cluster in (None, "blue"):
        report = verified(world.authority, exported(world.authority, cluster=cluster))
        assert not complaints(report)
        assert [last for _, _, last in report.restores] == [lost.checkpoint[0] - 1]
    # A checkpoint that an auditor noted between backup and loss is missed, and it is said why.
    report = verified(world.authority, exported(world.authority), dict([lost.checkpoint]))
    (complaint,) = complaints(report)
    assert "it is not the one that is known from elsewhere; the database was restored at" in complaint
