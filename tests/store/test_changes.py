"""The log of changes: complete and in order for whoever reads it while others write."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection
from tests.support.clock import START, Clock
from tests.support.revocation_objects import renew_revocation
from tests.support.rows import new_id
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.follow import changes_after
from trivet.authority.install import OPERATOR
from trivet.authority.revocations.observe import view
from trivet.authority.revoke import create_revocation, delete_revocation, replace_revocation
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
