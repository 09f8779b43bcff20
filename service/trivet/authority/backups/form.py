"""The form of a backup: lines of JSON, in the order in which a restore needs them.

```
{"type": "backup", "format": 1, "madeAt": …, "schema": …, "keyCheck": …, "tables": [{"name", "columns"}, …], …}
{"type": "table", "name": "clusters"}
[…]                                           a row, its values in the order of the columns
…
{"type": "end", "rows": {"clusters": 1, …}, "sha256": …, "proof": …, "seal": …}
```

The last line counts the rows, has the hash of all lines above, says how the chains of the proof end, and is sealed by
a hash that is keyed by the key-encryption key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.store import chains

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.store.transfer import TableForm

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Heading:
    """What a backup says of itself.

    Attributes:
        made_at: by the clock of who made it; all that was committed later is missing.
        trivet: the version that made it.
        schema: the revision of the schema that it was in.
        database: "sqlite" or "postgresql".
        key_check: tells the key-encryption key of its private keys from others.
        span: from when to when the rows are that PostgreSQL keeps by month.
    """

    made_at: datetime
    trivet: str
    schema: str
    database: str
    key_check: str
    span: tuple[datetime, datetime] | None
    tables: tuple[TableForm, ...]

    def described(self) -> dict[str, Any]:
        """As its line has it."""
        return {
            "type": "backup",
            "format": FORMAT,
            "madeAt": self.made_at.isoformat(),
            "trivet": self.trivet,
            "schema": self.schema,
            "database": self.database,
            "keyCheck": self.key_check,
            "span": [moment.isoformat() for moment in self.span] if self.span else None,
            "tables": [{"name": form.name, "columns": form.columns} for form in self.tables],
        }


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds.

    Attributes:
        rows: how many, by table.
        checkpoint: number and hash of the last one in it, to be noted elsewhere; None where nothing was sealed.
    """

    heading: Heading
    rows: Mapping[str, int]
    checkpoint: tuple[int, str] | None


def described_proof(connection: Connection) -> dict[str, Any]:
    """How the chains that are open end, and the last checkpoint."""
    heads = {
        chain.number: chain.head if chain.expires_at is None else chains.stored_head(connection, chain)
        for chain in chains.open_chains(connection)
    }
    last = chains.last_checkpoint(connection)
    return {
        "heads": [[number, position, head] for number, (position, head) in sorted(heads.items())],
        "checkpoint": [last.number, last.sha256] if last else None,
    }
