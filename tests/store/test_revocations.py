from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write
from tests.support.revocation_objects import entry

from trivet.pki.errors import ConflictError
from trivet.pki.revocation import Entry, EntryKind, Identity, Key, entry_keys, identity_keys
from trivet.store import revocations
from trivet.store.engine import Database
from trivet.store.revocations import StoredRevocation

ONE_OF_EACH_KIND = (
    entry(EntryKind.SERIAL_NUMBER, "AB:CD", START, include_renewed=False, description="lost"),
    entry(EntryKind.GROUP, "system:nodes"),
    entry(EntryKind.DNS, "a.b.example"),
    entry(EntryKind.DNS, ".b.example"),
    entry(EntryKind.IP, "10.1.0.0/16"),
    entry(EntryKind.IP, "2001:db8::1", START + timedelta(microseconds=1)),
    entry(EntryKind.COMMON_NAME, "équipe 🦀"),
    entry(EntryKind.PUBLIC_KEY, "0c" * 32),
)


@pytest.fixture
def scope(connection: Connection) -> UUID:
    return rows.add_cluster(connection).id


def _found(connection: Connection, keys: Iterable[Key]) -> list[Entry]:
    return [standing.entry for standing in revocations.candidates(connection, keys)]


def test_an_object_is_read_as_it_was_stored(connection: Connection, scope: UUID) -> None:
    stored = rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND)
    assert revocations.find(connection, scope, "kube-system", "object") == stored


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("kube-system", "other"), ("default", "object"), ("a\x00", "b"), ("kube-system", "\ud800")],
)
def test_a_name_that_no_object_has_finds_nothing(
    connection: Connection, scope: UUID, namespace: str, name: str
) -> None:
    rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[0])
    assert revocations.find(connection, scope, namespace, name) is None


def test_a_name_belongs_to_its_scope(connection: Connection, scope: UUID) -> None:
    everywhere = rows.add_all_clusters(connection)
    mine = rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[0])
    theirs = rows.add_revocation(connection, everywhere, ONE_OF_EACH_KIND[1])
    assert revocations.find(connection, scope, "kube-system", "object") == mine
    assert revocations.find(connection, everywhere, "kube-system", "object") == theirs


def test_a_second_standing_object_of_a_name_is_refused(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        scope = rows.add_cluster(connection).id
        rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[0])
        rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[1])


def test_deleting_an_object_frees_its_name(connection: Connection, scope: UUID) -> None:
    first = rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[0])
    revocations.mark_deleted(connection, first.id, START)
    assert revocations.find(connection, scope, "kube-system", "object") is None
    assert revocations.page(connection, scope, None, 10) == []
    second = rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[1])
    assert revocations.find(connection, scope, "kube-system", "object") == second


def test_versions_count_the_changes_of_each_scope(connection: Connection, scope: UUID) -> None:
    everywhere = rows.add_all_clusters(connection)
    assert [revocations.next_version(connection, scope) for _ in range(3)] == [1, 2, 3]
    assert revocations.next_version(connection, everywhere) == 1
    assert revocations.versions(connection, {scope, everywhere}) == {scope: 3, everywhere: 1}


def test_pages_are_in_order_of_namespace_and_name(connection: Connection, scope: UUID) -> None:
    objects: list[StoredRevocation] = []
    for namespace, name in (("b", "a"), ("a", "b"), ("a", "a"), ("a", "a-b"), ("a-b", "a")):
        stored = rows.stored_revocation(scope, ONE_OF_EACH_KIND[0], name=name, namespace=namespace)
        revocations.add(connection, stored, 1)
        objects.append(stored)
    ordered = sorted(objects, key=lambda stored: (stored.namespace, stored.name))
    assert revocations.page(connection, scope, None, 10) == ordered
    assert revocations.page(connection, scope, None, 2) == ordered[:2]
    assert revocations.page(connection, scope, ("a", "a-b"), 10) == ordered[2:]


