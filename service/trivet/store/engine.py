"""The only file that knows SQLite from PostgreSQL: connections, transactions, locks, errors.

A write transaction on SQLite is BEGIN IMMEDIATE, so one writer at a time holds the whole database; that is the
revocation lock, too. On PostgreSQL the lock is a transaction-scoped advisory lock for each revocation scope, under
READ COMMITTED: a statement that runs after the lock was granted sees all that was committed before it.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, TextClause, create_engine, event, exc, make_url, text

from trivet.pki.errors import ConflictError, InvalidError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from sqlalchemy import Engine

_SQLITE_UNIQUE = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
_SQLITE_DEFECT = "SQLITE_ERROR"  # a wrong statement or a missing table, which trying again does not mend
_POSTGRESQL_UNIQUE = "23505"
# Where the answer to a COMMIT was lost, only the Idempotency-Key tells whether it took place.
_UNAVAILABLE = "the database cannot be reached or is too busy; try again, with the same Idempotency-Key"
_LOCK_KEY_BITS = 63
_BUSY_MILLISECONDS = 10_000
_POSTGRESQL_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
)


class Database:
    """Transactions over one database; safe to share between threads.

    Raises (from `read` and `write`):
        UnavailableError: the database cannot be reached, or is too busy; nothing was written.
        ConflictError: a unique constraint was violated by a concurrent transaction.
        InvalidError: a value cannot be stored; whoever checks what they were sent never meets it.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        """Prepare the engine; nothing connects yet.

        Args:
            url: `sqlite:////path/to/trivet.db` or `postgresql://…`.
            pool_size: the most connections of this process.
        """
        self.engine = _engine(url, pool_size)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # One writer at a time anyway: waiting here is fair and quick, SQLite's busy handler sleeps and starves.
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves nothing behind."""
        with (
            _translated_errors(),
            self._writer,
            self.engine.connect() as connection,
            connection.execution_options(trivet_write=True).begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with _translated_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=pool_size, max_overflow=0, pool_timeout=10)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        message = f"the database URL begins with {parsed.drivername!r}; use sqlite:/// or postgresql://"
        raise ValueError(message)
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        isolation_level="READ COMMITTED",
        connect_args={"connect_timeout": 5, "options": _POSTGRESQL_OPTIONS},
    )


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401  the DB-API has no types
    del record
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    for pragma in (
        f"busy_timeout={_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a certificate that left must be on disk
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("trivet_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError as error:
        if not _is_unique_violation(error):
            raise
        message = "something of that name or key was created at the same time; look at it and try again"
        raise ConflictError(message) from error
    except exc.DataError as error:
        message = "a text holds characters that cannot be stored, or is too long"
        raise InvalidError(message) from error
    except exc.TimeoutError as error:  # of the connection pool
        raise UnavailableError(_UNAVAILABLE) from error
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError) as error:
        # InternalError: a server in recovery refuses to write, or one that shuts down has ended the transaction.
        if getattr(error.orig, "sqlite_errorname", None) == _SQLITE_DEFECT:
            raise
        raise UnavailableError(_UNAVAILABLE) from error


def _is_unique_violation(error: exc.IntegrityError) -> bool:
    sqlite_name = getattr(error.orig, "sqlite_errorname", None)
    return sqlite_name in _SQLITE_UNIQUE or getattr(error.orig, "sqlstate", None) == _POSTGRESQL_UNIQUE


def lock_shared(connection: Connection, scopes: Iterable[UUID]) -> None:
    """Hold the revocation locks of the scopes with other issuances, until the transaction ends."""
    _lock(connection, "pg_advisory_xact_lock_shared", scopes)


def lock_exclusive(connection: Connection, scopes: Iterable[UUID]) -> None:
    """Hold the revocation locks of the scopes alone, until the transaction ends."""
    _lock(connection, "pg_advisory_xact_lock", scopes)


def _lock(connection: Connection, function: str, scopes: Iterable[UUID]) -> None:
    if connection.dialect.name == "sqlite":
        return  # BEGIN IMMEDIATE holds the database already
    # In one order for all, so that no two transactions wait for each other.
    for scope in sorted(set(scopes)):
        connection.execute(text(f"SELECT {function}(:key)"), {"key": scope.int % (1 << _LOCK_KEY_BITS)})


def candidates_statement(connection: Connection) -> TextClause:
    """Find the entries stored under any of many keys: index searches, never a scan, as a test shows.

    The keys travel as one JSON parameter, so that the statement is the same for one issuance and for a batch.
    CROSS JOIN keeps SQLite from turning the order round, and OFFSET 0 keeps PostgreSQL from a hash join; either
    would read all entries.
    """
    return text(_CANDIDATES[connection.dialect.name])


_CANDIDATES = {
    "sqlite": """
        SELECT DISTINCT k.entry_id AS entry_id
        FROM json_each(:keys) AS wanted CROSS JOIN revocation_entry_keys AS k
        WHERE k.kind = wanted.value ->> 0 AND k.value = wanted.value ->> 1
    """,
    "postgresql": """
        SELECT DISTINCT found.entry_id AS entry_id
        FROM jsonb_array_elements(CAST(:keys AS jsonb)) AS wanted CROSS JOIN LATERAL (
            SELECT k.entry_id FROM revocation_entry_keys AS k
            WHERE k.kind = wanted ->> 0 AND k.value = wanted ->> 1 OFFSET 0
        ) AS found
    """,
}


def keys_parameter(keys: Iterable[Sequence[str]]) -> str:
    """The keys as the parameter of `candidates_statement`."""
    return json.dumps(sorted(keys))
