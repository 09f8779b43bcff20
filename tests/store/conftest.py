from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, make_url

from trivet.store import migrate
from trivet.store.engine import Database

_numbers = count(1)


def _new_url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'trivet.db'}"
    owner: psycopg.Connection = request.getfixturevalue("_postgres_owner")
    # A new one each time: pytest may end this fixture and begin it again within one session.
    name = f"trivet_shared_{next(_numbers)}"
    owner.execute(f"CREATE DATABASE {name}")
    return (
        make_url(request.getfixturevalue("postgres_url"))
        .set(database=name)
        .render_as_string(hide_password=False)
    )


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Give a migrated database of each kind, for tests that leave nothing in it."""
    database = Database(_new_url(request, tmp_path_factory.mktemp("store")))
    migrate.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture
def connection(shared_database: Database) -> Iterator[Connection]:
    """Give a write transaction that is rolled back when the test is over."""
    with shared_database.write() as connection:
        transaction = connection.get_transaction()
        assert transaction is not None
        yield connection
        transaction.rollback()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a migrated database of the test's own, for tests that commit."""
    database = Database(database_url)
    migrate.upgrade(database)
    yield database
    database.dispose()
