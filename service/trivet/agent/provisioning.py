"""Making all that a plan lists: what is good stays, what is not is made, and a second run changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from trivet.agent.asking import ByToken, ask, cluster_names, key_for
from trivet.agent.files import FileFaultError
from trivet.agent.files.pairs import read_chain
from trivet.agent.inspection import State, examine, is_issued_by
from trivet.agent.plan.model import KubeconfigStorage
from trivet.agent.steps import DOING, Action, Step
from trivet.pki.profiles import AuthorityName, SanPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from trivet.agent.asking import Source
    from trivet.agent.files import NodeFiles
    from trivet.agent.inspection import Bundles, Finding
    from trivet.agent.plan.model import (
        CertificatePlan,
        PlannedBundle,
        PlannedCertificate,
        PlannedFile,
        PlannedKubeconfig,
        ServiceAccountKey,
    )
    from trivet.client import Client
    from trivet.pki.subjects import ClusterNames

_MISSING: Final = "it is missing"


def needed_authorities(plan: CertificatePlan) -> tuple[AuthorityName, ...]:
    """The authorities whose trust bundles provisioning needs for a plan."""
    needed = {planned.authority for planned in plan.certificates}
    needed |= {planned.authority for planned in plan.trust_bundles}
    if plan.kubeconfigs:
        needed.add(AuthorityName.CLUSTER)
    if any(isinstance(planned.storage, KubeconfigStorage) for planned in plan.certificates):
        needed.add(AuthorityName.CLUSTER)
    return tuple(name for name in AuthorityName if name in needed)


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Everything that provisioning needs.

    Attributes:
        files: of the node.
        plan: what should be there.
        source: where certificates come from.
        bundles: the authorities' trust bundles as the service gives them; those that `needed_authorities` names.
        now: the clock.
        cluster_names: asks the service what the cluster's API servers are named after.
    """

    files: NodeFiles
    plan: CertificatePlan
    source: Source
    bundles: Bundles
    now: Callable[[], datetime]
    cluster_names: Callable[[], ClusterNames]

    @classmethod
    def by_token(
        cls, trivet: Client, plan: CertificatePlan, files: NodeFiles, now: Callable[[], datetime]
    ) -> Provisioning:
        """With the access token of a client; the trust bundles are fetched at once.

        Raises:
            ClientError: the service refused, or did not answer.
        """
        bundles = {name: trivet.clusters.bundle(plan.cluster, name) for name in needed_authorities(plan)}
        return cls(
            files, plan, ByToken(trivet, plan), bundles, now, partial(cluster_names, trivet, plan.cluster)
        )

    def steps(self) -> list[Step]:
        """What is to be done, in order: trust first, because kubeconfigs hold it."""
        plan, account = self.plan, self.plan.service_account
        return [
            *(self._checked(self._bundle(planned), planned.file) for planned in plan.trust_bundles),
            *(self._checked(self._certificate(planned), *planned.files) for planned in plan.certificates),
            *(self._checked(self._kubeconfig(planned), planned.file) for planned in plan.kubeconfigs),
            *(
                [self._checked(self._service_account(account), account.key, account.public_key)]
                if account
                else []
            ),
        ]

    def _checked(self, step: Step, *files: PlannedFile) -> Step:
        """The step; a refusal where the plan gives its files to nobody of this machine."""
        if step.action not in DOING:
            return step
        try:
            self.files.check_owners(*files)
        except FileFaultError as fault:
            return Step(step.kind, step.name, step.path, Action.REFUSE, str(fault))
        return step

    def _bundle(self, planned: PlannedBundle) -> Step:
        pem = self.bundles[planned.authority]
        action, reason = self._compared(planned, pem)
        carry_out = (lambda: self.files.install_bundle(planned, pem)) if action in DOING else None
        return Step(
            "trustBundle", planned.name, str(planned.file.path), action, reason, planned.hook, carry_out
        )

    def _compared(self, planned: PlannedBundle, pem: bytes) -> tuple[Action, str]:
        try:
            present = self.files.read_bundle(planned)
            if present is None:
                return Action.MAKE, _MISSING
            if present == pem:
                words = self.files.bundle_differences(planned)
                return (Action.CHANGE, words[0]) if words else (Action.KEEP, "")
            known = set(read_chain(present))
        except FileFaultError as fault:
            return Action.REFUSE, str(fault)
        except ValueError:
            return Action.REPLACE, "it cannot be read"
        if known.isdisjoint(read_chain(pem)):
            # Certificates of another CA would put this node out of its cluster.
            foreign = f"it holds none of the {planned.authority} CAs of the cluster {self.plan.cluster}"
            return Action.REFUSE, f"{foreign}: is this the right cluster? If so, move the file away first"
        return Action.REPLACE, "the authority has another set of CA certificates"

    def _is_foreign(self, authority: AuthorityName) -> bool:
        planned = self.plan.bundle_of(authority)
        return planned is not None and self._compared(planned, self.bundles[authority])[0] is Action.REFUSE

    def _certificate(self, planned: PlannedCertificate) -> Step:
        found = examine(self.files, planned, self.now(), self.bundles)
        kind = "kubeconfig" if isinstance(planned.storage, KubeconfigStorage) else "certificate"
        if found.state is State.GOOD:
            return Step(kind, planned.name, found.path, Action.KEEP)
        if found.state is State.INACCESSIBLE:
            return Step(kind, planned.name, found.path, Action.REFUSE, found.reason)
        if self._is_foreign(planned.authority):
            words = (
                f"the trust bundle of {planned.authority} on this node is refused, so nothing of it is made"
            )
            return Step(kind, planned.name, found.path, Action.REFUSE, words)
        if found.state is State.ATTRIBUTES:
            return self._changed(kind, planned, found)
        words = self._misnamed(planned)
        if words:
            return Step(kind, planned.name, found.path, Action.REFUSE, words)
        is_new = found.state is State.MISSING
        action, reason = (Action.MAKE, _MISSING) if is_new else (Action.REPLACE, found.reason)
        return Step(
            kind, planned.name, found.path, action, reason, planned.hook, lambda: self._issue(planned)
        )

    def _misnamed(self, planned: PlannedCertificate) -> str:
        """How the plan names API servers otherwise than the service does, in words; "" where it does not."""
        if planned.profile.sans is not SanPolicy.API_SERVER or self.plan.cluster_names is None:
            return ""
        theirs, ours = self.cluster_names(), self.plan.cluster_names
        differences = [
            f"{field} is {wanted}, and in Trivet {known}"
            for field, wanted, known in (
                ("controlPlaneEndpoint", ours.endpoint, theirs.endpoint),
                ("networking.serviceSubnet", ours.service_cidr, theirs.service_cidr),
                ("networking.dnsDomain", ours.dns_domain, theirs.dns_domain),
            )
            if wanted != known
        ]
        where = f"the API servers of the cluster {self.plan.cluster} have other names than the plan says"
        return f"{where}: {'; '.join(differences)}" if differences else ""

    def _changed(self, kind: str, planned: PlannedCertificate, found: Finding) -> Step:
        """The pair is good; only owner, mode, server or bundle are not."""
        pair = found.pair

        def carry_out() -> None:
            if pair is not None:
                self.files.install(planned, pair, self._cluster_bundle(planned))

        return Step(kind, planned.name, found.path, Action.CHANGE, found.reason, planned.hook, carry_out)

    def _cluster_bundle(self, planned: PlannedCertificate) -> bytes | None:
        embeds = isinstance(planned.storage, KubeconfigStorage)
        return self.bundles.get(AuthorityName.CLUSTER) if embeds else None

    def _issue(self, planned: PlannedCertificate) -> None:
        # Space and permission first: what was issued must not be lost for want of them.
        self.files.rehearse(planned)
        pair = ask(self.source, planned, key_for(self.files, planned))
        bundle = self.bundles.get(planned.authority)
        if bundle is not None and not is_issued_by(pair.certificate, bundle):
            message = (
                f"what the service gave was not signed by its own {planned.authority} CA; nothing was changed"
            )
            raise ValueError(message)
        self.files.install(planned, pair, self._cluster_bundle(planned))

    def _kubeconfig(self, planned: PlannedKubeconfig) -> Step:
        path, bundle = str(planned.file.path), self.bundles[AuthorityName.CLUSTER]
        if self._is_foreign(AuthorityName.CLUSTER):
            return Step(
                "kubeconfig", planned.name, path, Action.REFUSE, "the Cluster CA on this node is refused"
            )
        try:
            if self.files.kubeconfig_is_current(planned, bundle):
                return Step("kubeconfig", planned.name, path, Action.KEEP)
            is_there = self.files.place(planned.file.path).exists()
        except FileFaultError as fault:
            return Step("kubeconfig", planned.name, path, Action.REFUSE, str(fault))
        action = Action.CHANGE if is_there else Action.MAKE
        reason = "it says other than the plan" if is_there else _MISSING

        def carry_out() -> object:
            return self.files.install_kubeconfig(planned, bundle)

        return Step("kubeconfig", planned.name, path, action, reason, planned.hook, carry_out)

    def _service_account(self, planned: ServiceAccountKey) -> Step:
        kind, path = "serviceAccountKey", str(planned.key.path)
        try:
            reason = self.files.service_account_fault(planned)
        except FileFaultError as fault:
            return Step(kind, "sa", path, Action.REFUSE, str(fault))
        if reason is None:
            return Step(kind, "sa", path, Action.KEEP)
        action = Action.CHANGE if self.files.place(planned.key.path).exists() else Action.MAKE
        return Step(
            kind, "sa", path, action, reason, None, lambda: self.files.install_service_account(planned)
        )
