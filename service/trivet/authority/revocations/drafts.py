"""RenewRevocation objects as they are to be stored: how they were written, who manages which field, what is logged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.revocations.standing import new_entries
from trivet.pki.managed_fields import read_shares, render_shares
from trivet.pki.manifest import API_VERSION, canonical_spec
from trivet.pki.ownership import UPDATE, Manager, Share, content_of, updated
from trivet.store import changes
from trivet.store.changes import RENEW_REVOCATIONS, Change, ChangeKind, ObjectImage, Place
from trivet.store.manifests import Manifest
from trivet.store.revocations import StoredRevocation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.store.revocations import StandingEntry

TRIVET: Final = Manager("trivet", UPDATE, API_VERSION)
"""Who manages what was written through Trivet's own interfaces."""


def first_draft(
    authority: Authority,
    requester: Requester,
    scope: UUID,
    wanted: RenewRevocation,
    now: datetime,
    managed: Sequence[Share] | None,
) -> StoredRevocation:
    """A new object, at version 0 until it takes one."""
    revocation_id = authority.new_id(now)
    spec = wanted.spec_as_written()
    after = {"metadata": {"labels": wanted.labels, "annotations": wanted.annotations}, "spec": spec}
    shares = updated((), {}, content_of(after), TRIVET, now) if managed is None else managed
    return StoredRevocation(
        revocation_id,
        scope,
        wanted.namespace,
        wanted.name,
        wanted.description,
        0,
        now,
        requester.name,
        dict(wanted.labels),
        dict(wanted.annotations),
        new_entries(authority, wanted.entries, revocation_id, scope, wanted, now),
        Manifest(spec, 1, tuple(render_shares(shares))),
    )


def next_draft(
    standing: StoredRevocation,
    wanted: RenewRevocation,
    kept: Sequence[StandingEntry],
    now: datetime,
    managed: Sequence[Share] | None,
) -> StoredRevocation:
    """The object with another content, still at its version, with those of its entries that stay."""
    changed = replace(
        standing,
        description=wanted.description,
        labels=dict(wanted.labels),
        annotations=dict(wanted.annotations),
        entries=tuple(kept),
    )
    former, spec = manifest_of(standing), wanted.spec_as_written()
    generation = former.generation + (spec != former.spec)
    written = replace(changed, manifest=Manifest(spec, generation, former.managed_fields))
    if managed is None:
        shares = read_shares(former.managed_fields)
        managed = updated(
            shares, content_of(_document(standing)), content_of(_document(written)), TRIVET, now
        )
    manifest = Manifest(spec, generation, tuple(render_shares(managed)))
    return changed if manifest == former else replace(changed, manifest=manifest)


def manifest_of(stored: StoredRevocation) -> Manifest:
    """How an object was written; one that is older than manifests, in canonical spelling."""
    entries = [standing.entry for standing in stored.entries]
    return stored.manifest or Manifest(canonical_spec(stored.description, entries))


def image_of(stored: StoredRevocation) -> ObjectImage:
    """The object as the Kubernetes API shows it."""
    manifest = manifest_of(stored)
    return ObjectImage(
        stored.id,
        stored.namespace,
        stored.name,
        stored.version,
        manifest.generation,
        stored.created_at,
        stored.labels,
        stored.annotations,
        manifest.managed_fields,
        {"spec": manifest.spec},
    )


def log_change(
    connection: Connection,
    kind: ChangeKind,
    changed: StoredRevocation,
    former: StoredRevocation | None,
    now: datetime,
) -> None:
    """Tell watches, in the transaction of the change and under the version that it took."""
    labels = former.labels if former is not None else {}
    place = Place(changed.scope, RENEW_REVOCATIONS)
    changes.append(connection, place, [Change(kind, image_of(changed), labels)], now)


def _document(stored: StoredRevocation) -> dict[str, Any]:
    metadata = {"labels": stored.labels, "annotations": stored.annotations}
    return {"metadata": metadata, "spec": manifest_of(stored).spec}
