"""The audit trail, and the proof of what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.client.connection import Connection
    from trivet.client.schemas import AuditRecord


@dataclass(frozen=True, slots=True)
class AuditRecords:
    """The operations on audit records."""

    connection: Connection

    def list(self, limit: int | None = None) -> Iterator[AuditRecord]:
        """What was changed, and by whom."""
        return each(self.connection, "audit-records", limit=limit)

    def export(
        self, *, cluster: str | None = None, since: str | None = None, until: str | None = None
    ) -> Iterator[bytes]:
        """The proof of what was decided, as it comes.

        Raises:
            ProblemError: the service refused.
            UnreachableError: there was no answer, or it broke off.
        """
        query = {"cluster": cluster, "since": since, "until": until}
        return self.connection.stream("audit-export", query=query)
