"""Who manages which field of an object: metadata.managedFields, as a Kubernetes API server keeps it.

The rules are those of sigs.k8s.io/structured-merge-diff (merge/update.go), for objects of one shape: metadata.labels,
metadata.annotations, spec and status are maps whose members have managers of their own; every other value is managed
whole, lists too (`x-kubernetes-list-type: atomic`, the default of custom resources).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from trivet.pki.errors import ConflictError

Path = tuple[str, ...]
Content = Mapping[str, Any]
"""Of an object: metadata with labels and annotations, spec, status."""

APPLY: Final = "Apply"
UPDATE: Final = "Update"
_MAPS: Final = {("metadata",), ("metadata", "labels"), ("metadata", "annotations"), ("spec",), ("status",)}
_MANAGED_METADATA: Final = ("labels", "annotations")
_MOST_UPDATERS: Final = 10  # as apiserver's managedfields/internal/capmanagers.go
_ANCIENT: Final = "ancient-changes"


class FieldConflictError(ConflictError):
    """Server-side apply would change fields that others manage. `owners` has one (manager, field) for each."""

    slug = "fieldConflict"

    def __init__(self, detail: str, owners: Sequence[tuple[Manager, Path]]) -> None:
        """Keep who manages what."""
        super().__init__(detail)
        self.owners = owners


@dataclass(frozen=True, slots=True)
class Manager:
    """Whoever changes fields: a name, and how."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What one manager manages, and since when."""

    manager: Manager
    fields: frozenset[Path] = field(default_factory=frozenset)
    since: datetime | None = None


def content_of(document: Content) -> dict[str, Any]:
    """What of a document has managers: no server-set metadata, nothing that is null or an empty map."""
    metadata = document.get("metadata")
    kept = {
        name: {key: value for key, value in members.items() if value is not None}
        for name in _MANAGED_METADATA
        if isinstance(metadata, Mapping) and isinstance(members := metadata.get(name), Mapping) and members
    }
    content: dict[str, Any] = {"metadata": kept} if kept else {}
    for name in ("spec", "status"):
        if isinstance(document.get(name), Mapping):
            content[name] = {key: value for key, value in document[name].items() if value is not None}
    return content


def updated(
    shares: Sequence[Share], before: Content, after: Content, manager: Manager, now: datetime
) -> tuple[Share, ...]:
    """Who manages what after an update: what it set is the manager's alone, what it removed is nobody's."""
    former, present = _values(before), _values(after)
    removed = former.keys() - present.keys()
    set_now = {path for path, value in present.items() if path not in former or former[path] != value}
    own = _fields_of(shares, manager)
    mine = (own - removed) | set_now
    others = [
        replace(share, fields=share.fields - set_now - removed)
        for share in shares
        if share.manager != manager
    ]
    return _tidied([*others, _since(shares, Share(manager, frozenset(mine)), now)])


def applied(
    shares: Sequence[Share], live: Content, wanted: Content, manager: Manager, now: datetime, *, force: bool
) -> tuple[dict[str, Any], tuple[Share, ...]]:
    """The content after a server-side apply, and who manages what then.

    Args:
        shares: who manages what now.
        live: the content that stands.
        wanted: what the manager applies: all that it wants to manage.
        manager: who applies.
        now: since when.
        force: take fields from other managers.

    Raises:
        FieldConflictError: it would change what others manage, and is not forced.
    """
    claimed = frozenset(path for path in _values(wanted) if not _has_members(wanted, path))
    elsewhere = frozenset().union(*(share.fields for share in shares if share.manager != manager))
    merged = _merged(live, wanted)
    for path in sorted(_fields_of(shares, manager) - claimed - elsewhere, key=len, reverse=True):
        _remove(merged, path)
    merged = content_of(merged)
    former, present = _values(live), _values(merged)
    set_now = {path for path, value in present.items() if path not in former or former[path] != value}
    if not force:
        _refuse_conflicts(shares, set_now, manager)
    removed = former.keys() - present.keys()
    others = [
        replace(share, fields=share.fields - set_now - removed)
        for share in shares
        if share.manager != manager
    ]
    return merged, _tidied([*others, _since(shares, Share(manager, claimed), now)])


