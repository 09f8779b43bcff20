"""Who could not get a new certificate any more, in words that people act upon, with the time that is left to them.

Three things keep a holder from renewing: an entry bans what every certificate of the profile holds; an entry bans what
this holder's certificate says; or the certificate is revoked and proves nothing any more, but a new one may be issued.
The first two lock out until the entry ends; with a control plane they are what the guard is for.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from trivet.pki.kubernetes import PROFILES
from trivet.pki.names import DnsName, Names
from trivet.pki.pem import from_der
from trivet.pki.profiles import FROM_REQUEST, Profile, SanPolicy
from trivet.pki.revocation import Entry, EntryKind, Identity, matches
from trivet.pki.subjects import ClusterNames, names_of, service_hosts
from trivet.store import hits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.store.clusters import Cluster
    from trivet.store.hits import Aim, Hit, Total

MOST_NODES: Final = 10  # that are named in a finding
_MOST_ENTRIES: Final = 5
_MOST_READ: Final = 20  # certificates that tell which of several entries names them
_NODE_PROFILES: Final = frozenset({"kubelet-client", "kubelet-serving"})
_PEOPLE: Final = frozenset({"admin", "kube-apiserver-client"})  # to stop them is what a revocation is for
# These pass with the certificate: the same holder may have a new one, with another key.
_OF_ONE_CERTIFICATE: Final = frozenset({EntryKind.SERIAL_NUMBER, EntryKind.PUBLIC_KEY})
# Stands for "all clusters", whose names differ.
_KUBEADM_DEFAULTS: Final = ClusterNames(
    DnsName("localhost"), ipaddress.ip_network("10.96.0.0/12"), DnsName("cluster.local")
)
_WHO: Final = {
    "apiserver": "the API server",
    "apiserver-kubelet-client": "the API server (as a client of kubelets)",
    "apiserver-etcd-client": "the API server (as a client of etcd)",
    "front-proxy-client": "the API server (as a front proxy)",
    "etcd-apiserver": "etcd and the API server",
    "etcd-server": "etcd",
    "etcd-peer": "etcd (towards its peers)",
    "etcd-healthcheck-client": "etcd's health check",
    "controller-manager": "the controller manager",
    "scheduler": "the scheduler",
    "kubelet-client": "the kubelet of every node",
    "kubelet-serving": "the kubelet of every node (as a server)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Holders of certificates of a profile that could not renew.

    Attributes:
        profile: of their certificates.
        detail: who, from when, because of what, and the way out.
        nodes: some of them, as "node of cluster" where all clusters are meant; empty where it is everybody.
        certificates: how many live ones they hold.
        first_end: when the first of these expires; None where there is none.
        locks_out: whether it is a part of a control plane that nobody could give a new certificate.
    """

    profile: str
    detail: str
    nodes: tuple[str, ...] = ()
    certificates: int = 0
    first_end: datetime | None = None
    locks_out: bool = False


def bans(entries: Sequence[Entry], now: datetime) -> list[Entry]:
    """The entries that would keep new certificates from being issued, by whoever."""
    return [entry for entry in entries if entry.covers(now) and entry.kind not in _OF_ONE_CERTIFICATE]


def lockouts(
    connection: Connection, cluster: Cluster | None, aim: Aim, found: Mapping[str, Total]
) -> list[Finding]:
    """Who could not renew.

    Args:
        connection: to read what is live.
        cluster: which one is meant; None for all.
        aim: the entries.
        found: what they hit, by profile.
    """
    return list(_Survey(connection, cluster, aim, found).findings())


