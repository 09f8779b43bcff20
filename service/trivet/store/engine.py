"""What differs between SQLite and PostgreSQL: connections, transactions, locks, errors.

(Besides this file only the hot path's statements are written for each: `store.issuing`.)

A write transaction on SQLite is BEGIN IMMEDIATE, so one writer at a time holds the whole database; that is the
revocation lock, too. Its writers take turns (`store.turns`). On PostgreSQL the lock is a transaction-scoped advisory
lock for each revocation scope, under READ COMMITTED: a statement that runs after the lock was granted sees all that
was committed before it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection, TextClause, create_engine, event, exc, make_url, text

from trivet.pki.errors import ConflictError, InvalidError, UnavailableError
from trivet.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import IsolationLevel

_SQLITE_UNIQUE = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
_SQLITE_DEFECT = "SQLITE_ERROR"  # a wrong statement or a missing table, which trying again does not mend
_POSTGRESQL_UNIQUE = "23505"
# Where the answer to a COMMIT was lost, only the Idempotency-Key tells whether it took place.
_UNAVAILABLE = "the database cannot be reached or is too busy; try again, with the same Idempotency-Key"
_TOO_LONG = (
    "the database gave up what took too long, and nothing of it was done; ask for less at once: a revocation for one"
    " cluster instead of all, or entries that name fewer certificates"
)
_POSTGRESQL_CANCELED = "57014"
_MARKING_TIMEOUT = "15min"  # enough for millions of certificates; statements otherwise have a minute
Failure = Literal["unavailable", "busy", "conflict"]
"""How a transaction failed: the database was away, too busy, or another transaction was first."""

_LOCK_KEY_BITS = 63
_GLANCES = 1  # connections: one thread answers OCSP requests
_BUSY_MILLISECONDS = 10_000
_POSTGRESQL_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=30s"
    # A Trivet that vanished must not hold the revocation lock for long.
    " -c tcp_keepalives_idle=4 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000"
)
# What is glanced at is found by an index, always; to plan that anew each time takes five times as long as to find it.
_GLANCE_OPTIONS = f"{_POSTGRESQL_OPTIONS} -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
# A server that vanished without a word (a pulled plug, a firewall that forgot) is noticed in ten seconds.
_POSTGRESQL_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


# The one that was used last: its caches are warm, here and in the server. A tenth of a lone certificate's time.
_REUSE: Final[dict[str, Any]] = {"max_overflow": 0, "pool_timeout": 10, "pool_use_lifo": True}


class Database:
    """Transactions over one database; safe to share between threads.

    Raises (from `read` and `write`):
        UnavailableError: the database cannot be reached, or is too busy; nothing was written.
        ConflictError: a unique constraint was violated by a concurrent transaction.
        InvalidError: a value cannot be stored; whoever checks what they were sent never meets it.
    """

    def __init__(
        self, url: str, *, pool_size: int = 15, on_failure: Callable[[Failure], None] = lambda _: None
    ) -> None:
        """Prepare the engine; nothing connects yet.

        Args:
            url: `sqlite:////path/to/trivet.db` or `postgresql://…`.
            pool_size: the most connections of this process: one for each thread that uses the database. On PostgreSQL
                those that glance have others.
            on_failure: is told of each transaction that fails.
        """
        self.engine = _engine(url, pool_size)
        self._on_failure = on_failure
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._glances = (
            self.engine if self.is_sqlite else _postgresql(url, _GLANCES, _GLANCE_OPTIONS, "AUTOCOMMIT")
        )
        self._turns = Turns(self.engine.url.database) if self.is_sqlite else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves nothing behind."""
        with _translated_errors(self._on_failure), self.engine.connect() as connection:
            write = connection.execution_options(trivet_write=self._turns or True)
            with write.begin():
                yield write

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with (
            _translated_errors(self._on_failure),
            self.engine.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """For statements of the driver's that only read, each by itself: PostgreSQL is asked nothing else."""
        with _translated_errors(self._on_failure), self._glances.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees the database as its first statement did, however long it takes."""
        with _translated_errors(self._on_failure), self.engine.connect() as connection:
            if not self.is_sqlite:  # in WAL mode each transaction of SQLite is one
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                lift_limits(connection)
                yield connection

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self._glances.dispose()


def _engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=pool_size, **_REUSE)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        message = f"the database URL begins with {parsed.drivername!r}; use sqlite:/// or postgresql://"
        raise ValueError(message)
    return _postgresql(url, pool_size, _POSTGRESQL_OPTIONS, "READ COMMITTED")


def _postgresql(url: str, pool_size: int, options: str, isolation: IsolationLevel) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        isolation_level=isolation,
        connect_args={**_POSTGRESQL_CONNECTION, "options": options},
        **_REUSE,
    )


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401  the DB-API has no types
    del record
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    for pragma in (
        f"busy_timeout={_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a certificate that left must be on disk
        "foreign_keys=ON",
        # Pages, of which a lone certificate writes 21. Whoever commits the last one copies all into the database, for
        # some milliseconds: one in four hundred, where SQLite's default is one in fifty (docs/performance.md).
        "wal_autocheckpoint=8000",
        "cache_size=-32768",  # KiB; random serials and key hashes touch pages all over their indexes
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    turns: Turns | None = connection.get_execution_options().get("trivet_write")
    with driver_connection(connection) as driver:
        if turns is None:
            driver.execute("BEGIN")
        else:
            turns.begin(driver)


@contextmanager
def driver_connection(connection: Connection) -> Iterator[Any]:
    """The driver's own connection under SQLAlchemy's, in the same transaction; errors come as SQLAlchemy's."""
    driver = connection.connection.driver_connection
    dialect = connection.dialect
    try:
        yield driver
    except dialect.loaded_dbapi.Error as error:
        if dialect.is_disconnect(error, driver, None):
            connection.invalidate(error)
            connection.engine.dispose()  # the other connections have lost their server, too
        base = dialect.loaded_dbapi.Error
        raise exc.DBAPIError.instance(None, None, error, base, dialect=dialect) from error


@contextmanager
def _translated_errors(on_failure: Callable[[Failure], None]) -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError as error:
        if not _is_unique_violation(error):
            raise
        on_failure("conflict")
        message = "something of that name or key was created at the same time; look at it and try again"
        raise ConflictError(message) from error
    except exc.DataError as error:
        message = "a text holds characters that cannot be stored, or is too long"
        raise InvalidError(message) from error
    except exc.TimeoutError as error:  # of the connection pool
        on_failure("busy")
        raise UnavailableError(_UNAVAILABLE) from error
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError) as error:
        # InternalError: a server in recovery refuses to write, or one that shuts down has ended the transaction.
        if getattr(error.orig, "sqlite_errorname", None) == _SQLITE_DEFECT:
            raise
        on_failure("unavailable")
        has_been_canceled = getattr(error.orig, "sqlstate", None) == _POSTGRESQL_CANCELED
        raise UnavailableError(_TOO_LONG if has_been_canceled else _UNAVAILABLE) from error


