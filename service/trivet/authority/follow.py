"""What has changed since: how a Kubernetes client keeps up with the objects of a place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.store import changes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.authority.context import Authority
    from trivet.store.changes import Change, ObjectImage, Place

CHANGES_KEPT: Final = timedelta(minutes=10)  # as long as kube-apiserver lets etcd keep them, twice
MOST_CHANGES: Final = 5_000
MOST_COUNTED: Final = 10_000
_CHANGES_READ: Final = 500


@dataclass(frozen=True, slots=True)
class View:
    """What of a place somebody may see.

    Attributes:
        version: that the place is at.
        username: whose objects they see; None for those of all.
    """

    place: Place
    version: int
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of the objects of a place.

    Attributes:
        version: of the place; every change after it will be among the changes after it.
        remaining: how many objects follow; beyond `MOST_COUNTED` they need not be counted.
    """

    version: int
    items: Sequence[ObjectImage]
    remaining: int


@dataclass(frozen=True, slots=True)
class News:
    """The next changes of a place.

    Attributes:
        changes: in their order; maybe not yet all.
        version: up to which they tell all.
        lost: the log no longer has all that changed.
    """

    changes: Sequence[Change]
    version: int
    lost: bool = False


def changes_after(authority: Authority, place: Place, version: int) -> News:
    """What has changed in a place after a version; for whoever may see it (`View`)."""
    with authority.database.read() as connection:
        present = changes.versions(connection, [place])[place]
        found = changes.after(connection, place, version, _CHANGES_READ)
        if not found:
            return News((), max(version, present), lost=present > version)
        # Every version has its change: where the first is not the next one, the log was cut.
        return News(found, found[-1].version, lost=found[0].version != version + 1)


def news_of(authority: Authority, known: Mapping[Place, int]) -> dict[Place, News]:
    """What has changed in each place after its version; places in which nothing has are left out."""
    with authority.database.read() as connection:
        present = changes.versions(connection, known)
    return {
        place: changes_after(authority, place, version)
        for place, version in known.items()
        if present.get(place, version) != version
    }


def forget_changes(authority: Authority) -> int:
    """Cut the log; watches that are further behind are told to list again. Counts what was cut."""
    with authority.database.write() as connection:
        return changes.forget(connection, authority.clock() - CHANGES_KEPT, MOST_CHANGES)
