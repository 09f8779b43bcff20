"""Alembic's environment: runs on the connection that `trivet.store.migrate` hands over."""

from __future__ import annotations

from typing import Literal

from alembic import context

from trivet.store import types
from trivet.store.partitions import is_partition
from trivet.store.tables import metadata


def render_item(kind: str, item: object, autogen_context: object) -> str | Literal[False]:
    """Write our own column types into new migrations by their names."""
    del autogen_context
    if kind != "type":
        return False
    if isinstance(item, types.UtcDateTime):
        return "types.UtcDateTime()"
    return "types.ByteText" if item is types.ByteText else "types.Json" if item is types.Json else False


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Whether a name in the database is compared with the tables; partitions come and go by themselves."""
    del parents
    return not (kind == "table" and is_partition(name or ""))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    render_item=render_item,
    include_name=is_ours,
)
context.run_migrations()
