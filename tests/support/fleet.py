"""A small cluster as the use cases see it: a control plane and workers, each with the certificates that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.world import World

from trivet.authority.access import Requester
from trivet.authority.authenticate import authenticate_token
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import IssuedCertificate, issue
from trivet.authority.record import list_changes
from trivet.authority.repair import close_repair, open_repair, repair_progress
from trivet.authority.repairs.survey import Progress
from trivet.authority.repairs.tokens import create_repair_token
from trivet.client.keys import PrivateKey, build_request, new_key
from trivet.pki.errors import Refusal
from trivet.pki.keys import KeyAlgorithm
from trivet.store.audit import AuditRecord
from trivet.store.certificates import StoredCertificate

ETCD = ("etcd-server", "etcd-peer", "etcd-healthcheck-client")
API_SERVER = (
    "apiserver",
    "apiserver-kubelet-client",
    "apiserver-etcd-client",
    "front-proxy-client",
)
REST = ("controller-manager", "scheduler", "admin", "kubelet-client", "kubelet-serving")
CONTROL_PLANE = (
    *REST,
    *API_SERVER,
    *ETCD,
)  # in the wrong order, so that the right one is not there by chance
WORKER = ("kubelet-client", "kubelet-serving")
WORKERS = ("worker-1", "worker-2", "worker-3")
_HOSTS = {"kubelet-serving", "etcd-server", "etcd-peer", "etcd-apiserver"}


def new_request(
    profile: str = "", node: str | None = None, hosts: tuple[str, ...] = (), key: PrivateKey | None = None
) -> bytes:
    """A request with a key that nothing has yet; with the least names that the profile needs."""
    named = hosts or ((node,) if profile in _HOSTS and node else ())
    return build_request(key or new_key(KeyAlgorithm.ED25519), hosts=named)


@dataclass
class Fleet:
    """What the nodes of a cluster hold, by (node, profile)."""

    world: World
    held: dict[tuple[str, str], StoredCertificate] = field(default_factory=dict)
    cluster: str = "blue"

    @classmethod
    def provisioned(cls, world: World) -> Fleet:
        """Issue everything to a control plane and three workers."""
        fleet = cls(world)
        for profile in CONTROL_PLANE:
            fleet.provision("cp-1", profile)
        for node in WORKERS:
            for profile in WORKER:
                fleet.provision(node, profile)
        return fleet

    def provision(self, node: str, profile: str) -> StoredCertificate:
        issued = self.world.issue(profile, node, request=new_request(profile, node))
        self.held[node, profile] = issued.stored
        return issued.stored

    def renew(self, node: str, profile: str) -> IssuedCertificate:
        """Renew by the key of the certificate that the node holds, as its agent does."""
        issued = self.world.renew(self.held[node, profile], request=new_request())
        self.held[node, profile] = issued.stored
        return issued

    def try_all(self) -> dict[tuple[str, str], str]:
        """Let every agent try once; what each was told: `issued`, or the slug of the refusal."""
        told = {}
        for node, profile in list(self.held):
            try:
                self.renew(node, profile)
                told[node, profile] = "issued"
            except Refusal as refusal:
                told[node, profile] = refusal.slug
        return told

    def open(self, **choices: object) -> Progress:
        return open_repair(self.world.authority, OPERATOR, self.cluster, **choices)  # type: ignore[arg-type]

    def close(self, opened: Progress) -> None:
        close_repair(self.world.authority, OPERATOR, self.cluster, opened.window.id)

    def audited(self, action: str) -> list[AuditRecord]:
        """The records of an action, oldest first."""
        found = list_changes(self.world.authority, OPERATOR, None, 1000)
        return [one for one in reversed(found) if one.action == action]

    def progress(self, opened: Progress) -> Progress:
        return repair_progress(self.world.authority, OPERATOR, self.cluster, opened.window.id)

    def token(self, opened: Progress, node: str) -> str:
        return create_repair_token(self.world.authority, OPERATOR, self.cluster, opened.window.id, node)[1]

    def bearer(self, secret: str) -> Requester:
        return authenticate_token(self.world.authority, secret)

    def by_token(
        self,
        secret: str,
        node: str | None,
        profile: str,
        *,
        hosts: tuple[str, ...] = (),
        key: PrivateKey | None = None,
        requester: Requester | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedCertificate:
        """Ask with a one-time token."""
        body = new_request(profile, node, hosts, key)
        wish = Issuance("blue", profile, body, node, idempotency_key=idempotency_key)
        issued = issue(self.world.authority, requester or self.bearer(secret), wish)
        if node is not None:
            self.held[node, profile] = issued.stored
        return issued

    def of_stage(self, profiles: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        return (place for place in self.held if place[1] in profiles)


def states(progress: Progress) -> dict[str, str]:
    """How each stage stands."""
    return {turn.stage.value: turn.state for turn in progress.turns}


def plights(progress: Progress) -> dict[tuple[str | None, str], str]:
    """How each identity stands that is not fresh."""
    return {(one.held.node, one.held.profile): one.plight.value for one in progress.pending}


def kinds(progress: Progress) -> list[str]:
    """What bars the way."""
    return [bar.kind.value for bar in progress.bars]
