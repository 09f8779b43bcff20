"""All rows out of one database and into another: nothing is lost or changed on the way, whatever their kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from sqlalchemy import func, insert, select, text
from tests.store import aged
from tests.support import rows
from tests.support.clock import Clock
from tests.support.installations import new_world
from tests.support.revocation_objects import entry

from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import EntryKind
from trivet.store import authorities, clusters, migrate, partitions, transfer
from trivet.store.engine import Database
from trivet.store.tables import metadata, object_manifests

LONG_AGO = datetime(2020, 5, 5, tzinfo=UTC)


def shown(value: object) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else repr(value)


def held(database: Database) -> dict[str, list[tuple[str, ...]]]:
    with database.read() as connection:
        return {
            one.name: sorted(tuple(map(shown, row)) for row in connection.execute(select(one)))
            for one in metadata.sorted_tables
        }


def moved(source: Database, target: Database) -> None:
    """Move all rows through JSON, as a backup does."""
    migrate.upgrade(target)
    forms = transfer.forms()
    with source.snapshot() as reading, target.write() as writing:
        transfer.clear(writing, forms)
        span = transfer.span(reading)
        assert span is not None
        partitions.make_months(writing, *span)
        for form in forms:
            lines = [orjson.dumps(form.shown(row)) for row in transfer.rows(reading, form)]
            transfer.add(writing, form, [form.read(orjson.loads(line)) for line in lines])


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = (
        f"sqlite:///{tmp_path / 'target.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("other_postgres_database")
    )
    database = Database(url)
    yield database
    database.dispose()


@pytest.fixture
def source(database_url: str) -> Iterator[Database]:
    """Give a database that holds values of every kind, among them odd ones."""
    world = new_world(database_url, Clock())
    issued = world.issue(hosts=(), idempotency_key="a-wish")
    world.revoke(entry(EntryKind.GROUP, "Ümläut, \\ and 'quotes\"", Clock().now))
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    odd = {"large": 1 << 70, "real": 1.5, "text": "\N{SNOWMAN}\n", "nothing": None, "many": [True, []]}
    with world.authority.database.write() as connection:
        owner = clusters.get(connection, "blue")
        generation = authorities.active_generation(connection, owner.id, AuthorityName.CLUSTER)
        aged.add_certificate(connection, generation, owner, LONG_AGO)  # its decision has no identity
        row = {"object_id": UUID(int=5), "spec": odd, "generation": (1 << 63) - 1, "managed_fields": [odd]}
        connection.execute(insert(object_manifests).values(row))
    yield world.authority.database
    world.authority.database.dispose()


def test_all_rows_come_over_as_they_were_to_a_database_of_either_kind(
    source: Database, target: Database
) -> None:
    moved(source, target)
    before = held(source)
    assert held(target) == before
    empty = {name for name, found in before.items() if not found}
    assert not {"certificates", "decisions", "serials", "generations", "audit_records", "chains"} & empty


def test_each_column_has_a_kind() -> None:
    forms = {form.name: form for form in transfer.forms()}
    assert forms.keys() == metadata.tables.keys()
    for form in forms.values():
        assert [name for name, _ in form.columns] == metadata.tables[form.name].columns.keys()
    assert dict(forms["decisions"].columns)["considered"] == "json"
    assert dict(forms["certificates"].columns)["der"] == "octets"
    assert dict(forms["revocation_entries"].columns)["include_renewed"] == "boolean"


def test_months_long_gone_get_their_partitions_again(postgres_database: str, tmp_path: Path) -> None:
    world = new_world(f"sqlite:///{tmp_path / 'source.db'}", Clock())
    with world.authority.database.write() as connection:
        owner = clusters.get(connection, "blue")
        generation = authorities.active_generation(connection, owner.id, AuthorityName.CLUSTER)
        aged.add_certificate(connection, generation, owner, Clock().now.replace(month=9))
    target = Database(postgres_database)
    moved(world.authority.database, target)
    with target.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM certificates_y2026m09")) == 1
        assert connection.scalar(text("SELECT count(*) FROM certificates_default")) == 0
    target.dispose()
    world.authority.database.dispose()


def test_a_snapshot_sees_nothing_that_is_committed_after_it_began(database: Database) -> None:
    with database.write() as connection:
        rows.add_cluster(connection, "before")
    with database.snapshot() as reading:
        assert reading.scalar(select(func.count()).select_from(metadata.tables["clusters"])) == 1
        with database.write() as connection:
            rows.add_cluster(connection, "after")
        assert reading.scalar(select(func.count()).select_from(metadata.tables["clusters"])) == 1
        assert reading.scalar(select(func.count()).select_from(metadata.tables["authorities"])) == 0
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(metadata.tables["clusters"])) == 2


def test_on_postgresql_a_snapshot_has_no_time_limits_and_writes_nothing(postgres_database: str) -> None:
    database = Database(postgres_database)
    with database.snapshot() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
        assert connection.scalar(text("SHOW transaction_read_only")) == "on"
        assert connection.scalar(text("SHOW transaction_isolation")) == "repeatable read"
    with database.read() as connection:  # the connection goes back as it was
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert connection.scalar(text("SHOW transaction_read_only")) == "off"
    database.dispose()
