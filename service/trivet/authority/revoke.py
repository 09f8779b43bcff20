"""Add, change and remove revocations; each change in one transaction, under the exclusive lock.

Once a change is acknowledged, every issuance sees it: an issuance holds the same lock, shared, from before it reads
the entries until it has committed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trivet.authority import once, record
from trivet.authority.access import Permission, Requester
from trivet.authority.external_signer import check_mirrored
from trivet.authority.metrics import measures
from trivet.authority.metrics.traces import traces
from trivet.authority.preview import scope_cluster
from trivet.authority.revocations.drafts import first_draft, log_change, next_draft
from trivet.authority.revocations.guard import guarded
from trivet.authority.revocations.standing import difference, new_entries, refuse_existing, standing_object
from trivet.pki.errors import IdempotencyError
from trivet.pki.proof.lines import digest
from trivet.store import history, marking, revocations
from trivet.store.changes import ChangeKind
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.engine import lock_exclusive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.pki.ownership import Share
    from trivet.store.clusters import Cluster
    from trivet.store.revocations import StandingEntry, StoredRevocation


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation object that stands, how many certificates it marked just now, and what to beware of."""

    revocation: StoredRevocation
    marked: int = 0
    warnings: Sequence[str] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What the version of a revocation set changed, and how many certificates it marked."""

    version: int
    added: Sequence[StandingEntry]
    removed: Sequence[StandingEntry]
    marked: int = 0


@traces("revoke")
def create_revocation(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    wanted: RenewRevocation,
    *,
    confirmation: str | None = None,
    idempotency_key: str | None = None,
    managed: Sequence[Share] | None = None,
) -> Revoked:
    """Let a new revocation object stand, and mark every live certificate that it names.

    Args:
        authority: the context.
        requester: needs `revocations:write`.
        cluster: where it holds; None for all clusters.
        wanted: the object.
        confirmation: the token of its preview, for the lock-out guard.
        idempotency_key: one object for it, however often it is sent.
        managed: who manages which field; None where that is Trivet.

    Raises:
        AccessDeniedError: the requester may not write this one.
        ConflictError: there is one of that name.
        IdempotencyError: the key was used for something else, or for what was deleted since.
        ConfirmationRequiredError: it would lock out a control plane, and the guard refuses that.
    """
    with authority.database.write() as connection:
        found, now = _locked(authority, connection, requester, cluster)
        check_mirrored(requester, wanted.annotations)
        scope = found.id if found else ALL_CLUSTERS
        draft = first_draft(authority, requester, scope, wanted, now, managed)
        asked = once.fingerprint("revocation.create", scope, wanted)
        earlier = once.take(connection, requester, idempotency_key, asked, str(draft.id), now)
        standing = revocations.find(connection, scope, wanted.namespace, wanted.name)
        if standing is not None and str(standing.id) == earlier:
            measures.replayed()
            return Revoked(standing, replayed=True)
        if earlier is not None and standing is None:
            message = "what this Idempotency-Key made was deleted since; use a new key"
            raise IdempotencyError(message)
        refuse_existing(standing)
        outlook = guarded(authority, connection, found, wanted, now, confirmation)
        # The set's version is the object's, too: one that was deleted and made anew never shows an old ETag.
        stored = replace(draft, version=revocations.next_version(connection, scope))
        revocations.add(connection, stored, stored.version)
        marked = sum(marking.mark_revoked(connection, entry, now) for entry in stored.entries)
        log_change(connection, ChangeKind.ADDED, stored, None, now)
        change = Change(stored.version, stored.entries, (), marked)
        _audit(authority, connection, requester, "revocation.create", stored, change)
    authority.news.set()
    measures.revocation_changed("create", found, added=len(stored.entries), marked=marked)
    return Revoked(stored, marked, outlook.warnings)


@traces("revoke.replace")
def replace_revocation(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    wanted: RenewRevocation,
    *,
    expected_version: int | None = None,
    confirmation: str | None = None,
    managed: Sequence[Share] | None = None,
) -> Revoked:
    """Put another content in an object's place. Entries that stay the same stand without a gap.

    Certificates that were marked stay revoked, also where their entry goes.

    Raises:
        NotFoundError: there is none of that name.
        AccessDeniedError: the requester may not write this one.
        PreconditionError: it is not at the expected version.
        ConfirmationRequiredError: as `create_revocation`.
    """
    with authority.database.write() as connection:
        found, now = _locked(authority, connection, requester, cluster)
        standing = standing_object(connection, found, wanted.namespace, wanted.name, expected_version)
        check_mirrored(requester, standing.annotations, wanted.annotations)
        kept, removed, added = difference(standing.entries, wanted.entries)
        changed = next_draft(standing, wanted, kept, now, managed)
        if not removed and not added and changed == standing:
            return Revoked(standing)
        outlook = guarded(authority, connection, found, wanted, now, confirmation)
        fresh = new_entries(
            authority, list(added.values()), standing.id, standing.scope, wanted, now, list(added)
        )
        version = revocations.next_version(connection, standing.scope)
        revocations.remove_entries(connection, [entry.id for entry in removed], version)
        revocations.add_entries(connection, fresh, version)
        for entry in kept:
            revocations.reposition(connection, entry.id, entry.position, entry.entry.description)
        entries = tuple(sorted((*kept, *fresh), key=lambda entry: entry.position))
        changed = replace(changed, version=version, entries=entries)
        revocations.update_object(connection, changed)
        marked = sum(marking.mark_revoked(connection, entry, now) for entry in fresh)
        log_change(connection, ChangeKind.MODIFIED, changed, standing, now)
        change = Change(version, fresh, removed, marked)
        _audit(authority, connection, requester, "revocation.replace", changed, change)
    authority.news.set()
    measures.revocation_changed("replace", found, added=len(fresh), marked=marked)
    return Revoked(changed, marked, outlook.warnings)


@traces("revoke.delete")
def delete_revocation(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    namespace: str,
    name: str,
    *,
    expected_version: int | None = None,
) -> StoredRevocation:
    """Let an object stand no longer: new certificates may be issued again, marked ones stay revoked.

    Returns:
        What stood, at the version that its end took.

    Raises:
        NotFoundError: there is none of that name.
        AccessDeniedError: the requester may not write this one.
        PreconditionError: it is not at the expected version.
    """
    with authority.database.write() as connection:
        found, now = _locked(authority, connection, requester, cluster)
        standing = standing_object(connection, found, namespace, name, expected_version)
        check_mirrored(requester, standing.annotations)
        version = revocations.next_version(connection, standing.scope)
        revocations.remove_entries(connection, [entry.id for entry in standing.entries], version)
        revocations.mark_deleted(connection, standing.id, now)
        gone = replace(standing, version=version)
        log_change(connection, ChangeKind.DELETED, gone, standing, now)
        change = Change(version, (), standing.entries)
        _audit(authority, connection, requester, "revocation.delete", standing, change)
    measures.revocation_changed("delete", found, added=0, marked=0)
    return gone


def _locked(
    authority: Authority, connection: Connection, requester: Requester, cluster: str | None
) -> tuple[Cluster | None, datetime]:
    """The scope's cluster, its lock held alone, and the time since which it is."""
    found = scope_cluster(connection, requester, Permission.WRITE_REVOCATION, cluster, authority.clock())
    lock_exclusive(connection, {found.id if found else ALL_CLUSTERS})
    return found, authority.clock()


def _audit(
    authority: Authority,
    connection: Connection,
    requester: Requester,
    action: str,
    revocation: StoredRevocation,
    change: Change,
) -> None:
    """Leave a record of the change, by whose hash nobody can later say that it was another one."""
    name = f"{revocation.namespace}/{revocation.name}"
    scope = revocation.scope
    entries = digest(history.change_line(scope, change.version, change.added, change.removed))
    details = {
        "version": revocation.version,
        "entries": len(revocation.entries),
        "marked": change.marked,
        "set": {"scope": str(scope), "version": change.version, "sha256": entries},
    }
    cluster_id = None if scope == ALL_CLUSTERS else scope
    record.change(authority, connection, requester, action, name, cluster_id, details)