@pytest.mark.parametrize("wanted", ONE_OF_EACH_KIND, ids=lambda wanted: f"{wanted.kind}-{wanted.value}")
def test_candidates_are_found_under_each_of_their_keys(
    connection: Connection, scope: UUID, wanted: Entry
) -> None:
    rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND)
    for key in entry_keys(wanted):
        assert _found(connection, [key]) == [wanted]


def test_candidates_are_those_that_share_a_key_with_the_identity(connection: Connection, scope: UUID) -> None:
    rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND)
    names = rows.names("node", ("system:nodes",), ("x.b.example", "10.1.2.3"))
    keys = identity_keys(Identity(names, "0d" * 32, ancestors=frozenset({"abcd"})))
    expected = {"abcd", "system:nodes", ".b.example", "10.1.0.0/16"}
    assert {found.value for found in _found(connection, keys)} == expected


def test_a_candidate_under_several_keys_comes_once(connection: Connection, scope: UUID) -> None:
    rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[2])
    assert len(revocations.candidates(connection, entry_keys(ONE_OF_EACH_KIND[2]))) == 1


def test_candidates_of_any_scope_are_found(connection: Connection, scope: UUID) -> None:
    everywhere = rows.add_all_clusters(connection)
    for where in (scope, everywhere):
        rows.add_revocation(connection, where, ONE_OF_EACH_KIND[1])
    found = revocations.candidates(connection, entry_keys(ONE_OF_EACH_KIND[1]))
    assert {standing.scope for standing in found} == {scope, everywhere}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [("Group", "nobody")],
        [("Group", "')); DROP TABLE revocations; --")],
        [("Group", 'quo"te\\ \N{SNOWMAN} \U0001f980')],
    ],
)
def test_no_candidates_for_keys_that_no_entry_has(
    connection: Connection, scope: UUID, keys: list[Key]
) -> None:
    rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND)
    assert revocations.candidates(connection, keys) == []


def test_a_removed_entry_is_no_candidate_and_stays_on_record(connection: Connection, scope: UUID) -> None:
    stored = rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND)
    gone, kept = stored.entries[1], stored.entries[2:]
    revocations.remove_entries(connection, [], 2)
    revocations.remove_entries(connection, [stored.entries[0].id, gone.id], 2)
    assert revocations.candidates(connection, entry_keys(gone.entry)) == []
    found = revocations.find(connection, scope, "kube-system", "object")
    assert found is not None
    assert found.entries == kept
    assert revocations.entries_by_id(connection, [gone.id]) == {gone.id: gone}
    span = text("SELECT added_in, removed_in FROM revocation_entries WHERE removed_in IS NOT NULL")
    assert {tuple(row) for row in connection.execute(span)} == {(1, 2)}


def test_an_added_entry_is_a_candidate(connection: Connection, scope: UUID) -> None:
    stored = rows.add_revocation(connection, scope, ONE_OF_EACH_KIND[0])
    added = replace(stored.entries[0], id=rows.new_id(), position=1, entry=ONE_OF_EACH_KIND[1])
    revocations.add_entries(connection, [], 2)
    revocations.add_entries(connection, [added], 2)
    assert revocations.candidates(connection, entry_keys(added.entry)) == [added]


def test_an_object_is_updated_in_what_may_change(connection: Connection, scope: UUID) -> None:
    stored = rows.add_revocation(connection, scope, *ONE_OF_EACH_KIND[:2])
    changed = replace(stored, description="other", labels={}, annotations={"x": "é"}, version=2)
    revocations.update_object(connection, changed)
    first, second = stored.entries
    revocations.reposition(connection, first.id, 5, "moved")
    moved = replace(first, position=5, entry=replace(first.entry, description="moved"))
    found = revocations.find(connection, scope, "kube-system", "object")
    assert found == replace(changed, entries=(second, moved))
