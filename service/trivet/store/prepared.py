"""Statements that PostgreSQL is asked over and over, by libpq alone: prepared once a connection, text in, text out.

psycopg's cursors adapt lists and load rows for 60 to 150 µs a statement, where libpq takes 12 to 30
(docs/performance.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.store.engine import driver_connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.pq.abc import PGresult
    from sqlalchemy import Connection

_KNOWN: Final = "trivet_prepared"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that reads.

    Attributes:
        name: no other statement has it.
        statement: its parameters are arrays, `$1` and so on.
    """

    name: str
    statement: str

    def rows(self, connection: Connection, *parameters: Iterable[str]) -> list[tuple[Any, ...]]:
        """Ask, outside a transaction or within.

        Args:
            connection: of SQLAlchemy, over psycopg.
            parameters: arrays of hexadecimal digits, or UUIDs: nothing that an array's text form would have to quote.

        Returns:
            each row's values as PostgreSQL writes them, or None.

        Raises:
            DBAPIError: as SQLAlchemy raises it.
        """
        name = self.name.encode()
        arrays = [f"{{{','.join(parameter)}}}".encode() for parameter in parameters]
        with driver_connection(connection) as driver:
            psycopg = connection.dialect.loaded_dbapi
            known: set[bytes] = connection.info.setdefault(_KNOWN, set())
            if name not in known:
                _succeeded(driver, psycopg, driver.pgconn.prepare(name, self.statement.encode()))
                known.add(name)
            result = _succeeded(driver, psycopg, driver.pgconn.exec_prepared(name, arrays))
        columns = range(result.nfields)
        return [
            tuple(_text(result.get_value(row, column)) for column in columns) for row in range(result.ntuples)
        ]


def _succeeded(driver: Any, psycopg: Any, result: PGresult) -> PGresult:  # noqa: ANN401  psycopg may not be installed
    if result.status in {psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK}:
        return result
    if driver.broken:  # which libpq tells without an SQLSTATE
        raise psycopg.OperationalError(result.get_error_message())
    raise psycopg.errors.error_from_result(result)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
