"""One-time tokens of repairs, and what each was used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.repairs import RepairWindow, window_of
from trivet.store.tables import repair_token_uses, repair_tokens, repair_windows

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class RepairToken:
    """A one-time token for a node, with its window."""

    id: UUID
    node: str
    created_at: datetime
    created_by: str
    window: RepairWindow


_TOKEN = select(
    repair_tokens.c.id.label("token_id"),
    repair_tokens.c.node,
    repair_tokens.c.created_at,
    repair_tokens.c.created_by,
    repair_windows,
).join(repair_windows, repair_windows.c.id == repair_tokens.c.window_id)


def add(connection: Connection, token: RepairToken, secret_hash: str) -> None:
    """Store a token under the hash of its secret."""
    connection.execute(
        insert(repair_tokens).values(
            id=token.id,
            window_id=token.window.id,
            node=token.node,
            secret_hash=secret_hash,
            created_at=token.created_at,
            created_by=token.created_by,
        )
    )


def find(connection: Connection, secret_hash: str) -> RepairToken | None:
    """The token whose secret has that hash."""
    row = connection.execute(_TOKEN.where(repair_tokens.c.secret_hash == secret_hash)).first()
    return _token(row) if row else None


def with_ids(connection: Connection, ids: Collection[UUID]) -> dict[UUID, RepairToken]:
    """Tokens by their ids, with their windows as they stand now."""
    rows = connection.execute(_TOKEN.where(repair_tokens.c.id.in_(sorted(ids))))
    return {row.token_id: _token(row) for row in rows}


def uses(connection: Connection, token_ids: Collection[UUID]) -> dict[UUID, frozenset[UUID]]:
    """For which of the certificates that a node held each token was used."""
    columns = repair_token_uses.c
    query = select(columns.token_id, columns.held_id).where(columns.token_id.in_(sorted(token_ids)))
    found: dict[UUID, set[UUID]] = {each: set() for each in token_ids}
    for token_id, held_id in connection.execute(query):
        found[token_id].add(held_id)
    return {each: frozenset(held) for each, held in found.items()}


def use(connection: Connection, token_id: UUID, held_id: UUID, certificate_id: UUID, now: datetime) -> bool:
    """Use a token for one certificate that the node held; say whether it was not used for it before.

    Waits for a concurrent use of the same, so of two only one is told yes.
    """
    row = {"token_id": token_id, "held_id": held_id, "certificate_id": certificate_id, "used_at": now}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(repair_token_uses).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(repair_token_uses.c.held_id)).first() is not None


def _token(row: Row[Any]) -> RepairToken:
    return RepairToken(row.token_id, row.node, row.created_at, row.created_by, window_of(row))
