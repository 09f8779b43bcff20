"""RenewRevocation objects, written short."""

from __future__ import annotations

from datetime import datetime
from itertools import count

from trivet.pki.entries import normalise_value
from trivet.pki.manifest import RenewRevocation
from trivet.pki.revocation import Entry, EntryKind

_numbers = count(1)


def entry(
    kind: EntryKind,
    value: str,
    not_before: datetime | None = None,
    *,
    include_renewed: bool = True,
    description: str = "",
) -> Entry:
    """Make one entry from a value in any spelling."""
    return Entry(kind, normalise_value(kind, value), not_before, description, include_renewed)


def renew_revocation(*entries: Entry, name: str | None = None, description: str = "") -> RenewRevocation:
    """Make an object; without a name it gets a new one."""
    return RenewRevocation(name or f"object-{next(_numbers)}", description=description, entries=entries)
