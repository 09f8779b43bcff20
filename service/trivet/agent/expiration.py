"""When what a node holds expires: `kubeadm certs check-expiration`, by the plan or by what is found there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.agent.files import FileFaultError
from trivet.agent.inspection import State, bundles_on_disk, examine, examine_bundle, is_issued_by
from trivet.agent.plan import parse_plan
from trivet.agent.plan.builtin import Choices, built_in_plan
from trivet.pki.profiles import AuthorityName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trivet.agent.files import NodeFiles
    from trivet.agent.inspection import Finding
    from trivet.agent.plan import CertificatePlan

FIT: Final = frozenset({State.GOOD, State.ATTRIBUTES})
"""States in which a certificate can be used."""

_OF_A_CONTROL_PLANE: Final = ("apiserver", "admin", "controller-manager")
_OF_A_MEMBER: Final = ("etcd-server", "etcd-peer")


@dataclass(frozen=True, slots=True)
class Expirations:
    """What a node holds, and when it expires.

    Attributes:
        certificates: those of the plan, in its order.
        authorities: the trust bundles.
    """

    certificates: Sequence[Finding]
    authorities: Sequence[Finding]

    @property
    def unfit(self) -> tuple[Finding, ...]:
        """Those that cannot be used: missing, expired, torn, of another name or CA."""
        return tuple(found for found in (*self.certificates, *self.authorities) if found.state not in FIT)


def expirations(
    files: NodeFiles, plan: CertificatePlan, now: datetime, *, with_names: bool = True
) -> Expirations:
    """Look at everything that a plan lists; nothing is asked of the service, nothing is changed."""
    bundles = bundles_on_disk(files, plan)
    return Expirations(
        [examine(files, planned, now, bundles, with_names=with_names) for planned in plan.certificates],
        [examine_bundle(files, planned, now) for planned in plan.trust_bundles],
    )


def found_layout(files: NodeFiles) -> CertificatePlan | None:
    """The built-in plan that a node without a plan follows; None where it holds nothing of any.

    Names are not known then: `expirations` is to be asked `with_names=False`.
    """
    control_plane = _layout("control-plane")
    if any(_is_there(files, control_plane, name) for name in _OF_A_CONTROL_PLANE):
        return (
            _layout("control-plane-aks")
            if _has_etcd_of_the_cluster_ca(files, control_plane)
            else control_plane
        )
    for name, certificates in (("etcd-member", _OF_A_MEMBER), ("worker", ("kubelet-client",))):
        plan = _layout(name)
        if any(_is_there(files, plan, certificate) for certificate in certificates):
            return plan
    return None


def _layout(name: str) -> CertificatePlan:
    return parse_plan(built_in_plan(name, Choices("cluster", "node", "endpoint", ("192.0.2.1",))).encode())


def _is_there(files: NodeFiles, plan: CertificatePlan, name: str) -> bool:
    return any(files.place(file.path).exists() for file in plan.certificate(name).files)


def _has_etcd_of_the_cluster_ca(files: NodeFiles, plan: CertificatePlan) -> bool:
    bundle = bundles_on_disk(files, plan).get(AuthorityName.CLUSTER)
    try:
        pair = files.read(plan.certificate("etcd-server"))
    except FileFaultError:
        return False
    return bundle is not None and pair is not None and is_issued_by(pair.certificate, bundle)
