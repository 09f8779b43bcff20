"""A new node's first certificates: by a bootstrap token its client certificate, and by that what a kubelet may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.agent.asking import NotAskedError, ask, key_for, seconds_of
from trivet.agent.expiration import FIT
from trivet.agent.inspection import bundles_on_disk, examine, is_issued_by
from trivet.client.requests import DECIDED

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.plan.model import CertificatePlan, PlannedCertificate
    from trivet.client import Client

_CLIENT: Final = "kubelet-client"
_OF_A_NODE: Final = frozenset({_CLIENT, "kubelet-serving"})


@dataclass(frozen=True, slots=True)
class ByRequest:
    """By certificate requests, which a rule or an approver approves.

    Attributes:
        trivet: with a bootstrap token, or with the node's own client certificate.
        plan: of the node.
        seconds: how long to wait for an approver.
    """

    trivet: Client
    plan: CertificatePlan
    seconds: float

    def certificate_for(self, planned: PlannedCertificate, request: bytes) -> str:
        """Submit a request, and wait until it is decided."""
        if planned.profile.name not in _OF_A_NODE:
            message = (
                f"a node by itself gets {' and '.join(sorted(_OF_A_NODE))} only; {planned.profile.name} takes an"
                " access token of the role issuer"
            )
            raise NotAskedError(message)
        requests, cluster = self.trivet.requests, self.plan.cluster
        found = requests.submit(
            cluster,
            planned.profile.name,
            request,
            node=planned.node,
            expiration_seconds=seconds_of(planned),
        )
        if found["state"] not in DECIDED:
            found = requests.wait(cluster, found["name"], self.seconds)
        if found["state"] != "issued":
            message = f"the certificate request {found['name']} is {found['state']}: {found['reason']}"
            raise NotAskedError(message)
        return requests.certificate(cluster, found["name"])["certificate"]


def client_certificate(files: NodeFiles, plan: CertificatePlan, now: datetime) -> KeyPair | None:
    """The node's own client certificate, if it is in place and can be used.

    Raises:
        NotAskedError: the plan lists none.
    """
    found = examine(files, _planned(plan), now, bundles_on_disk(files, plan))
    return found.pair if found.state in FIT else None


def join(files: NodeFiles, plan: CertificatePlan, source: ByRequest) -> KeyPair:
    """Get the node's own client certificate, and put it in place.

    Raises:
        NotAskedError: the plan lists none, or the request is not approved.
        ClientError: the service refused, or did not answer.
        FileFaultError: it could not be put in place.
        ValueError: what came is not what was asked for.
    """
    planned = _planned(plan)
    files.rehearse(planned)
    pair = ask(source, planned, key_for(files, planned))
    bundle = bundles_on_disk(files, plan).get(planned.authority)
    if bundle is not None and not is_issued_by(pair.certificate, bundle):
        message = "what the service gave was not signed by the Cluster CA of this node; nothing was changed"
        raise ValueError(message)
    files.install(planned, pair)
    return pair


def _planned(plan: CertificatePlan) -> PlannedCertificate:
    for planned in plan.certificates:
        if planned.profile.name == _CLIENT:
            return planned
    message = f"a bootstrap token gives a {_CLIENT} certificate, and the plan lists none"
    raise NotAskedError(message)