def _values(content: Content, prefix: Path = ()) -> dict[Path, Any]:
    """Every path that can have a manager with its value; a map's own is None, as its members have theirs."""
    values: dict[Path, Any] = {}
    for key, value in content.items():
        path = (*prefix, key)
        if path in _MAPS and isinstance(value, Mapping):
            if path != ("metadata",):
                values[path] = None
            values |= _values(value, path)
        else:
            values[path] = value
    return values


def _has_members(content: Content, path: Path) -> bool:
    value: Any = content
    for name in path:
        value = value[name]
    return path in _MAPS and bool(value)


def _merged(live: Content, wanted: Content, prefix: Path = ()) -> dict[str, Any]:
    merged = dict(live)
    for key, value in wanted.items():
        path = (*prefix, key)
        present = live.get(key)
        if path in _MAPS and isinstance(value, Mapping) and isinstance(present, Mapping):
            merged[key] = _merged(present, value, path)
        else:
            merged[key] = value
    return merged


def _remove(content: dict[str, Any], path: Path) -> None:
    """Take a field out; a map goes only where nothing is left in it."""
    place: Any = content
    for name in path[:-1]:
        if not isinstance(place, dict) or not isinstance(place.get(name), Mapping):
            return
        place[name] = dict(place[name])  # a copy: what stands is not changed
        place = place[name]
    if isinstance(place, dict) and path[-1] in place and not (path in _MAPS and place[path[-1]]):
        del place[path[-1]]


def _refuse_conflicts(shares: Sequence[Share], set_now: set[Path], manager: Manager) -> None:
    owners = [
        (share.manager, path)
        for share in shares
        if share.manager != manager
        for path in sorted(share.fields & set_now)
    ]
    if not owners:
        return
    count = "1 conflict" if len(owners) == 1 else f"{len(owners)} conflicts"
    raise FieldConflictError(f"Apply failed with {count}: {_told(owners)}", owners)


def _told(owners: Sequence[tuple[Manager, Path]]) -> str:
    """As structured-merge-diff words it (merge/conflict.go), which kubectl reads out."""
    if len(owners) == 1:
        manager, path = owners[0]
        return f"conflict with {told_manager(manager)}: {told_path(path)}"
    lines: list[str] = []
    for manager in sorted({manager for manager, _ in owners}, key=told_manager):
        lines.append(f"conflicts with {told_manager(manager)}:")
        lines += [f"- {told_path(path)}" for holder, path in owners if holder == manager]
    return "\n".join(lines)


def told_manager(manager: Manager) -> str:
    """A manager as conflicts name it."""
    subresource = f" with subresource {manager.subresource!r}" if manager.subresource else ""
    return f'"{manager.name}"{subresource} using {manager.api_version}'


def told_path(path: Path) -> str:
    """A field as conflicts name it."""
    return "".join(f".{name}" for name in path)


def _fields_of(shares: Sequence[Share], manager: Manager) -> frozenset[Path]:
    return next((share.fields for share in shares if share.manager == manager), frozenset())


def _since(shares: Sequence[Share], share: Share, now: datetime) -> Share:
    """A share whose fields are what they were keeps its time."""
    former = next((held for held in shares if held.manager == share.manager), None)
    if former is not None and former.fields == share.fields:
        return former
    return replace(share, since=now.replace(microsecond=0))


def _tidied(shares: Sequence[Share]) -> tuple[Share, ...]:
    """Without those that manage nothing, the many old updaters in one, in the order of a server."""
    kept = [share for share in shares if share.fields]
    updaters = sorted((share for share in kept if share.manager.operation == UPDATE), key=_age)
    surplus = updaters[: max(0, len(updaters) - _MOST_UPDATERS)]
    if surplus:
        ancient = [share for share in updaters if share.manager.name == _ANCIENT]
        merged = [*ancient, *surplus, *(updaters[len(surplus) : len(surplus) + 1])]
        first = replace(merged[0].manager, name=_ANCIENT)
        fields = frozenset().union(*(share.fields for share in merged))
        gone = frozenset(merged)  # there may be thousands, where an update names them
        kept = [share for share in kept if share not in gone] + [Share(first, fields, merged[-1].since)]
    return tuple(sorted(kept, key=_order))


def _age(share: Share) -> datetime:
    return share.since or datetime.min.replace(tzinfo=UTC)


def _order(share: Share) -> tuple[str, datetime, str, str, str]:
    manager = share.manager
    return manager.operation, _age(share), manager.name, manager.api_version, manager.subresource
