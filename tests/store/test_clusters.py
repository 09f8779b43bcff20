from __future__ import annotations

import pytest
from sqlalchemy import Connection
from tests.support import rows
from tests.support.refused import refused_write

from trivet.pki.errors import ConflictError, NotFoundError
from trivet.store import clusters, revocations
from trivet.store.engine import Database


def test_a_cluster_is_found_by_its_name_as_it_was_stored(connection: Connection) -> None:
    blue = rows.add_cluster(connection, "blue")
    rows.add_cluster(connection, "green")
    assert clusters.find(connection, "blue") == blue
    assert clusters.get(connection, "blue") == blue


@pytest.mark.parametrize("name", ["", "Blue", "blue ", "a\x00b", "\ud800", "%", "x" * 10_000])
def test_a_name_that_no_cluster_has_finds_nothing(connection: Connection, name: str) -> None:
    rows.add_cluster(connection, "blue")
    assert clusters.find(connection, name) is None
    with pytest.raises(NotFoundError):
        clusters.get(connection, name)


def test_a_new_cluster_has_an_empty_revocation_set(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    assert revocations.versions(connection, [blue.id]) == {blue.id: 0}


def test_two_clusters_cannot_have_one_name(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        rows.add_cluster(connection, "blue")
        rows.add_cluster(connection, "blue")
    with shared_database.read() as connection:
        assert clusters.page(connection, None, None, 10) == []


def test_names_by_id_holds_every_cluster(connection: Connection) -> None:
    added = [rows.add_cluster(connection, name) for name in ("blue", "green")]
    assert clusters.names_by_id(connection) == {cluster.id: cluster.name for cluster in added}


def test_pages_are_in_byte_order_of_the_names(connection: Connection) -> None:
    by_name = {name: rows.add_cluster(connection, name) for name in ("b", "a", "a-b", "a0", "ab")}
    ordered = [by_name[name] for name in sorted(by_name)]
    assert clusters.page(connection, None, None, 10) == ordered
    assert clusters.page(connection, None, None, 2) == ordered[:2]
    assert clusters.page(connection, None, "a-b", 10) == ordered[2:]
    assert clusters.page(connection, by_name["ab"].id, None, 10) == [by_name["ab"]]
