"""The ends of the proof's chains, found in the rows of a backup; they must be those that its last line names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.pki.proof.lines import AUDIT_CHAIN, digest
from trivet.store import audit, chains
from trivet.store.audit import AuditRecord
from trivet.store.decisions import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Row = Mapping[str, Any]


class ProofEnds:
    """Looks at rows as they go by. Its memory grows with the chains, not with the records."""

    def __init__(self) -> None:
        """Nothing went by yet."""
        self._decisions: dict[int, Row] = {}
        self._audit: Row | None = None
        self._open: dict[int, Row] = {}
        self._checkpoint: Row | None = None

    def look_at(self, table: str, rows: Iterable[Row]) -> None:
        """Note the last record of each chain."""
        match table:
            case "decisions":
                for row in rows:
                    last = self._decisions.get(row["chain"])
                    if row["chain"] is not None and (last is None or last["position"] < row["position"]):
                        self._decisions[row["chain"]] = row
            case "audit_records":
                placed = [row for row in rows if row["position"] is not None]
                self._audit = _last((self._audit, *placed), "position")
            case "chains":
                self._open |= {row["number"]: row for row in rows if row["closed_in"] is None}
            case "checkpoints":
                self._checkpoint = _last((self._checkpoint, *rows), "number")

    def described(self) -> dict[str, Any]:
        """As the last line has it."""
        last = self._checkpoint
        return {
            "heads": [[number, *self._head(row)] for number, row in sorted(self._open.items())],
            "checkpoint": [last["number"], digest(last["line"].encode())] if last else None,
        }

    def _head(self, chain: Row) -> tuple[int, str]:
        if chain["number"] == AUDIT_CHAIN:
            if self._audit is None:
                return 0, chain["head"]
            return self._audit["position"], digest(audit.line_of(AuditRecord(**self._audit)))
        last = self._decisions.get(chain["number"])
        if last is None:
            return chain["position"], chain["head"]
        return last["position"], digest(chains.line_of(Decision(**last)))


def _last(rows: Iterable[Row | None], by: str) -> Row | None:
    return max((row for row in rows if row is not None), key=lambda row: int(row[by]), default=None)
