"""All rows of all tables, out of one database and into another: of the same kind, or across kinds.

Each table says its columns with the kind of their values, so that a restore needs to know no other schema than the
one that the migrations make.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Integer,
    LargeBinary,
    String,
    TypeDecorator,
    Uuid,
    column,
    delete,
    exc,
    insert,
    inspect,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB

from trivet.store.partitions import PARTITIONED, is_partition
from trivet.store.tables import metadata
from trivet.store.types import Id, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, TableClause
    from sqlalchemy.types import TypeEngine

_AT_ONCE: Final = 1000
_REVISIONS: Final = "alembic_version"  # says which schema it is, and is no part of it
_MILLISECONDS_AT: Final = 80  # of a UUIDv7 (RFC 9562 section 5.7)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of value: its column type, and its form in JSON."""

    type: TypeEngine[Any]
    shown: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _as_it_is(value: object) -> object:
    return value


# NULL, not JSON's null: where a JSON column may be empty, it is.
_JSON: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_KINDS: Final = {
    "text": _Kind(String(), _as_it_is, _as_it_is),
    "integer": _Kind(BigInteger(), _as_it_is, _as_it_is),
    "boolean": _Kind(Boolean(), _as_it_is, _as_it_is),
    "time": _Kind(UtcDateTime(), datetime.isoformat, datetime.fromisoformat),
    "octets": _Kind(LargeBinary(), lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "id": _Kind(Id, str, UUID),
    # As text: numbers keep their spelling, however large they are.
    "json": _Kind(_JSON, json.dumps, json.loads),
}


@dataclass(frozen=True, slots=True)
class TableForm:
    """A table: its name, and its columns with the kind of each."""

    name: str
    columns: tuple[tuple[str, str], ...]

    def shown(self, row: Sequence[Any]) -> list[Any]:
        """A row in JSON's terms."""
        return [
            None if value is None else _KINDS[kind].shown(value)
            for value, (_, kind) in zip(row, self.columns, strict=True)
        ]

    def read(self, row: Sequence[Any]) -> dict[str, Any]:
        """A row from JSON.

        Raises:
            ValueError, TypeError: it has not the form.
        """
        return {
            name: None if value is None else _KINDS[kind].read(value)
            for value, (name, kind) in zip(row, self.columns, strict=True)
        }

    def clause(self) -> TableClause:
        """The table for statements.

        Raises:
            KeyError: a kind is unknown.
        """
        return table(self.name, *(column(name, _KINDS[kind].type) for name, kind in self.columns))


def forms() -> list[TableForm]:
    """All tables, each behind those that it refers to."""
    return [
        TableForm(str(one.name), tuple((str(found.name), _kind_of(found.type)) for found in one.columns))
        for one in metadata.sorted_tables
    ]


def _kind_of(given: TypeEngine[Any]) -> str:
    of = given.impl if isinstance(given, TypeDecorator) else given
    if isinstance(given, UtcDateTime):
        return "time"
    for kind, types in (
        ("id", Uuid),
        ("boolean", Boolean),
        ("integer", Integer),
        ("octets", LargeBinary),
        ("json", JSON),
        ("text", String),
    ):
        if isinstance(of, types):
            return kind
    raise TypeError(f"no kind of value is known for a column of type {given!r}")


def unknown(connection: Connection, given: Sequence[TableForm]) -> str | None:
    """The first table or column that the database does not have, that is of no known kind, or is named twice."""
    found = inspect(connection)
    tables = {name for name in found.get_table_names() if name != _REVISIONS and not is_partition(name)}
    for form in given:
        if form.name not in tables:
            return form.name
        tables.remove(form.name)
        columns = {one["name"] for one in found.get_columns(form.name)}
        for name, kind in form.columns:
            if name not in columns or kind not in _KINDS:
                return f"{form.name}.{name}"
            columns.remove(name)
    return None


def rows(connection: Connection, form: TableForm) -> Iterator[Sequence[Any]]:
    """All rows of a table, some in memory at a time."""
    query = select(*form.clause().c)
    yield from connection.execute(query, execution_options={"yield_per": _AT_ONCE})


def add(connection: Connection, form: TableForm, batch: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows.

    Raises:
        ValueError: the table does not take one of them.
    """
    if not batch:
        return
    try:
        connection.execute(insert(form.clause()), batch)
    except exc.StatementError as error:
        if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
            raise  # it is the database
        raise ValueError(f"{form.name} does not take a row") from error


def clear(connection: Connection, tables: Sequence[TableForm]) -> None:
    """Empty the tables of what the migrations put there."""
    for form in reversed(tables):
        connection.execute(delete(form.clause()))


def is_empty(connection: Connection) -> bool:
    """Whether the database has no table at all."""
    return not inspect(connection).get_table_names()


def span(connection: Connection) -> tuple[datetime, datetime] | None:
    """From when to when the rows are that PostgreSQL keeps by month; None where there are none."""
    found: list[UUID] = []
    for name, key in PARTITIONED.items():
        ids = metadata.tables[name].c[key]
        for order in (ids.asc(), ids.desc()):
            found += connection.scalars(select(ids).order_by(order).limit(1)).all()
    times = [datetime.fromtimestamp((one.int >> _MILLISECONDS_AT) / 1000, UTC) for one in found]
    return (min(times), max(times)) if times else None
