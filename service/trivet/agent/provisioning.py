"""Making all that a plan lists: what is good stays, what is not is made, and a second run changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from trivet.agent.asking import NotAskedError, ask, key_for
from trivet.agent.files import FileFaultError
from trivet.agent.files.pairs import read_chain
from trivet.agent.inspection import State, examine, is_issued_by
from trivet.agent.plan.model import Hook, KubeconfigStorage
from trivet.client.errors import ClientError, UnreachableError
from trivet.pki.profiles import AuthorityName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from trivet.agent.asking import Source
    from trivet.agent.files import NodeFiles
    from trivet.agent.inspection import Bundles, Finding
    from trivet.agent.plan.model import (
        CertificatePlan,
        PlannedBundle,
        PlannedCertificate,
        PlannedKubeconfig,
        ServiceAccountKey,
    )


class Action(StrEnum):
    """What is done to one planned thing."""

    MAKE = "make"
    REPLACE = "replace"
    CHANGE = "change"
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Step:
    """One planned thing, what is to be done to it, and why.

    Attributes:
        kind: `certificate`, `kubeconfig`, `trustBundle` or `serviceAccountKey`.
        name: as the plan calls it.
        path: its file, as on the node.
        action: what is to be done.
        reason: why, in words; "" for what is kept.
        hook: to run once it is done.
        carry_out: does it; None for what is kept or refused.
    """

    kind: str
    name: str
    path: str
    action: Action
    reason: str = ""
    hook: Hook | None = None
    carry_out: Callable[[], object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step; `fault` says in words why it failed, and is None where it did not."""

    step: Step
    is_done: bool
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Everything that provisioning needs.

    Attributes:
        files: of the node.
        plan: what should be there.
        source: where certificates come from.
        bundles: the authorities' trust bundles as the service gives them.
        now: the clock.
    """

    files: NodeFiles
    plan: CertificatePlan
    source: Source
    bundles: Bundles
    now: Callable[[], datetime]

    def steps(self) -> list[Step]:
        """What is to be done, in order: trust first, because kubeconfigs hold it."""
        return [
            *(self._bundle(planned) for planned in self.plan.trust_bundles),
            *(self._certificate(planned) for planned in self.plan.certificates),
            *(self._kubeconfig(planned) for planned in self.plan.kubeconfigs),
            *([self._service_account(self.plan.service_account)] if self.plan.service_account else []),
        ]

    def _bundle(self, planned: PlannedBundle) -> Step:
        pem = self.bundles[planned.authority]
        action, reason = self._compared(planned, pem)
        carry_out = (lambda: self.files.install_bundle(planned, pem)) if action in _DOING else None
        return Step(
            "trustBundle", planned.name, str(planned.file.path), action, reason, planned.hook, carry_out
        )

    def _compared(self, planned: PlannedBundle, pem: bytes) -> tuple[Action, str]:
        try:
            present = self.files.read_bundle(planned)
            if present is None:
                return Action.MAKE, "it is missing"
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
        action = Action.MAKE if found.state is State.MISSING else Action.REPLACE
        return Step(
            kind, planned.name, found.path, action, found.reason, planned.hook, lambda: self._issue(planned)
        )

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
        reason = "it says other than the plan" if is_there else "it is missing"

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


_DOING = frozenset({Action.MAKE, Action.REPLACE, Action.CHANGE})


def carry_out(steps: list[Step]) -> Iterator[Outcome]:
    """Do what is to be done, one step after the other; one that fails leaves the others their turn.

    Where the service cannot be reached the rest is not tried: each would wait in vain.
    """
    unreachable: str | None = None
    for step in steps:
        if step.action is Action.REFUSE:
            yield Outcome(step, is_done=False, fault=step.reason)
        elif step.carry_out is None:
            yield Outcome(step, is_done=False)
        elif unreachable is not None:
            yield Outcome(step, is_done=False, fault=f"not tried: {unreachable}")
        else:
            fault = None
            try:
                step.carry_out()
            except UnreachableError as error:
                unreachable = fault = str(error)
            except (ClientError, FileFaultError, NotAskedError, ValueError) as error:
                fault = str(error)
            yield Outcome(step, is_done=fault is None, fault=fault)
