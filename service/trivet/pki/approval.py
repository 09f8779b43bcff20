"""Which certificate requests are approved by rule. A row, not a branch; what has no row waits for a person.

Source: Kubernetes' `pkg/controller/certificates/approver/sarapprove.go` (nodeclient and selfnodeclient).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from trivet.pki.kubernetes import NODE_GROUP, NODE_PREFIX

if TYPE_CHECKING:
    from trivet.pki.inventory import Owned
    from trivet.pki.names import Names


class SubmitterKind(StrEnum):
    """How whoever submits a request was authenticated."""

    BOOTSTRAP = "a bootstrap token"
    NODE = "a kubelet client certificate"
    TOKEN = "an access token"  # noqa: S105  a kind, not a secret


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits: the node is that of the certificate, or the one a bootstrap token is bound to, if any."""

    kind: SubmitterKind
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of request that needs no person."""

    name: str
    submitter: SubmitterKind
    profile: str
    serving: bool


RULES = (
    Rule("nodeclient", SubmitterKind.BOOTSTRAP, "kubelet-client", serving=False),
    Rule("selfnodeclient", SubmitterKind.NODE, "kubelet-client", serving=False),
    Rule("serving-by-inventory", SubmitterKind.NODE, "kubelet-serving", serving=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rule that approves, or None, and the reason in words for whoever waits."""

    rule: str | None
    reason: str


def judge_request(
    submitter: Submitter, profile: str, node: str | None, names: Names, owned: Owned
) -> Verdict:
    """Approve by the first rule that fits, or say why the request waits.

    Args:
        submitter: who asks.
        profile: for which.
        node: for which node.
        names: what the certificate request itself holds: nothing in it may be more than the profile gives.
        owned: what that node owns.
    """
    for rule in RULES:
        if (rule.submitter, rule.profile) == (submitter.kind, profile):
            obstacle = _obstacle(rule, submitter, node, names, owned)
            return (
                Verdict(None, obstacle) if obstacle else Verdict(rule.name, f"approved by rule {rule.name}")
            )
    reason = f"no rule approves the profile {profile} by {submitter.kind}; an approver decides"
    return Verdict(None, reason)


def _obstacle(rule: Rule, submitter: Submitter, node: str | None, names: Names, owned: Owned) -> str | None:
    # A bootstrap token that is bound to no node may name any; a certificate always names its own.
    unbound = submitter.kind is SubmitterKind.BOOTSTRAP and submitter.node is None
    if not node or not (unbound or submitter.node == node):
        return f"the submitter is not the node {node}; an approver decides"
    if (names.common_name, names.organizations) != (NODE_PREFIX + node, (NODE_GROUP,)):
        return f"the subject must be exactly CN {NODE_PREFIX}{node} and O {NODE_GROUP}; an approver decides"
    if not rule.serving:
        has_names = names.dns_names or names.ip_addresses
        return "a client certificate of a node has no SANs; an approver decides" if has_names else None
    if not names.dns_names and not names.ip_addresses:
        return "a serving certificate needs a SAN; submit a request that has one"
    missing = owned.missing(names)
    if not missing:
        return None
    return (
        f"the inventory does not grant to the node {node}: {', '.join(missing)};"
        " an administrator adds them to the inventory, or an approver decides"
    )
