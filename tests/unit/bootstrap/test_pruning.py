from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.clock import START, Clock
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.prune import Pruned
from trivet.bootstrap import pruning
from trivet.bootstrap.pruning import Pruning
from trivet.store import certificates
from trivet.store.partitions import months


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_pruning_is_due_every_hour_and_takes_what_the_retention_lets_go(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    issued = world.issue()
    chore = Pruning(world.authority, timedelta(days=7), keep_detached=False)
    clock.now = issued.stored.not_after + timedelta(days=7)
    kept = {}
    for seconds in (0, 1):
        clock.advance(seconds=seconds)
        assert chore.prune() == clock() + timedelta(hours=1)
        with world.authority.database.read() as connection:
            kept[seconds] = certificates.find_one(connection, issued.stored.id) is not None
    assert kept == {0: True, 1: False}
    world.authority.database.dispose()


def test_where_more_is_left_the_next_round_is_due_at_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def prune(*arguments: object, keep_detached: bool) -> Pruned:
        asked.append((arguments[1], keep_detached))
        return Pruned(is_done=False)

    monkeypatch.setattr(pruning, "prune", prune)
    authority = make_authority(f"sqlite:///{tmp_path / 'trivet.db'}", clock)
    chore = Pruning(authority, timedelta(days=7), keep_detached=True)
    assert chore.prune() == START
    assert asked == [(timedelta(days=7), True)]
    authority.database.dispose()


def test_partitions_are_made_ahead_of_the_services_clock(postgres_database: str, clock: Clock) -> None:
    prepare_database(postgres_database, clock)
    authority = make_authority(postgres_database, clock)
    clock.advance(days=400)
    chore = Pruning(authority, timedelta(days=7), keep_detached=False)
    assert chore.make_partitions() == clock() + timedelta(hours=6)
    with authority.database.read() as connection:
        newest = months(connection, "certificates")[-1]
    assert newest > clock() + timedelta(days=60)
    authority.database.dispose()


def test_both_chores_are_due_at_once(tmp_path: Path, clock: Clock) -> None:
    authority = make_authority(f"sqlite:///{tmp_path / 'trivet.db'}", clock)
    chores = Pruning(authority, timedelta(days=7), keep_detached=False).chores()
    assert [(chore.name, chore.due) for chore in chores] == [
        ("making partitions", START),
        ("pruning expired certificates", START),
    ]
    authority.database.dispose()
