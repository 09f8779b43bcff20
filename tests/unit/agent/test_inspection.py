from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.agent_node import COMBINED, KUBECONFIG, PAIR, AgentNode, plan_text
from tests.unit.agent.conftest import MakeNode

from trivet.agent.expiration import FIT, expirations, found_layout
from trivet.agent.inspection import Bundles, Finding, State, bundles_on_disk, examine, examine_bundle
from trivet.pki.profiles import AuthorityName


def look(node: AgentNode, name: str, bundles: Bundles | None = None, **options: bool) -> Finding:
    known = bundles_on_disk(node.files, node.plan) if bundles is None else bundles
    return examine(node.files, node.plan.certificate(name), node.time.wall(), known, **options)


def test_what_is_good_is_verified_where_a_bundle_is_there(make_node: MakeNode) -> None:
    node = make_node()
    for name in ("etcd-server", "kubelet-client", "admin"):
        found = look(node, name)
        assert (found.state, found.reason, found.is_verified) == (State.GOOD, "", True)
        assert found.not_after == node.pair(name).certificate.not_valid_after_utc
        assert not look(node, name, {}).is_verified


def test_a_certificate_of_another_ca_is_told_of_before_anything_else(make_node: MakeNode) -> None:
    node = make_node()
    bundles = bundles_on_disk(node.files, node.plan)
    swapped = {
        AuthorityName.CLUSTER: bundles[AuthorityName.ETCD],
        AuthorityName.ETCD: bundles[AuthorityName.CLUSTER],
    }
    node.time.advance(timedelta(days=9))
    found = look(node, "etcd-server", swapped)
    assert (found.state, found.is_verified) == (State.UNTRUSTED, False)
    assert "it was not signed by a CA that the bundle of etcd holds" in found.reason


def test_time_is_judged_at_both_ends(make_node: MakeNode) -> None:
    node = make_node()
    ends = node.pair("admin").certificate.not_valid_after_utc
    node.time.wall_ahead = ends - node.time.wall() - timedelta(seconds=5)
    assert look(node, "admin").state is State.GOOD
    node.time.advance(timedelta(seconds=8))
    assert look(node, "admin").state is State.EXPIRED
    node.time.advance(timedelta(days=-9))
    found = look(node, "admin")
    assert (found.state, "is the clock right?" in found.reason) == (State.NOT_YET_VALID, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"certSANs": ["localhost"]}, "has the address 127.0.0.1, which is not planned"),
        ({"certSANs": ["localhost", "127.0.0.1", "more.example"]}, "lacks the DNS name more.example"),
        (
            {"profile": "etcd-healthcheck-client", "certSANs": []},
            "its CN is 'cp-1', not 'kube-etcd-healthcheck-client'",
        ),
    ],
)
def test_other_names_than_planned_are_told_one_by_one(
    make_node: MakeNode, change: dict[str, object], words: str
) -> None:
    node = make_node(PAIR)
    node.plan_file.write_text(plan_text([PAIR | change]))
    found = look(node, "etcd-server")
    assert (found.state, words in found.reason) == (State.NAMES, True), found.reason
    assert look(node, "etcd-server", with_names=False).state in {State.GOOD, State.USAGES}


def test_a_mode_is_told_of_and_does_no_harm(make_node: MakeNode) -> None:
    node = make_node(COMBINED, kubeconfigs=[KUBECONFIG])
    (node.root / "var/lib/kubelet/pki/kubelet-client-current.pem").chmod(0o644)
    found = look(node, "kubelet-client")
    assert (found.state, found.is_verified) == (State.ATTRIBUTES, True)
    assert "has mode 0644, not 0600" in found.reason
    assert found.state in FIT


def test_a_kubeconfig_that_leads_elsewhere_or_trusts_others_is_told_of(make_node: MakeNode) -> None:
    node = make_node()
    path = node.root / "etc/kubernetes/admin.conf"
    text = path.read_text()
    path.write_text(text.replace("https://127.0.0.1:6443", "https://elsewhere:6443"))
    assert "it leads to https://elsewhere:6443, not to https://127.0.0.1:6443" in look(node, "admin").reason
    path.write_text(text.replace("certificate-authority-data: ", "certificate-authority-data: Zm9v\n    x: "))
    assert "another trust bundle than the Cluster CA's" in look(node, "admin").reason
    path.write_text("{}")
    assert look(node, "admin").state is State.UNREADABLE
    path.unlink()
    assert look(node, "admin").state is State.MISSING


def test_a_trust_bundle_is_there_can_be_read_and_is_in_force_or_is_told_of(make_node: MakeNode) -> None:
    node = make_node()
    (planned,) = [bundle for bundle in node.plan.trust_bundles if bundle.name == "etcd-ca"]
    path = node.root / str(planned.file.path)[1:]
    now = node.time.wall()
    good = examine_bundle(node.files, planned, now)
    assert (good.state, good.authority) == (State.GOOD, AuthorityName.ETCD)
    assert good.not_after is not None
    assert good.not_after > now + timedelta(days=3000)
    assert examine_bundle(node.files, planned, now + timedelta(days=4000)).state is State.EXPIRED
    path.write_text("nothing")
    assert examine_bundle(node.files, planned, now).state is State.UNREADABLE
    path.unlink()
    assert examine_bundle(node.files, planned, now).state is State.MISSING
    path.mkdir()
    assert examine_bundle(node.files, planned, now).state is State.INACCESSIBLE


def test_to_look_changes_nothing(make_node: MakeNode) -> None:
    node = make_node()
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in node.root.rglob("*"))
    assert expirations(node.files, node.plan, node.time.wall()).unfit == ()
    found_layout(node.files)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in node.root.rglob("*")) == before
