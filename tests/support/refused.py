"""A write transaction that must be refused, for the sake of one error and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from trivet.store.engine import Database


@contextmanager
def refused_write(
    database: Database, kind: type[Exception], match: str | None = None
) -> Iterator[Connection]:
    """Open a write transaction, and expect that error at the latest when it ends."""
    with pytest.raises(kind, match=match), database.write() as connection:
        yield connection
