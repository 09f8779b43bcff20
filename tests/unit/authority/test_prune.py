from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.clock import START, Clock
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority import prune as pruning
from trivet.authority.issue import IssuedCertificate
from trivet.authority.prune import Pruned, prune
from trivet.pki.errors import AuthenticationError, IdempotencyError, Refusal
from trivet.pki.revocation import EntryKind
from trivet.store import certificates, decisions, partitions
from trivet.store.pruning import BATCH

RETENTION = timedelta(days=90)


@pytest.fixture(params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest) -> Iterator[World]:
    """Give the cluster `blue` on either database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("world")
        return
    url, clock = request.getfixturevalue("postgres_database"), Clock()
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    partitions.ensure_months(world.authority.database, START)
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


def _prune(world: World, **options: bool) -> Pruned:
    return prune(world.authority, RETENTION, lambda _: None, **options)


def _is_kept(world: World, issued: IssuedCertificate) -> bool:
    with world.authority.database.read() as connection:
        return certificates.find_one(connection, issued.stored.id) is not None


def test_a_certificate_is_kept_for_the_retention_after_it_expired(fleet: World) -> None:
    issued = fleet.issue()
    fleet.clock.now = issued.stored.not_after + RETENTION
    assert _prune(fleet) == Pruned()
    assert _is_kept(fleet, issued)
    # A month goes as a whole, once it has ended and all in it has expired.
    fleet.clock.now = datetime(2026, 12, 5, tzinfo=UTC) + RETENTION
    pruned = _prune(fleet)
    assert not _is_kept(fleet, issued)
    november = datetime(2026, 11, 1, tzinfo=UTC)
    assert pruned.is_done
    assert (pruned.months, pruned.certificates) == (
        ((), 1) if fleet.authority.database.is_sqlite else ((november,), 0)
    )


def test_a_descendant_of_a_pruned_certificate_is_revoked_with_its_lineage(fleet: World) -> None:
    first = fleet.issue()
    lineage = [first]
    while fleet.clock.now < START + timedelta(days=140):
        fleet.clock.advance(days=3)
        partitions.ensure_months(fleet.authority.database, fleet.clock.now)
        lineage.append(fleet.renew(lineage[-1].stored))
    _prune(fleet)
    assert not _is_kept(fleet, first)
    assert not _is_kept(fleet, lineage[3 if fleet.authority.database.is_sqlite else 1])
    revoked = fleet.revoke(entry(EntryKind.SERIAL_NUMBER, first.stored.serial))
    assert revoked.marked >= 1
    assert fleet.is_revoked(lineage[-1])
    with pytest.raises(Refusal, match="revoked"):
        fleet.renew(lineage[-1].stored)


def test_who_holds_a_pruned_certificate_is_unknown(fleet: World) -> None:
    issued = fleet.issue()
    fleet.clock.advance(days=200)
    _prune(fleet)
    with pytest.raises(AuthenticationError):
        fleet.holder(issued.stored)


def test_the_key_that_made_a_pruned_certificate_is_spent(fleet: World) -> None:
    fleet.issue(idempotency_key="k")
    fleet.clock.advance(days=200)
    _prune(fleet)
    with pytest.raises(IdempotencyError, match="no longer kept"):
        fleet.issue(idempotency_key="k")


def test_the_decision_behind_a_pruned_certificate_is_kept(fleet: World) -> None:
    issued = fleet.issue()
    fleet.clock.advance(days=200)
    _prune(fleet)
    assert issued.stored.cluster_id is not None
    decision = fleet.decision(issued.stored.decision_id)
    assert decision.serial == issued.stored.serial
    with fleet.authority.database.read() as connection:
        found = decisions.of_serial(connection, issued.stored.cluster_id, issued.stored.serial)
    assert found == decision


def test_a_round_ends_after_a_moment_and_pauses_between_batches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = iter([BATCH] * 20)
    monkeypatch.setattr(pruning, "_delete_batch", lambda *_: next(batches))
    pauses: list[float] = []
    pruned = prune(world.authority, RETENTION, pauses.append)
    assert pruned == Pruned((), 15 * BATCH, is_done=False)
    assert pauses == [0.1] * 15


def test_a_month_that_left_is_logged(fleet: World, caplog: pytest.LogCaptureFixture) -> None:
    fleet.issue()
    fleet.clock.advance(days=200)
    with caplog.at_level(logging.INFO):
        pruned = _prune(fleet, keep_detached=True)
    logged = "the certificates of 2026-11 have left: detached" in caplog.messages
    assert logged is bool(pruned.months) is not fleet.authority.database.is_sqlite
