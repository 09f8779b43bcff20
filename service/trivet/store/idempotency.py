"""Idempotency-Keys: a request that is sent again gets what the first one made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.tables import idempotency_keys

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Claim:
    """A key of one requester, the SHA-256 of the request it came with, and the id of what it made."""

    requester: str
    key: str
    fingerprint: str
    reference: str


def claim(connection: Connection, wanted: Claim, now: datetime) -> Claim:
    """Take a key, or give back the claim that holds it. Waits for a concurrent claim of the same key."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = {
        "requester": wanted.requester,
        "key": wanted.key,
        "fingerprint": wanted.fingerprint,
        "reference": wanted.reference,
        "created_at": now,
    }
    statement = dialect.insert(idempotency_keys).values(row).on_conflict_do_nothing()
    if connection.execute(statement).rowcount == 1:
        return wanted
    columns = idempotency_keys.c
    query = select(idempotency_keys).where(columns.requester == wanted.requester, columns.key == wanted.key)
    held = connection.execute(query).first()
    if held is None:  # forgotten between the two statements, so it is free
        return claim(connection, wanted, now)
    return Claim(held.requester, held.key, held.fingerprint, held.reference)


def release(connection: Connection, requester: str, key: str) -> None:
    """Give a key back, because nothing was made."""
    columns = idempotency_keys.c
    connection.execute(delete(idempotency_keys).where(columns.requester == requester, columns.key == key))


def forget_older(connection: Connection, moment: datetime) -> int:
    """Forget keys that were taken before the moment; count them."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < moment)).rowcount
