"""What a revocation would do: whom it hits now, whom it bans from now on, and whether that is a lock-out."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.authority.access import Permission, Requester, authorize, authorized_cluster
from trivet.authority.once import fingerprint
from trivet.pki.kubernetes import PROFILES
from trivet.pki.manifest import render_entry
from trivet.pki.names import DnsName, Names
from trivet.pki.profiles import FROM_REQUEST, Profile, SanPolicy
from trivet.pki.revocation import EntryKind, Identity, matches
from trivet.pki.subjects import ClusterNames, service_hosts
from trivet.store import marking, revocations
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.pki.revocation import Entry
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster

NODE_PROFILES = ("kubelet-client", "kubelet-serving")
_PEOPLE = ("admin", "kube-apiserver-client")
# Stands for "all clusters", whose names differ.
_KUBEADM_DEFAULTS = ClusterNames(
    DnsName("localhost"), ipaddress.ip_network("10.96.0.0/12"), DnsName("cluster.local")
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen.

    Attributes:
        hits: how many live certificates would be revoked, by profile and node.
        sample: the newest of them.
        banned: what could no longer be issued, and until when.
        warnings: lock-outs in plain words.
        locks_out: whether some part of a control plane could not renew.
        token: confirms to the lock-out guard that this preview was read; good until the set changes.
    """

    hits: Sequence[tuple[str, str | None, int]]
    sample: Sequence[StoredCertificate]
    banned: Sequence[str]
    warnings: Sequence[str]
    locks_out: bool
    token: str

    @property
    def count(self) -> int:
        """How many live certificates would be revoked."""
        return sum(count for _, _, count in self.hits)


def preview_revocation(
    authority: Authority, requester: Requester, cluster: str | None, revocation: RenewRevocation
) -> Preview:
    """Tell what a RenewRevocation would do, and do nothing. Without a cluster: in all clusters."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.PREVIEW_REVOCATION, cluster, now)
        return look_ahead(connection, found, revocation, now)


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
) -> Preview:
    """The preview, within a transaction."""
    scope = cluster.id if cluster else ALL_CLUSTERS
    hits, sample = marking.named_by(connection, revocation.entries, scope, now)
    bans = [entry for entry in revocation.entries if entry.covers(now)]
    banned = (
        hits if len(bans) == len(revocation.entries) else marking.named_by(connection, bans, scope, now)[0]
    )
    live = {profile for profile, _, _ in banned}
    findings = list(_findings(bans, cluster, live))
    return Preview(
        hits=hits,
        sample=sample,
        banned=[_ban(entry) for entry in bans if entry.kind is not EntryKind.SERIAL_NUMBER],
        warnings=[text for text, _ in findings],
        locks_out=any(is_control_plane for _, is_control_plane in findings),
        token=_token(connection, scope, revocation),
    )


def _ban(entry: Entry) -> str:
    until = (
        f"until {entry.not_before:%Y-%m-%dT%H:%M:%SZ}" if entry.not_before else "until the entry is deleted"
    )
    return f"{entry.kind} {entry.value}, {until}"


def _findings(bans: Sequence[Entry], cluster: Cluster | None, live: set[str]) -> Iterator[tuple[str, bool]]:
    """Each lock-out in words, and whether it concerns the control plane."""
    where = f"the cluster {cluster.name}" if cluster else "all clusters"
    for profile in PROFILES.values():
        if profile.name in _PEOPLE:
            continue
        identity = _typical_identity(profile, cluster)
        culprits = [entry for entry in bans if matches(entry, identity)]
        if culprits:
            named = ", ".join(f"{entry.kind} {entry.value}" for entry in culprits)
            text = f"no {profile.name} certificate could be issued or renewed in {where}, because of {named}"
        elif profile.name in live:
            culprits = [entry for entry in bans if entry.kind is not EntryKind.SERIAL_NUMBER]
            text = f"some live {profile.name} certificates in {where} could not be renewed"
        else:
            continue
        yield f"{text}; {_way_out(culprits)}", bool(culprits) and profile.name not in NODE_PROFILES


def _way_out(culprits: Sequence[Entry]) -> str:
    ends = [entry.not_before for entry in culprits if entry.not_before is not None]
    if not culprits:
        return "an issuer can give their holders new ones"
    if len(ends) < len(culprits):
        return "give the entry a notBefore to be able to repair"
    return f"the entry's notBefore ends this at {max(ends):%Y-%m-%dT%H:%M:%SZ}"


def _typical_identity(profile: Profile, cluster: Cluster | None) -> Identity:
    """What every certificate of the profile holds, whichever its node."""
    organizations = (profile.organization,) if profile.organization not in {None, FROM_REQUEST} else ()
    common_name = profile.common_name if "{" not in profile.common_name else "\N{REPLACEMENT CHARACTER}"
    if profile.sans is not SanPolicy.API_SERVER:
        return Identity(Names(common_name, tuple(filter(None, organizations))), "")
    hosts = service_hosts(cluster.names if cluster else _KUBEADM_DEFAULTS)
    hosts += (cluster.names.endpoint,) if cluster else ()
    names = tuple(host for host in hosts if isinstance(host, str))
    addresses = tuple(host for host in hosts if not isinstance(host, str))
    return Identity(Names(common_name, (), names, addresses), "")


def _token(connection: Connection, scope: UUID, revocation: RenewRevocation) -> str:
    entries = json.dumps([render_entry(entry) for entry in revocation.entries], sort_keys=True)
    versions = revocations.versions(connection, {scope})
    return fingerprint("preview", scope, versions[scope], revocation.namespace, revocation.name, entries)
