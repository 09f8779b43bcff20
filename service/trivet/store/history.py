"""The history of revocation entries, as lines: what each version of a set added and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import or_

from trivet.pki.proof.lines import canonical, time_text
from trivet.store.revocations import ENTRIES, standing_entry
from trivet.store.tables import revocation_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from trivet.store.audit import AuditRecord
    from trivet.store.revocations import StandingEntry

_PAGE = 1000


def change_line(
    scope: UUID, version: int, added: Iterable[StandingEntry], removed: Iterable[StandingEntry]
) -> bytes:
    """What a version of a set changed; the audit record of the change carries the hash of this line."""
    return canonical(
        {
            "type": "entries",
            "scope": str(scope),
            "version": version,
            "added": [_described(entry) for entry in sorted(added, key=lambda entry: entry.id)],
            "removed": sorted(str(entry.id) for entry in removed),
        }
    )


def changed_in(connection: Connection, scope: UUID, version: int) -> bytes:
    """The line of a version, from the entries as they are stored."""
    columns = revocation_entries.c
    query = ENTRIES.where(
        columns.scope == scope, or_(columns.added_in == version, columns.removed_in == version)
    )
    added, removed = [], []
    for row in connection.execute(query):
        if row.added_in == version:
            added.append(standing_entry(row))
        if row.removed_in == version:
            removed.append(standing_entry(row))
    return change_line(scope, version, added, removed)


def begun_sets(record: AuditRecord) -> Iterator[tuple[UUID, int]]:
    """The sets, at their versions, whose standing entries an audit record vouches for: the first record does."""
    for one in record.details.get("sets", ()) if record.position == 1 else ():
        yield UUID(one["scope"]), one["version"]


def changed_set(record: AuditRecord) -> tuple[UUID, int] | None:
    """The set, and its version, that an audit record says to have changed."""
    changed = record.details.get("set")
    return (UUID(changed["scope"]), changed["version"]) if changed else None


def standing_lines(connection: Connection, scope: UUID, version: int) -> Iterator[bytes]:
    """A line for each entry that stood at a version, by id; for the versions from before there was a proof."""
    columns = revocation_entries.c
    query = ENTRIES.where(
        columns.scope == scope,
        columns.added_in <= version,
        or_(columns.removed_in.is_(None), columns.removed_in > version),
    ).order_by(columns.id)
    for row in connection.execute(query.execution_options(yield_per=_PAGE)):
        entry = _described(standing_entry(row))
        yield canonical({"type": "standing", "scope": str(scope), "entry": entry})


def _described(standing: StandingEntry) -> dict[str, Any]:
    """All of an entry that matters to what it revokes."""
    entry = standing.entry
    return {
        "id": str(standing.id),
        "includeRenewed": entry.include_renewed,
        "kind": entry.kind.value,
        "notBefore": time_text(entry.not_before) if entry.not_before else None,
        "revocation": standing.object_name,
        "value": entry.value,
    }
