"""metadata.managedFields as it is written (FieldsV1): a set of fields as nested objects, `.` for an object itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from trivet.pki.entries import parse_rfc3339
from trivet.pki.errors import Fault, InvalidError
from trivet.pki.names import is_plain
from trivet.pki.ownership import APPLY, UPDATE, Manager, Path, Share

_LONGEST_NAME: Final = 128  # as apimachinery's meta/v1/validation


def read_shares(written: object) -> tuple[Share, ...]:
    """Read metadata.managedFields.

    Raises:
        InvalidError: it cannot be read.
    """
    if not isinstance(written, Sequence) or isinstance(written, str | bytes):
        raise _unreadable()
    return tuple(_read_share(entry) for entry in written)


def render_shares(shares: Sequence[Share]) -> list[dict[str, Any]]:
    """As metadata.managedFields has them."""
    return [_rendered(share) for share in shares]


def _read_share(entry: object) -> Share:
    # A tuple: what is sent in its place may have no hash.
    if not isinstance(entry, Mapping) or entry.get("operation") not in (APPLY, UPDATE):
        raise _unreadable()
    names = [entry.get(key) or "" for key in ("manager", "apiVersion", "subresource", "time")]
    if not all(isinstance(name, str) and is_plain(name) and len(name) <= _LONGEST_NAME for name in names):
        raise _unreadable()
    name, api_version, subresource, time = names
    fields = entry.get("fieldsV1") or {}
    try:
        since = parse_rfc3339(time) if time else None
        paths = frozenset(_paths(fields, ()))
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    return Share(Manager(name, entry["operation"], api_version, subresource), paths, since)


def _unreadable() -> InvalidError:
    message = (
        "must be what a server gave: a list of manager, operation, apiVersion, time, fieldsType and fieldsV1"
    )
    return InvalidError("metadata.managedFields cannot be read", Fault("/metadata/managedFields", message))


def _paths(fields: object, prefix: Path) -> list[Path]:
    if not isinstance(fields, Mapping):
        raise ValueError  # noqa: TRY004  the caller asks for one kind of fault
    found: list[Path] = [] if fields else [prefix]
    for key, members in fields.items():
        if key == ".":
            found.append(prefix)
        elif isinstance(key, str) and key.startswith("f:") and is_plain(key):
            found += _paths(members, (*prefix, key[2:]))
        else:
            raise ValueError
    return [path for path in found if path]


def _rendered(share: Share) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path in sorted(share.fields):
        place = fields
        for name in path:
            place = place.setdefault(f"f:{name}", {})
    for path in share.fields:
        place = fields
        for name in path:
            place = place[f"f:{name}"]
        if place:
            place["."] = {}
    manager = share.manager
    entry: dict[str, Any] = {"manager": manager.name, "operation": manager.operation}
    entry |= {"apiVersion": manager.api_version}
    if share.since is not None:
        entry["time"] = share.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": fields}
    return entry | ({"subresource": manager.subresource} if manager.subresource else {})
