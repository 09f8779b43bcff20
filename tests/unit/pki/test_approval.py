from __future__ import annotations

from dataclasses import replace

import pytest

from trivet.pki.approval import RULES, Submitter, SubmitterKind, judge_request
from trivet.pki.inventory import Owned, read_grants
from trivet.pki.kubernetes import PROFILES
from trivet.pki.names import DnsName, Names, parse_ip_address

CLIENT = Names("system:node:n1", ("system:nodes",))
SERVING = replace(CLIENT, dns_names=(DnsName("n1"),), ip_addresses=(parse_ip_address("10.0.0.1"),))
OWNED = Owned("n1", read_grants([], ["10.0.0.1"]))
BOOTSTRAP, NODE, TOKEN = SubmitterKind.BOOTSTRAP, SubmitterKind.NODE, SubmitterKind.TOKEN


@pytest.mark.parametrize(
    ("submitter", "profile", "names", "rule"),
    [
        (Submitter(BOOTSTRAP), "kubelet-client", CLIENT, "nodeclient"),
        (Submitter(BOOTSTRAP, "n1"), "kubelet-client", CLIENT, "nodeclient"),
        (Submitter(NODE, "n1"), "kubelet-client", CLIENT, "selfnodeclient"),
        (Submitter(NODE, "n1"), "kubelet-serving", SERVING, "serving-by-inventory"),
    ],
)
def test_a_request_that_fits_a_rule_is_approved_by_it(
    submitter: Submitter, profile: str, names: Names, rule: str
) -> None:
    assert judge_request(submitter, profile, "n1", names, OWNED).rule == rule


@pytest.mark.parametrize(
    ("submitter", "profile", "names", "reason"),
    [
        (Submitter(BOOTSTRAP, "n2"), "kubelet-client", CLIENT, "not the node n1"),
        (Submitter(NODE, "n2"), "kubelet-client", CLIENT, "not the node n1"),
        (Submitter(NODE), "kubelet-client", CLIENT, "not the node n1"),
        (Submitter(NODE, "n2"), "kubelet-serving", SERVING, "not the node n1"),
        (Submitter(BOOTSTRAP), "kubelet-client", replace(CLIENT, common_name="system:node:n2"), "exactly CN"),
        (Submitter(BOOTSTRAP), "kubelet-client", replace(CLIENT, organizations=()), "exactly CN"),
        (
            Submitter(BOOTSTRAP),
            "kubelet-client",
            replace(CLIENT, organizations=("system:nodes", "system:masters")),
            "exactly CN",
        ),
        (Submitter(BOOTSTRAP), "kubelet-client", SERVING, "no SANs"),
        (Submitter(NODE, "n1"), "kubelet-client", SERVING, "no SANs"),
        (Submitter(NODE, "n1"), "kubelet-serving", CLIENT, "needs a SAN"),
        (Submitter(BOOTSTRAP, "n1"), "kubelet-serving", SERVING, "no rule approves"),
        (Submitter(TOKEN), "kubelet-client", CLIENT, "no rule approves"),
        (Submitter(TOKEN), "kube-apiserver-client", CLIENT, "no rule approves"),
    ],
)
def test_what_fits_no_rule_waits_and_says_why(
    submitter: Submitter, profile: str, names: Names, reason: str
) -> None:
    verdict = judge_request(submitter, profile, "n1", names, OWNED)
    assert verdict.rule is None
    assert reason in verdict.reason


def test_a_request_that_names_no_node_waits() -> None:
    assert judge_request(Submitter(BOOTSTRAP), "kubelet-client", None, CLIENT, OWNED).rule is None


def test_a_serving_request_beyond_the_inventory_waits_and_names_what_is_missing() -> None:
    verdict = judge_request(Submitter(NODE, "n1"), "kubelet-serving", "n1", SERVING, Owned("n1"))
    assert verdict.rule is None
    assert "does not grant to the node n1: 10.0.0.1;" in verdict.reason


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_a_profile_that_there_is_and_checks_its_sans(rule: object) -> None:
    profile = PROFILES[rule.profile]  # type: ignore[attr-defined]
    assert profile.is_for_servers is rule.serving  # type: ignore[attr-defined]


def test_no_rule_approves_what_a_bootstrap_token_asks_for_beyond_a_client_certificate() -> None:
    for profile in PROFILES.keys() - {"kubelet-client"}:
        assert judge_request(Submitter(BOOTSTRAP), profile, "n1", CLIENT, OWNED).rule is None


def test_a_node_whose_own_name_was_granted_to_another_waits() -> None:
    owned = replace(OWNED, foreign=frozenset({"n1"}))
    verdict = judge_request(Submitter(NODE, "n1"), "kubelet-serving", "n1", SERVING, owned)
    assert verdict.rule is None
    assert "does not grant to the node n1: n1;" in verdict.reason
