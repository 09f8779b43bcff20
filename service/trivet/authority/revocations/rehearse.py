"""What a change of a RenewRevocation object would make of it: the refusals and warnings of `revoke`, and no change.

In a transaction that reads, without the exclusive lock: whoever may only look ahead must not hold up issuance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trivet.authority.access import Permission
from trivet.authority.preview import look_ahead, scope_cluster
from trivet.authority.revocations.drafts import first_draft, next_draft
from trivet.authority.revocations.standing import difference, new_entries, refuse_existing, standing_object
from trivet.authority.revoke import Revoked
from trivet.store import revocations
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.pki.ownership import Share
    from trivet.store.revocations import StoredRevocation


def rehearse_creation(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    wanted: RenewRevocation,
    *,
    managed: Sequence[Share] | None = None,
) -> Revoked:
    """The object that `revoke.create_revocation` would make.

    Raises:
        ConflictError: there is one of that name.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.PREVIEW_REVOCATION, cluster, now)
        scope = found.id if found else ALL_CLUSTERS
        refuse_existing(revocations.find(connection, scope, wanted.namespace, wanted.name))
        outlook = look_ahead(connection, found, wanted, now)
        draft = first_draft(authority, requester, scope, wanted, now, managed)
        return Revoked(draft, warnings=outlook.warnings)


def rehearse_replacement(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    wanted: RenewRevocation,
    *,
    expected_version: int | None = None,
    managed: Sequence[Share] | None = None,
) -> Revoked:
    """The object that `revoke.replace_revocation` would make.

    Raises:
        NotFoundError: there is none of that name.
        PreconditionError: it is not at the expected version.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.PREVIEW_REVOCATION, cluster, now)
        standing = standing_object(connection, found, wanted.namespace, wanted.name, expected_version)
        kept, removed, added = difference(standing.entries, wanted.entries)
        changed = next_draft(standing, wanted, kept, now, managed)
        if not removed and not added and changed == standing:
            return Revoked(standing)
        outlook = look_ahead(connection, found, wanted, now)
        fresh = new_entries(
            authority, list(added.values()), standing.id, standing.scope, wanted, now, list(added)
        )
        entries = tuple(sorted((*kept, *fresh), key=lambda entry: entry.position))
        return Revoked(replace(changed, entries=entries), warnings=outlook.warnings)


def rehearse_deletion(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    namespace: str,
    name: str,
    *,
    expected_version: int | None = None,
) -> StoredRevocation:
    """The object that `revoke.delete_revocation` would delete.

    Raises:
        NotFoundError: there is none of that name.
        PreconditionError: it is not at the expected version.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.PREVIEW_REVOCATION, cluster, now)
        return standing_object(connection, found, namespace, name, expected_version)