def _is_unique_violation(error: exc.IntegrityError) -> bool:
    sqlite_name = getattr(error.orig, "sqlite_errorname", None)
    return sqlite_name in _SQLITE_UNIQUE or getattr(error.orig, "sqlstate", None) == _POSTGRESQL_UNIQUE


def lock_shared(connection: Connection, scopes: Iterable[UUID]) -> None:
    """Hold the revocation locks of the scopes with other issuances, until the transaction ends."""
    _lock(connection, "pg_advisory_xact_lock_shared", scopes)


def lock_exclusive(connection: Connection, scopes: Iterable[UUID]) -> None:
    """Hold the revocation locks of the scopes alone, until the transaction ends.

    What follows may mark every certificate there is, so its statements get more time than others.
    """
    _lock(connection, "pg_advisory_xact_lock", scopes)
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"SET LOCAL statement_timeout = '{_MARKING_TIMEOUT}'"))


def _lock(connection: Connection, function: str, scopes: Iterable[UUID]) -> None:
    if connection.dialect.name == "sqlite":
        return  # BEGIN IMMEDIATE holds the database already
    # In one order for all, so that no two transactions wait for each other.
    for scope in sorted(set(scopes)):
        connection.execute(text(f"SELECT {function}(:key)"), {"key": lock_key(scope)})


def lift_limits(connection: Connection) -> None:
    """Let the transaction take as long as it takes, as one that copies everything must."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def lock_key(scope: UUID) -> int:
    """The number of a scope's advisory lock on PostgreSQL."""
    return scope.int % (1 << _LOCK_KEY_BITS)


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
