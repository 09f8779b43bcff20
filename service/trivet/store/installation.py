"""The one record of this installation: proof of its key-encryption key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from trivet.store.tables import installations

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def key_check(connection: Connection) -> str | None:
    """The proof that was stored when the installation was made; None where it was not made yet."""
    return connection.execute(select(installations.c.key_check)).scalar_one_or_none()


def begin(connection: Connection, check: str, now: datetime) -> None:
    """Store the proof."""
    connection.execute(insert(installations).values(id=1, key_check=check, created_at=now))
