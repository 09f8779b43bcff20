"""What a revocation would do: whom it hits now, whom it bans from now on, and whether that is a lock-out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, Requester, authorize, authorized_cluster
from trivet.authority.once import fingerprint
from trivet.authority.revocations.lockouts import Finding, lockouts
from trivet.pki.manifest import render_entry
from trivet.pki.revocation import EntryKind
from trivet.store import hits, revocations
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.hits import Aim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.pki.revocation import Entry
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster
    from trivet.store.hits import Hit, Total

SAMPLE: Final = 20
MOST_HITS: Final = 1_000
"""How many (profile, node) a preview lists; its totals by profile count all."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to beware of.

    Attributes:
        findings: who could not renew, in words.
        token: confirms to the lock-out guard that this was read; good until the set, or who is locked out, changes.
    """

    findings: Sequence[Finding]
    token: str

    @property
    def warnings(self) -> list[str]:
        """The findings in words."""
        return [finding.detail for finding in self.findings]

    @property
    def locks_out(self) -> bool:
        """Whether some part of a control plane could not renew."""
        return any(finding.locks_out for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen.

    Attributes:
        profiles: how many live certificates would be revoked, by profile.
        hits: the same by profile and node; MOST_HITS of them.
        has_more_hits: whether there are more than these.
        by_lineage: how many are hit only because they were renewed from a serial that is named.
        sample: the newest of them.
        banned: what could no longer be issued, and until when.
        outlook: lock-outs, and the token.
    """

    profiles: Sequence[Total]
    hits: Sequence[Hit]
    has_more_hits: bool
    by_lineage: int
    sample: Sequence[StoredCertificate]
    banned: Sequence[str]
    outlook: Outlook

    @property
    def count(self) -> int:
        """How many live certificates would be revoked."""
        return sum(total.count for total in self.profiles)


def preview_revocation(
    authority: Authority, requester: Requester, cluster: str | None, revocation: RenewRevocation
) -> Preview:
    """Tell what a RenewRevocation would do, and do nothing. Without a cluster: in all clusters."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.PREVIEW_REVOCATION, cluster, now)
        aim = Aim(revocation.entries, found.id if found else ALL_CLUSTERS, now)
        totals = hits.totals(connection, aim)
        listed = hits.by_node(connection, aim, MOST_HITS + 1)
        return Preview(
            profiles=list(totals.values()),
            hits=listed[:MOST_HITS],
            has_more_hits=len(listed) > MOST_HITS,
            by_lineage=_by_lineage(connection, aim, totals),
            sample=hits.newest(connection, aim, SAMPLE),
            banned=[_ban(entry) for entry in aim.entries if _bans_names(entry, now)],
            outlook=_outlook(connection, found, revocation, aim, totals),
        )


def scope_cluster(
    connection: Connection, requester: Requester, permission: Permission, cluster: str | None, now: datetime
) -> Cluster | None:
    """The cluster that is meant; None for all clusters, which takes a permission for all.

    Raises:
        NotFoundError, AccessDeniedError: as `access.authorized_cluster`.
    """
    if cluster is None:
        authorize(requester, permission, None, now)
        return None
    return authorized_cluster(connection, requester, permission, cluster, now)


def look_ahead(
    connection: Connection, cluster: Cluster | None, revocation: RenewRevocation, now: datetime
) -> Outlook:
    """What to beware of, within a transaction."""
    aim = Aim(revocation.entries, cluster.id if cluster else ALL_CLUSTERS, now)
    return _outlook(connection, cluster, revocation, aim, hits.totals(connection, aim))


def _outlook(
    connection: Connection,
    cluster: Cluster | None,
    revocation: RenewRevocation,
    aim: Aim,
    totals: Mapping[str, Total],
) -> Outlook:
    findings = lockouts(connection, cluster, aim, totals)
    return Outlook(findings, _token(connection, aim.scope, revocation, findings))


def _by_lineage(connection: Connection, aim: Aim, totals: Mapping[str, Total]) -> int:
    if not any(entry.kind is EntryKind.SERIAL_NUMBER and entry.include_renewed for entry in aim.entries):
        return 0
    themselves = replace(aim, entries=[replace(entry, include_renewed=False) for entry in aim.entries])
    without = sum(total.count for total in hits.totals(connection, themselves).values())
    return sum(total.count for total in totals.values()) - without


def _bans_names(entry: Entry, now: datetime) -> bool:
    return entry.covers(now) and entry.kind is not EntryKind.SERIAL_NUMBER


def _ban(entry: Entry) -> str:
    until = (
        f"until {entry.not_before:%Y-%m-%dT%H:%M:%SZ}" if entry.not_before else "until the entry is deleted"
    )
    return f"{entry.kind} {entry.value}, {until}"


def _token(
    connection: Connection, scope: UUID, revocation: RenewRevocation, findings: Sequence[Finding]
) -> str:
    entries = json.dumps([render_entry(entry) for entry in revocation.entries], sort_keys=True)
    versions = revocations.versions(connection, {scope})
    # Whoever confirmed has read who is locked out; a control plane that came since was not among them.
    locked_out = sorted((finding.profile, finding.nodes) for finding in findings if finding.locks_out)
    asked = (scope, versions[scope], revocation.namespace, revocation.name, entries, locked_out)
    return fingerprint("preview", *asked)
