from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from tests.support import rows

from trivet.store import certificates, migrate
from trivet.store.engine import Database
from trivet.store.partitions import is_partition
from trivet.store.tables import metadata

# What alembic's comparison does not look at: checks, predicates of indexes, collations, actions of references.
SCHEMA = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'",
    "postgresql": """
        SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
        AND contype <> 'n' AND conrelid NOT IN (SELECT oid FROM pg_class WHERE relispartition)
        UNION ALL
        SELECT 'index', indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        AND tablename NOT IN (SELECT relname FROM pg_class WHERE relispartition)
        UNION ALL
        SELECT 'column', table_name || '.' || column_name, concat_ws(
            ' ', data_type, character_maximum_length, collation_name, is_nullable, column_default
        ) FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition)
        UNION ALL
        SELECT 'partitions', relname, pg_get_partkeydef(pg_class.oid) FROM pg_partitioned_table
        JOIN pg_class ON pg_class.oid = partrelid
    """,
}


@pytest.fixture
def empty_database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


def _schema(database: Database) -> set[tuple[str, ...]]:
    with database.read() as connection:
        found = connection.execute(text(SCHEMA[connection.dialect.name])).all()
    return {(kind, name, _unordered(sql)) for kind, name, sql in found}


def _unordered(sql: str | None) -> str:
    """Put the lines of a CREATE TABLE, which come in any order, in one."""
    # SQLite puts a column that was added later on the line of the one before it.
    whole = re.sub(r", (?=[a-z0-9_]+ [A-Z])", ",\n", re.sub(r"[ \t]+", " ", (sql or "").replace('"', "")))
    lines = whole.split("\n")
    return "\n".join(sorted(line.strip().rstrip(",").strip() for line in lines))


def _tables(database: Database) -> set[str]:
    with database.read() as connection:
        names = set(inspect(connection).get_table_names()) - {"alembic_version"}
    return {name for name in names if not is_partition(name)}


def test_up_down_and_up_again_ends_in_the_same_schema(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    first = _schema(empty_database)
    assert _tables(empty_database) == set(metadata.tables)
    migrate.downgrade(empty_database, "base")
    assert _tables(empty_database) == set()
    assert _schema(empty_database) == set()
    migrate.upgrade(empty_database)
    assert _schema(empty_database) == first


def test_every_single_step_goes_up_and_down(empty_database: Database) -> None:
    script = ScriptDirectory.from_config(migrate.alembic_config())
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    for revision in revisions:
        migrate.upgrade(empty_database, revision)
        migrate.downgrade(empty_database, "-1")
        migrate.upgrade(empty_database, revision)
        assert migrate.current_revision(empty_database) == revision


def test_migrating_twice_changes_nothing_and_loses_nothing(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.write() as connection:
        cluster = rows.add_cluster(connection)
        added = rows.add_certificate(connection, rows.add_generation(connection, cluster), cluster)
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        assert certificates.find_one(connection, added.id) == added


def test_alembic_sees_no_drift(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        options = {"compare_type": True, "include_name": lambda name, *_: not is_partition(name or "")}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    with empty_database.write() as connection:
        command.check(migrate.alembic_config(connection))


def test_migrations_make_exactly_what_the_tables_say(empty_database: Database) -> None:
    """Compare what alembic does not: checks, predicates of indexes, collations, names of every constraint."""
    migrate.upgrade(empty_database)
    migrated = _schema(empty_database)
    migrate.downgrade(empty_database, "base")
    with empty_database.write() as connection:
        metadata.create_all(connection)
    assert migrated == _schema(empty_database)


def test_every_constraint_and_index_has_a_name_of_our_own(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        names = list(_names(connection))
    assert len(names) > 50
    assert [name for name in names if not re.match(r"(pk|fk|uq|ck|ix)_[a-z0-9_]+$", name or "-")] == []


def _names(connection: Connection) -> Iterator[str | None]:
    inspector = inspect(connection)
    for table in metadata.tables:
        yield inspector.get_pk_constraint(table)["name"]
        for found in (
            inspector.get_foreign_keys(table),
            inspector.get_unique_constraints(table),
            inspector.get_check_constraints(table),
            inspector.get_indexes(table),
        ):
            yield from (item["name"] for item in found)


def test_the_names_fit_into_postgresql() -> None:
    # NAMEDATALEN: a longer name would be cut off in silence.
    constraints = [c.name for table in metadata.tables.values() for c in table.constraints]
    indexes = [index.name for table in metadata.tables.values() for index in table.indexes]
    assert [name for name in (*constraints, *indexes) if len(str(name)) > 63] == []


def test_an_empty_database_has_no_revision(empty_database: Database) -> None:
    assert migrate.current_revision(empty_database) is None


def test_a_migrated_database_has_the_newest_revision(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    assert migrate.current_revision(empty_database) == migrate.newest_revision()


def test_a_failed_migration_leaves_nothing(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE tokens (a integer)"))
    before = _schema(empty_database)
    with pytest.raises(Exception, match="tokens"):
        migrate.upgrade(empty_database)
    assert _schema(empty_database) == before
    assert migrate.current_revision(empty_database) is None


def test_revisions_begin_with_numbers_that_sort() -> None:
    # So that a database of a newer Trivet is told from one of an older by comparing the two texts.
    script = ScriptDirectory.from_config(migrate.alembic_config())
    oldest_first = [revision.revision for revision in script.walk_revisions()][::-1]
    assert oldest_first == sorted(oldest_first)
    assert [revision for revision in oldest_first if not re.match(r"[0-9]{4}", revision)] == []


@pytest.mark.parametrize("stamp", ["0000", "9999"])
def test_a_database_says_which_revision_it_has_though_this_version_does_not_know_it(
    empty_database: Database, stamp: str
) -> None:
    migrate.upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :stamp"), {"stamp": stamp})
    current, newest = migrate.current_revision(empty_database), migrate.newest_revision()
    assert current == stamp
    assert newest is not None
    assert (current > newest) is (stamp == "9999")


def test_a_database_of_a_newer_trivet_is_not_migrated(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = _schema(empty_database)
    with pytest.raises(Exception, match="9999"):
        migrate.upgrade(empty_database)
    assert _schema(empty_database) == before


def test_migrations_lie_where_the_package_or_the_checkout_has_them() -> None:
    assert (migrate.migrations_directory() / "env.py").is_file()
