"""The benchmark's bulk load of revocation entries leaves what the store would have."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from tests.support import rows

from bench import entries as bulk
from trivet.pki.revocation import entry_keys
from trivet.store import revocations
from trivet.store.engine import Database
from trivet.store.tables import revocation_entries, revocation_entry_keys

COUNT = 21  # three of each kind


def _loaded(database: Database, cluster: Any) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:  # noqa: ANN401
    with database.read() as connection:
        entries = connection.execute(
            select(revocation_entries).where(revocation_entries.c.scope == cluster)
        ).all()
        keys = connection.execute(select(revocation_entry_keys)).all()
    own = {row.id for row in entries}
    return (
        {
            (row.position, row.kind, row.value, row.not_before, row.description, row.include_renewed)
            for row in entries
        },
        {(row.kind, row.value) for row in keys if row.entry_id in own},
    )


def test_entries_in_bulk_are_stored_as_by_the_store(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as connection:
        rows.add_all_clusters(connection)
        loaded, stored = rows.add_cluster(connection), rows.add_cluster(connection, "red")
        rows.add_revocation(connection, stored.id, *(bulk.entry_of(number) for number in range(COUNT)))
    monkeypatch.setattr(bulk, "open_cluster", lambda _: loaded.id)
    bulk.add_entries(database, 0, COUNT)
    assert _loaded(database, loaded.id) == _loaded(database, stored.id)
    with database.read() as connection:
        assert revocations.versions(connection, [loaded.id]) == {loaded.id: 1}
        for number in range(COUNT):
            entry = bulk.entry_of(number)
            found = {each.scope for each in revocations.candidates(connection, entry_keys(entry))}
            assert found == {loaded.id, stored.id}, entry


def test_more_entries_come_on_top(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.write() as connection:
        rows.add_all_clusters(connection)
        cluster = rows.add_cluster(connection)
    monkeypatch.setattr(bulk, "open_cluster", lambda _: cluster.id)
    for start, stop in ((0, 3), (3, 3), (3, 10)):
        bulk.add_entries(database, start, stop)
    with database.read() as connection:
        assert revocations.versions(connection, [cluster.id]) == {cluster.id: 2}
        standing = connection.execute(select(revocation_entries.c.added_in)).scalars().all()
    assert sorted(standing) == [1] * 3 + [2] * 7
