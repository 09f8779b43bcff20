"""Access tokens; only a keyed hash of each is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from trivet.store.tables import tokens

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. Without a cluster it holds in all; without an expiry, for good.

    An approver decides requests for `signer_names` only, where there are any.
    """

    id: UUID
    description: str
    role: str
    cluster_id: UUID | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    signer_names: tuple[str, ...] = ()


_FIELDS = tuple(Token.__dataclass_fields__)


def add(connection: Connection, token: Token, secret_hash: str) -> None:
    """Store a token under the hash of its secret."""
    row = {name: getattr(token, name) for name in _FIELDS} | {"signer_names": list(token.signer_names)}
    connection.execute(insert(tokens).values(**row, secret_hash=secret_hash))


def find_by_hash(connection: Connection, secret_hash: str) -> Token | None:
    """The token whose secret has that hash."""
    row = connection.execute(select(tokens).where(tokens.c.secret_hash == secret_hash)).first()
    return _token(row) if row else None


def find(connection: Connection, token_id: UUID) -> Token | None:
    """The token of that id."""
    row = connection.execute(select(tokens).where(tokens.c.id == token_id)).first()
    return _token(row) if row else None


def page(connection: Connection, cluster_id: UUID | None, after: UUID | None, limit: int) -> list[Token]:
    """Tokens (of a cluster, or all) in the order of their making, from the first one after `after`."""
    query = select(tokens).order_by(tokens.c.id).limit(limit)
    if cluster_id is not None:
        query = query.where(tokens.c.cluster_id == cluster_id)
    if after is not None:
        query = query.where(tokens.c.id > after)
    return [_token(row) for row in connection.execute(query)]


def remove(connection: Connection, token_id: UUID) -> bool:
    """Forget a token; say whether there was one."""
    return connection.execute(delete(tokens).where(tokens.c.id == token_id)).rowcount == 1


def _token(row: Row[Any]) -> Token:
    known = {name: getattr(row, name) for name in _FIELDS}
    return Token(**known | {"signer_names": tuple(row.signer_names or ())})