@dataclass(frozen=True, slots=True)
class _Survey:
    connection: Connection
    cluster: Cluster | None
    aim: Aim
    found: Mapping[str, Total]

    def findings(self) -> Iterator[Finding]:
        barred = replace(self.aim, entries=bans(self.aim.entries, self.aim.now))
        is_all = len(barred.entries) == len(self.aim.entries)
        hit = self.found if is_all else hits.totals(self.connection, barred)
        for profile in (one for one in PROFILES.values() if one.name not in _PEOPLE):
            total = self.found.get(profile.name)
            identity = _typical_identity(profile, self.cluster)
            culprits = [entry for entry in barred.entries if matches(entry, identity)]
            if culprits:
                yield self._everybody(profile, culprits, total)
                continue
            held = hit.get(profile.name)
            if held is not None:
                yield self._some(profile, barred, held)
            if total is not None and total.count > (held.count if held else 0):
                yield from self._revoked(profile, replace(self.aim, spared=barred.entries))

    def _everybody(self, profile: Profile, culprits: Sequence[Entry], total: Total | None) -> Finding:
        live = f" before {_end(total, 'its certificate')}" if total else ""
        detail = (
            f"{_WHO[profile.name]} of {self._where} could not renew{live}: no {profile.name} certificate could be"
            f" issued, because of {_named(culprits)}; {_way_out(culprits)}"
        )
        finding = Finding(profile.name, detail, locks_out=profile.name not in _NODE_PROFILES)
        return replace(finding, certificates=total.count, first_end=total.first_end) if total else finding

    def _some(self, profile: Profile, aim: Aim, total: Total) -> Finding:
        culprits = self._culprits(profile, aim)
        finding = self._about(profile, aim, total, f"because of {_named(culprits)}; {_way_out(culprits)}")
        return replace(finding, locks_out=profile.name not in _NODE_PROFILES)

    def _revoked(self, profile: Profile, aim: Aim) -> Iterator[Finding]:
        total = hits.totals(self.connection, aim).get(profile.name)
        if total is not None:
            way_out = "an issuer, or a one-time token of a repair, gives its holder a new one"
            yield self._about(profile, aim, total, f"because it would be revoked; {way_out}")

    def _about(self, profile: Profile, aim: Aim, total: Total, ending: str) -> Finding:
        """A finding about some holders, by their nodes where these are noted."""
        hit = hits.by_node(self.connection, aim, MOST_NODES, profile.name)
        nodes = tuple(self._node(one) for one in hit if one.node is not None)
        who = _nodes(nodes, total.nodes) if nodes else "the holder"
        what = (
            f"its {profile.name} certificate"
            if total.count == 1
            else f"{total.count} {profile.name} certificates"
        )
        detail = f"{who} of {self._where} could not renew {what} before {_end(total, 'it')}, {ending}"
        return Finding(profile.name, detail, nodes, total.count, total.first_end)

    def _culprits(self, profile: Profile, aim: Aim) -> list[Entry]:
        """The entries that name the certificates that are hit; of many certificates the newest are asked."""
        if len(aim.entries) == 1:
            return list(aim.entries)
        found = hits.newest(self.connection, aim, _MOST_READ, profile.name)
        held = [Identity(names_of(from_der(one.der)), one.spki_sha256) for one in found]
        return [entry for entry in aim.entries if any(matches(entry, identity) for identity in held)]

    def _node(self, hit: Hit) -> str:
        return f"{hit.node}" if self.cluster is not None else f"{hit.node} ({hit.cluster})"

    @property
    def _where(self) -> str:
        return f"the cluster {self.cluster.name}" if self.cluster else "all clusters"


def _nodes(shown: Sequence[str], count: int) -> str:
    if count == 1:
        return f"node {shown[0]}"
    rest = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"nodes {', '.join(shown)}{rest}"


def _end(total: Total, single: str) -> str:
    which = single if total.count == 1 else f"the first of {total.count}"
    return f"{which} expires at {_time(total.first_end)}"


def _named(entries: Sequence[Entry]) -> str:
    shown = ", ".join(f"{entry.kind} {entry.value}" for entry in entries[:_MOST_ENTRIES])
    rest = len(entries) - _MOST_ENTRIES
    return f"{shown} and {rest} more" if rest > 0 else shown


def _way_out(culprits: Sequence[Entry]) -> str:
    ends = [entry.not_before for entry in culprits if entry.not_before is not None]
    if len(ends) < len(culprits):
        return "give the entry a notBefore to be able to repair"
    return f"the entry's notBefore ends this at {_time(max(ends))}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


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
