"""Change the labels and annotations of a certificate request: all of it that may change beside what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trivet.authority import record
from trivet.authority.access import Permission, authorized_cluster, check_signer
from trivet.authority.approval.images import log_changes
from trivet.authority.approval.requests import check_version, find_request
from trivet.authority.approval.submission import check_labels
from trivet.pki.kubernetes import signer_of
from trivet.store import counters, requests
from trivet.store.changes import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.requests import StoredRequest


@dataclass(frozen=True, slots=True)
class Relabelling:
    """What a request is to be labelled with, in place of what it was.

    Attributes:
        managed_fields: as metadata.managedFields has them.
        expected_version: the version that was looked at; None for any.
        dry_run: only as if.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed_fields: tuple[dict[str, Any], ...] = ()
    expected_version: int | None = None
    dry_run: bool = False


def relabel_request(
    authority: Authority, requester: Requester, cluster: str, name: str, wanted: Relabelling
) -> StoredRequest:
    """Change labels and annotations. What has them already stays at its version.

    Raises:
        NotFoundError: there is none of that name.
        PreconditionError: it is not at the expected version.
        InvalidError: a label or annotation cannot be stored.
    """
    check_labels(wanted.labels, wanted.annotations)
    transaction = authority.database.read if wanted.dry_run else authority.database.write
    with transaction() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.DECIDE_REQUEST, cluster, now)
        if not wanted.dry_run:
            counters.hold(connection, found.id, "requests")
        stored = find_request(connection, requester, found, name, lock=not wanted.dry_run)
        check_signer(requester, signer_of(stored.profile))
        check_version(stored, wanted.expected_version)
        changed = replace(
            stored,
            labels=dict(wanted.labels),
            annotations=dict(wanted.annotations),
            managed_fields=wanted.managed_fields,
        )
        if changed == stored or wanted.dry_run:
            return changed
        changed = replace(changed, version=counters.advance(connection, found.id, "requests"))
        requests.change(connection, changed)
        log_changes(connection, ChangeKind.MODIFIED, [changed], now, former=stored)
        record.change(authority, connection, requester, "request.label", stored.name, found.id, {})
    return changed
