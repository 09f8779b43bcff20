"""Bootstrap tokens; only a keyed hash of each is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from trivet.store.tables import bootstrap_tokens

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class StoredBootstrapToken:
    """What is known of a token.

    Attributes:
        id: the public part, six characters.
        node: the one node that it is for; None for any.
        usages: of `pki.bootstrap.BootstrapUsage`.
        groups: beside `system:bootstrappers`, which every token has.
    """

    id: str
    cluster_id: UUID
    node: str | None
    usages: tuple[str, ...]
    groups: tuple[str, ...]
    description: str
    created_at: datetime
    created_by: str
    expires_at: datetime


_FIELDS = tuple(StoredBootstrapToken.__dataclass_fields__)


def add(connection: Connection, token: StoredBootstrapToken, secret_hash: str) -> None:
    """Store a token under the hash of all of it."""
    row = {name: getattr(token, name) for name in _FIELDS}
    row |= {"usages": list(token.usages), "groups": list(token.groups), "secret_hash": secret_hash}
    connection.execute(insert(bootstrap_tokens).values(row))


def find_by_hash(connection: Connection, secret_hash: str) -> StoredBootstrapToken | None:
    """The token of that hash."""
    query = select(bootstrap_tokens).where(bootstrap_tokens.c.secret_hash == secret_hash)
    row = connection.execute(query).first()
    return _token(row) if row else None


def find(connection: Connection, cluster_id: UUID, token_id: str) -> StoredBootstrapToken | None:
    """The token of that id in a cluster."""
    columns = bootstrap_tokens.c
    query = select(bootstrap_tokens).where(columns.cluster_id == cluster_id, columns.id == token_id)
    row = connection.execute(query).first()
    return _token(row) if row else None


def with_ids(connection: Connection, ids: Collection[str]) -> dict[str, StoredBootstrapToken]:
    """Those of the tokens that still exist, by id."""
    query = select(bootstrap_tokens).where(bootstrap_tokens.c.id.in_(sorted(ids)))
    return {row.id: _token(row) for row in connection.execute(query)}


def page(
    connection: Connection, cluster_id: UUID, after: str | None, limit: int
) -> list[StoredBootstrapToken]:
    """Tokens of a cluster by id, from the first one after `after`."""
    columns = bootstrap_tokens.c
    query = select(bootstrap_tokens).where(columns.cluster_id == cluster_id).order_by(columns.id).limit(limit)
    if after is not None:
        query = query.where(columns.id > after)
    return [_token(row) for row in connection.execute(query)]


def remove(connection: Connection, cluster_id: UUID, token_id: str) -> bool:
    """Forget a token; say whether there was one."""
    columns = bootstrap_tokens.c
    query = delete(bootstrap_tokens).where(columns.cluster_id == cluster_id, columns.id == token_id)
    return connection.execute(query).rowcount == 1


def remove_all(connection: Connection) -> dict[str, UUID]:
    """Forget all tokens; the clusters of those that there were, by their ids."""
    columns = bootstrap_tokens.c
    removed = connection.execute(delete(bootstrap_tokens).returning(columns.id, columns.cluster_id))
    return {row.id: row.cluster_id for row in removed}


def remove_expired(connection: Connection, moment: datetime, limit: int) -> int:
    """Forget tokens that expired before the moment, the oldest first; count them."""
    columns = bootstrap_tokens.c
    oldest = select(columns.id).where(columns.expires_at < moment).order_by(columns.expires_at).limit(limit)
    ids = list(connection.scalars(oldest))
    if ids:
        connection.execute(delete(bootstrap_tokens).where(columns.id.in_(ids)))
    return len(ids)


def _token(row: Row[Any]) -> StoredBootstrapToken:
    found = {name: getattr(row, name) for name in _FIELDS}
    found |= {"usages": tuple(row.usages), "groups": tuple(row.groups)}
    return StoredBootstrapToken(**found)
