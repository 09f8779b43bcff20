from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.clock import Clock
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.status.issuers import PublishedIssuer
from trivet.authority.status.publish import Publisher
from trivet.authority.status.published import newest_crl
from trivet.bootstrap.publishing import COALESCE, Publishing
from trivet.pki.errors import UnavailableError
from trivet.pki.locations import COMPLETE
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import EntryKind
from trivet.store import authorities, clusters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock, url = Clock(), f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


def entries_of(world: World) -> int:
    with world.authority.database.read() as connection:
        cluster = clusters.get(connection, "blue")
        generation = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
    return newest_crl(world.authority, PublishedIssuer(cluster, generation), COMPLETE).entries


def test_the_thread_publishes_at_its_start_and_at_once_after_a_revocation(world: World) -> None:
    issued = world.issue()
    publishing = Publishing(world.authority)
    looked = threading.Semaphore(0)
    look = publishing.look

    def and_tell() -> timedelta:
        pause = look()
        looked.release()
        return pause

    publishing.look = and_tell  # type: ignore[method-assign]
    publishing.start()
    assert looked.acquire(timeout=30)
    assert entries_of(world) == 0
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    assert looked.acquire(timeout=30)  # well before the next glance, or the test takes five seconds
    assert entries_of(world) == 1
    publishing.stop()


def test_a_failure_is_tried_again_after_ever_longer_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publishing = Publishing(world.authority)
    world.authority.news.clear()

    def fails(_: Publisher) -> int:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish_all", fails)
        pauses = [publishing.look() for _ in range(8)]
    assert pauses[0] == 2 * COALESCE
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(minutes=1)
    assert world.authority.news.is_set()  # so that it looks as soon as the pause is over
    assert "publishing CRLs failed: away" in caplog.text
    assert publishing.look() == COALESCE
    assert entries_of(world) == 0


def test_what_another_process_is_at_is_looked_at_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing = Publishing(world.authority)
    monkeypatch.setattr(Publisher, "publish_all", lambda _: 1)
    world.authority.news.clear()
    assert publishing.look() < COALESCE
    assert world.authority.news.is_set()


def test_lists_of_what_was_made_elsewhere_are_begun_now_and_then(world: World) -> None:
    times = [0.0]
    publishing = Publishing(world.authority, lambda: times[-1])
    begun: list[float] = []

    def begin() -> int:
        begun.append(times[-1])
        return 0

    publishing._publisher.begin = begin  # type: ignore[method-assign]
    for now in (0.0, 100.0, 299.0, 300.0, 301.0):
        times.append(now)
        publishing.look()
    assert begun == [0.0, 300.0]
