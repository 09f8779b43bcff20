"""The log of changes: complete and in order for whoever reads it while others write."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from sqlalchemy import Connection
from tests.support.clock import START, Clock
from tests.support.revocation_objects import renew_revocation
from tests.support.rows import new_id
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.approval.collect import collect
from trivet.authority.approval.decide import Choice, approve_request, deny_request
from trivet.authority.approval.fulfil import fulfil
from trivet.authority.approval.observe import view as requests_view
from trivet.authority.approval.relabel import Relabelling, relabel_request
from trivet.authority.approval.requests import delete_request
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.follow import changes_after
from trivet.authority.install import OPERATOR
from trivet.authority.revocations.observe import view
from trivet.authority.revoke import create_revocation, delete_revocation, replace_revocation
from trivet.pki.errors import ConflictError
from trivet.pki.revocation import Entry, EntryKind
from trivet.store import changes, manifests
from trivet.store.changes import (
    CERTIFICATE_SIGNING_REQUESTS,
    RENEW_REVOCATIONS,
    Change,
    ChangeKind,
    ObjectImage,
    Place,
)
from trivet.store.manifests import Manifest

if TYPE_CHECKING:
    from trivet.authority.context import Authority


def change(version: int, kind: ChangeKind = ChangeKind.ADDED) -> Change:
    managed = ({"manager": "m", "fieldsV1": {"f:spec": {}}},)
    image = ObjectImage(
        UUID(int=version),
        "ns",
        "name",
        version,
        3,
        START,
        {"a": "b"},
        {"c": "d"},
        managed,
        {"spec": {"x": [1]}},
    )
    return Change(kind, image, {"former": "label"})


def test_changes_come_back_as_they_were_in_their_order(connection: Connection) -> None:
    scope, other = Place(new_id(), RENEW_REVOCATIONS), Place(new_id(), RENEW_REVOCATIONS)
    for version in (2, 1, 3):
        changes.append(connection, scope, [change(version)], START)
    changes.append(connection, other, [change(4)], START)
    found = changes.after(connection, scope, 1, 10)
    assert [entry.version for entry in found] == [2, 3]
    assert (found[0].kind, found[0].former_labels) == (ChangeKind.ADDED, {"former": "label"})
    image, expected = found[0].image, change(2).image
    assert (image.id, image.created_at, image.body) == (expected.id, expected.created_at, expected.body)
    assert list(image.managed_fields) == list(expected.managed_fields)
    assert [entry.version for entry in changes.after(connection, scope, 0, 1)] == [1]


def test_old_changes_and_those_beyond_the_newest_are_forgotten(connection: Connection) -> None:
    scope, other = Place(new_id(), RENEW_REVOCATIONS), Place(new_id(), CERTIFICATE_SIGNING_REQUESTS)
    for version in range(1, 11):
        changes.append(connection, scope, [change(version)], START + timedelta(minutes=version))
    changes.append(connection, other, [change(7)], START + timedelta(minutes=5))
    assert changes.forget(connection, START + timedelta(minutes=3), 100) == 2
    assert next(entry.version for entry in changes.after(connection, scope, 0, 100)) == 3
    assert changes.forget(connection, START, 4) == 4
    left = [entry.version for entry in changes.after(connection, scope, 0, 100)]
    assert left == [7, 8, 9, 10]
    assert [entry.version for entry in changes.after(connection, other, 0, 100)] == [7]


def test_a_manifest_takes_the_place_of_the_former(connection: Connection) -> None:
    one, other = new_id(), new_id()
    manifests.put(connection, one, Manifest({"a": 1}))
    manifests.put(connection, one, Manifest({"a": 2}, 2, ({"manager": "m"},)))
    assert manifests.of_objects(connection, [one, other]) == {one: Manifest({"a": 2}, 2, ({"manager": "m"},))}


def test_readers_in_another_process_miss_nothing_and_see_nothing_twice(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster()
    reader = make_authority(database_url, clock)
    watched = view(reader, OPERATOR, "blue")
    place, version = watched.place, watched.version
    writers = [threading.Thread(target=_write, args=(database_url, clock, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    while any(writer.is_alive() for writer in writers) or len(seen) < 3 * 4 * 3:
        news = changes_after(reader, place, version)
        assert not news.lost
        seen += [entry.version for entry in news.changes]
        version = news.version
    for writer in writers:
        writer.join()
    assert seen == list(range(1, 3 * 4 * 3 + 1))
    for authority in (world.authority, reader):
        authority.database.dispose()


def _write(url: str, clock: Clock, number: int) -> None:
    """Make, change and delete objects, as another process would."""
    authority = make_authority(url, clock)
    for turn in range(4):
        name = f"object-{number}-{turn}"
        wanted = renew_revocation(Entry(EntryKind.GROUP, "nobody"), name=name)
        create_revocation(authority, OPERATOR, "blue", wanted)
        replace_revocation(
            authority, OPERATOR, "blue", renew_revocation(Entry(EntryKind.GROUP, "all"), name=name)
        )
        delete_revocation(authority, OPERATOR, "blue", wanted.namespace, name)
    authority.database.dispose()


def test_who_watches_requests_misses_nothing_and_sees_nothing_twice(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster()
    reader = make_authority(database_url, clock)
    watched = requests_view(reader, OPERATOR, "blue")
    writers = [threading.Thread(target=_decide, args=(database_url, clock, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    seen: list[Change] = []
    version = watched.version
    while any(writer.is_alive() for writer in writers) or version < _present(reader):
        news = changes_after(reader, watched.place, version)
        assert not news.lost
        seen += news.changes
        version = news.version
    for writer in writers:
        writer.join()
    assert [entry.version for entry in seen] == list(range(1, len(seen) + 1))
    steps = Counter(entry.kind for entry in seen)
    # Of each of the nine: made; approved, issued and labelled; removed.
    assert steps == {ChangeKind.ADDED: 9, ChangeKind.MODIFIED: 27, ChangeKind.DELETED: 9}
    for authority in (world.authority, reader):
        authority.database.dispose()


def _present(authority: Authority) -> int:
    return requests_view(authority, OPERATOR, "blue").version


def _decide(url: str, clock: Clock, number: int) -> None:
    """Take requests through their steps, some of which change nothing, as another process would."""
    authority = make_authority(url, clock)
    for turn in range(3):
        name = f"request-{number}-{turn}"
        wanted = Submission("scheduler", csr(key=number), name=name)
        for _ in range(2):
            submit_request(authority, OPERATOR, "blue", wanted, idempotency_key=name)
        choice = Choice("blue", name)
        approved = approve_request(authority, OPERATOR, choice)
        approve_request(authority, OPERATOR, choice)
        for _ in range(2):
            fulfil(authority, approved)
        with pytest.raises(ConflictError):
            deny_request(authority, OPERATOR, choice)
        for _ in range(2):
            relabel_request(authority, OPERATOR, "blue", name, Relabelling({"turn": str(turn)}))
        delete_request(authority, OPERATOR, "blue", name)
    authority.database.dispose()


def test_requests_of_many_clusters_are_collected_each_under_a_version_of_its_own(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    for cluster in ("blue", "red", "green"):
        world.make_cluster(cluster)
    for number, cluster in enumerate(("blue", "red", "blue", "red", "blue")):
        wanted = Submission("scheduler", csr(), name=f"request-{number}")
        submit_request(world.authority, OPERATOR, cluster, wanted)
    clock.advance(days=1, seconds=1)
    assert collect(world.authority, lambda _: None)
    for cluster, made in (("blue", 3), ("red", 2), ("green", 0)):
        place = requests_view(world.authority, OPERATOR, cluster).place
        news = changes_after(world.authority, place, 0)
        assert [entry.version for entry in news.changes] == list(range(1, 2 * made + 1))
        assert [entry.kind for entry in news.changes[made:]] == [ChangeKind.DELETED] * made
    world.authority.database.dispose()
