"""Provisioning, with a live service and a folder that stands for the node's root."""

from __future__ import annotations

import base64
import errno
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.agent_node import COMBINED, KUBECONFIG, PAIR, AgentNode, plan_text
from tests.unit.agent.crashing import Crash, CrashingDisk

from trivet.agent.asking import ByToken, ask
from trivet.agent.expiration import expirations
from trivet.agent.files import NodeFiles, key_pair_from_pem
from trivet.agent.files.pairs import read_private_key
from trivet.agent.inspection import State
from trivet.agent.plan.builtin import BUILT_IN, Choices, built_in_plan, needs_endpoint
from trivet.agent.plan.model import KubeconfigStorage, PlannedCertificate
from trivet.agent.provisioning import Provisioning
from trivet.agent.steps import Action, Outcome, Step, carry_out, hooks_left
from trivet.bootstrap.initialise import Installation
from trivet.client import Client, Endpoint
from trivet.client.keys import build_request, key_pem, new_key
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.names import parse_dns_name

SERVICE_ACCOUNT = {"keyFile": "/etc/kubernetes/pki/sa.key", "publicKeyFile": "/etc/kubernetes/pki/sa.pub"}


def with_spec(text: str, **spec: Any) -> str:  # noqa: ANN401  any YAML
    plan = yaml.safe_load(text)
    plan["spec"] |= spec
    return yaml.safe_dump(plan)


@pytest.fixture
def node(service: Installation, tmp_path: Path) -> AgentNode:
    """Give a node with nothing on it yet, and a plan for a few things."""
    text = plan_text([PAIR, COMBINED], [KUBECONFIG])
    made = AgentNode(tmp_path / "node", service, with_spec(text, serviceAccountKey=SERVICE_ACCOUNT))
    made.root.mkdir()
    made.plan_file.write_text(made.text)
    return made


def steps(node: AgentNode, files: NodeFiles | None = None) -> list[Step]:
    with node.administrator() as trivet:
        return Provisioning.by_token(trivet, node.plan, files or node.files, node.time.wall).steps()


def provision(node: AgentNode, files: NodeFiles | None = None) -> list[Outcome]:
    files = files or node.files
    with node.administrator() as trivet:
        return list(carry_out(Provisioning.by_token(trivet, node.plan, files, node.time.wall).steps()))


def actions(found: list[Step]) -> dict[str, Action]:
    return {step.name: step.action for step in found}


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file: its inode, mode and content."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_ino,
            path.lstat().st_mode,
            b""
            if path.is_dir()
            else str(path.readlink()).encode()
            if path.is_symlink()
            else path.read_bytes(),
        )
        for path in root.rglob("*")
    }


def test_to_say_what_would_be_done_touches_nothing(node: AgentNode) -> None:
    before = snapshot(node.root)
    assert set(actions(steps(node)).values()) == {Action.MAKE}
    assert snapshot(node.root) == before


def test_a_second_run_finds_nothing_to_do_and_touches_nothing(node: AgentNode) -> None:
    assert all(outcome.is_done for outcome in provision(node))
    before = snapshot(node.root)
    again = provision(node)
    assert {outcome.step.action for outcome in again} == {Action.KEEP}
    assert not any(outcome.is_done or outcome.fault for outcome in again)
    assert snapshot(node.root) == before


def test_no_certificate_is_asked_for_that_is_there(node: AgentNode) -> None:
    provision(node)
    (node.root / "etc/kubernetes/admin.conf").unlink()
    with node.administrator() as trivet:
        before = len(list(trivet.certificates.list("demo")))
    outcomes = provision(node)
    assert [outcome.step.name for outcome in outcomes if outcome.is_done] == ["admin"]
    with node.administrator() as trivet:
        assert len(list(trivet.certificates.list("demo"))) == before + 1


def test_a_run_that_was_cut_off_anywhere_is_continued_by_the_next(node: AgentNode) -> None:
    whole = CrashingDisk()
    provision(node, NodeFiles(node.root, whole))
    count = len(whole.done)
    # Every seventh step: each run asks for real certificates.
    for cut in range(0, count, 7):
        root = node.root.with_name(f"cut-{cut}")
        half = AgentNode(root, node.service, node.text)
        root.mkdir()
        half.plan_file.write_text(half.text)
        with pytest.raises(Crash):
            provision(half, NodeFiles(root, CrashingDisk(cut)))
        half.files.recover(half.plan)
        assert [outcome.fault for outcome in provision(half) if outcome.fault] == []
        assert {step.action for step in steps(half)} == {Action.KEEP}
        assert [str(path) for path in root.rglob("*") if path.name.endswith((".new", ".link", "-new"))] == []


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_everything_that_a_built_in_plan_lists_is_made_and_openssl_verifies_it(
    name: str, service: Installation, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    openssl = require_tool("openssl")
    endpoint = "localhost" if needs_endpoint(name) else None
    text = built_in_plan(name, Choices("demo", "cp-1", endpoint, ("127.0.0.1",)))
    node = AgentNode(tmp_path / "node", service, text).provision()
    pki = node.root / "etc/kubernetes/pki"
    bundles = {bundle.authority: node.root / str(bundle.file.path)[1:] for bundle in node.plan.trust_bundles}
    for planned in node.plan.certificates:
        path = node.root / str(planned.files[0].path)[1:]
        if isinstance(planned.storage, KubeconfigStorage):
            path = embedded(path, tmp_path)
        purposes = ["sslserver"] * planned.profile.is_for_servers + [
            "sslclient"
        ] * planned.profile.is_for_clients
        for purpose in purposes:
            command = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile"]
            verified = subprocess.run(
                [*command, str(bundles[planned.authority]), str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert verified.returncode == 0, (planned.name, purpose, verified.stderr)
    for kubeconfig in node.plan.kubeconfigs:
        users = yaml.safe_load((node.root / str(kubeconfig.file.path)[1:]).read_text())["users"]
        assert users[0]["user"]["client-certificate"] == "/var/lib/kubelet/pki/kubelet-client-current.pem"
    if node.plan.service_account is not None:
        public = subprocess.run(
            [openssl, "pkey", "-in", str(pki / "sa.key"), "-pubout"], capture_output=True, check=True
        ).stdout
        assert public == (pki / "sa.pub").read_bytes()
    found = expirations(node.files, node.plan, node.time.wall())
    assert found.unfit == ()
    assert {one.state for one in found.certificates} == {State.GOOD}
    assert {step.action for step in steps(node)} == {Action.KEEP}


def embedded(kubeconfig: Path, folder: Path) -> Path:
    """The certificate that a kubeconfig holds, in a file of its own; its key belongs to it, its CA is the cluster's."""
    document = yaml.safe_load(kubeconfig.read_text())
    user, cluster = document["users"][0]["user"], document["clusters"][0]["cluster"]
    chain, key, authority = (
        base64.b64decode(text)
        for text in (
            user["client-certificate-data"],
            user["client-key-data"],
            cluster["certificate-authority-data"],
        )
    )
    key_pair_from_pem(chain, key)
    assert authority == (kubeconfig.parent / "pki/ca.crt").read_bytes()
    out = folder / f"{kubeconfig.name}.crt"
    out.write_bytes(chain)
    return out


def test_modes_are_those_of_kubeadm_and_owners_those_of_the_plan(node: AgentNode) -> None:
    provision(node)
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in node.root.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    expected = {"server.crt": 0o644, "server.key": 0o600, "admin.conf": 0o600, "sa.key": 0o600, "sa.pub": 0o600,
                "etcd.crt": 0o644, "cluster.crt": 0o644, "kubelet-client-current.pem": 0o600}  # fmt: skip
    assert expected.items() <= modes.items()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_belong_to_whom_the_plan_says_from_the_first_moment(node: AgentNode) -> None:
    owned = PAIR | {"owner": "65534", "group": "12", "keyMode": "0440"}
    node.plan_file.write_text(plan_text([owned]))
    provision(node)
    key = node.root / "etc/kubernetes/pki/etcd/server.key"
    assert (key.stat().st_uid, key.stat().st_gid, key.stat().st_mode & 0o777) == (65534, 12, 0o440)
    node.plan_file.write_text(plan_text([owned | {"group": "13"}]))
    serial = node.serial("etcd-server")
    (outcome,) = [outcome for outcome in provision(node) if outcome.is_done]
    assert outcome.step.action is Action.CHANGE
    assert "belongs to the group 12, not to 13" in outcome.step.reason
    assert (key.stat().st_gid, node.serial("etcd-server")) == (13, serial)
    node.plan_file.write_text(plan_text([owned | {"owner": "nobody-here"}]))
    (refused,) = [outcome for outcome in provision(node) if outcome.fault]
    assert "there is no user 'nobody-here' on this machine; create it" in str(refused.fault)


def damage(node: AgentNode, kind: str) -> None:
    pki = node.root / "etc/kubernetes/pki/etcd"
    match kind:
        case "torn":
            (pki / "server.crt").resolve().write_text("-----BEGIN CERT")
        case "no certificate":
            (pki / "server.crt").unlink()
        case "another key":
            (pki / "server.key").resolve().write_bytes(key_pem(new_key(KeyAlgorithm.P384)))
        case "expired":
            node.time.advance(timedelta(days=5))
        case "other names":
            node.plan_file.write_text(node.text.replace("- localhost", "- other.example"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("torn", "there is no certificate in PEM"),
        ("no certificate", "it is missing, though server.key is there"),
        ("another key", "the key belongs to another certificate"),
        ("expired", "it expired at"),
        ("other names", "lacks the DNS name other.example; has the DNS name localhost, which is not planned"),
    ],
)
def test_what_is_no_good_is_replaced_and_its_reason_is_told(node: AgentNode, kind: str, words: str) -> None:
    provision(node)
    former = node.serial("etcd-server")
    damage(node, kind)
    (step,) = [step for step in steps(node) if step.name == "etcd-server"]
    assert (step.action, words in step.reason) == (Action.REPLACE, True), step.reason
    assert [outcome.fault for outcome in provision(node) if outcome.fault] == []
    assert node.serial("etcd-server") != former
    if kind != "expired":
        assert {step.action for step in steps(node)} == {Action.KEEP}


def test_a_key_that_waits_without_a_certificate_is_certified_and_one_that_had_one_is_not(
    node: AgentNode,
) -> None:
    folder = node.root / "etc/kubernetes/pki/etcd"
    folder.mkdir(parents=True)
    waiting = key_pem(new_key(KeyAlgorithm.P384))
    (folder / "server.key").write_bytes(waiting)
    provision(node)
    assert (folder / "server.key").read_bytes() == waiting
    damage(node, "torn")
    provision(node)
    assert (folder / "server.key").read_bytes() != waiting


def test_a_trust_bundle_of_another_cluster_stays_and_nothing_of_that_ca_is_made(node: AgentNode) -> None:
    with node.administrator() as trivet:
        trivet.clusters.create("another", "localhost")
        foreign = trivet.clusters.bundle("another", "etcd")
    bundle = node.root / "etc/kubernetes/pki/etcd.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(foreign)
    outcomes = {outcome.step.name: outcome for outcome in provision(node)}
    assert "it holds none of the etcd CAs of the cluster demo: is this the right cluster?" in str(
        outcomes["etcd-ca"].fault
    )
    assert "the trust bundle of etcd on this node is refused" in str(outcomes["etcd-server"].fault)
    assert outcomes["admin"].is_done
    assert bundle.read_bytes() == foreign
    assert not (bundle.parent / "etcd/server.crt").exists()


def test_an_api_server_that_the_service_names_otherwise_is_refused_before_anything_is_asked(
    node: AgentNode,
) -> None:
    api = PAIR | {"name": "apiserver", "profile": "apiserver", "certSANs": []}
    text = with_spec(
        plan_text([api]), controlPlaneEndpoint="api.example", networking={"dnsDomain": "k.local"}
    )
    node.plan_file.write_text(text)
    (step,) = [step for step in steps(node) if step.name == "apiserver"]
    assert step.action is Action.REFUSE
    assert "controlPlaneEndpoint is api.example, and in Trivet localhost" in step.reason
    assert "networking.dnsDomain is k.local, and in Trivet cluster.local" in step.reason


def test_a_service_account_key_is_never_replaced(node: AgentNode) -> None:
    provision(node)
    pki = node.root / "etc/kubernetes/pki"
    key = (pki / "sa.key").read_bytes()
    (pki / "sa.pub").unlink()
    (step,) = [step for step in steps(node) if step.kind == "serviceAccountKey"]
    assert "sa.pub is missing, or belongs to another key" in step.reason
    provision(node)
    assert (pki / "sa.key").read_bytes() == key
    assert (pki / "sa.pub").exists()
    (pki / "sa.key").write_text("torn")
    (refused,) = [outcome for outcome in provision(node) if outcome.fault]
    assert "all tokens depend on this key, so it is left as it is" in str(refused.fault)
    (pki / "sa.key").unlink()
    (refused,) = [outcome for outcome in provision(node) if outcome.fault]
    assert "copy it from another control plane, or remove that" in str(refused.fault)


def test_a_second_control_plane_gets_a_copy_of_the_service_account_key_or_is_told_so(node: AgentNode) -> None:
    node.plan_file.write_text(with_spec(node.text, serviceAccountKey=SERVICE_ACCOUNT | {"create": False}))
    (refused,) = [outcome for outcome in provision(node) if outcome.fault]
    assert "copy it from another control plane of this cluster, or set create: true" in str(refused.fault)


def test_a_link_that_leads_out_of_the_root_is_refused(node: AgentNode, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (node.root / "etc").symlink_to(tmp_path / "elsewhere")
    refused = {outcome.step.name for outcome in provision(node) if outcome.fault}
    assert {"etcd-server", "admin", "cluster-ca", "sa"} <= refused
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_after_the_service_went_away_the_rest_is_not_tried(node: AgentNode) -> None:
    with node.administrator() as trivet:
        provisioning = Provisioning.by_token(trivet, node.plan, node.files, node.time.wall)
    with Client(Endpoint("https://127.0.0.1:1", node.endpoint.ca_file, "trivet_x")) as nobody:
        away = replace(provisioning, source=ByToken(nobody, node.plan))
        outcomes = {outcome.step.name: outcome for outcome in carry_out(away.steps())}
    assert "https://127.0.0.1:1 cannot be reached" in str(outcomes["etcd-server"].fault)
    for name in ("kubelet-client", "admin"):
        assert str(outcomes[name].fault).startswith("not tried: ")
    assert outcomes["etcd-ca"].is_done


def test_hooks_run_once_each_for_what_was_replaced_and_not_for_what_is_new(node: AgentNode) -> None:
    hook = {"hook": {"command": ["/bin/true"]}}
    node.plan_file.write_text(plan_text([PAIR | hook, COMBINED | hook]))
    assert hooks_left(provision(node)) == {}
    for name in ("etc/kubernetes/pki/etcd/server.crt", "var/lib/kubelet/pki/kubelet-client-current.pem"):
        (node.root / name).resolve().write_text("torn")
    left = hooks_left(provision(node))
    assert [hook.command for hook in left] == [("/bin/true",)]
    assert list(left.values()) == ["etcd-server"]


@dataclass
class Other:
    """A source that gives what was not asked for, and counts how often it is asked."""

    trivet: Client
    cluster: str = "demo"
    key: bytes | None = None
    asked: int = 0

    def certificate_for(self, planned: PlannedCertificate, request: bytes) -> str:
        self.asked += 1
        if self.key is not None:
            request = build_request(read_private_key(self.key), hosts=planned.sans)
        issued = self.trivet.certificates.issue(
            self.cluster, planned.profile.name, request, node=planned.node
        )
        return issued["certificate"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cluster": "foreign"}, "was not signed by its own"),
        ({"key": key_pem(new_key(KeyAlgorithm.P384))}, "the key belongs to another certificate"),
    ],
)
def test_what_was_not_asked_for_is_not_put_in_place(
    node: AgentNode, wrong: dict[str, Any], words: str
) -> None:
    with node.administrator() as trivet:
        if "cluster" in wrong:
            trivet.clusters.create("foreign", "localhost")
        provisioning = Provisioning.by_token(trivet, node.plan, node.files, node.time.wall)
        other = replace(provisioning, source=Other(trivet, **wrong))
        outcomes = {outcome.step.name: outcome for outcome in carry_out(other.steps())}
    for name in ("etcd-server", "kubelet-client"):
        assert words in str(outcomes[name].fault)
        assert node.files.read(node.plan.certificate(name)) is None
    assert not (node.root / "etc/kubernetes/pki/etcd/server.key").exists()


def test_where_there_is_no_room_nothing_is_asked_for(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with node.administrator() as trivet:
        provisioning = Provisioning.by_token(trivet, node.plan, node.files, node.time.wall)
        source = Other(trivet)
        found = replace(provisioning, source=source).steps()

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            outcomes = list(carry_out(found))
    assert {"No space left on device" in str(outcome.fault) for outcome in outcomes if outcome.fault} == {
        True
    }
    assert source.asked == 0
    assert not [path for path in node.root.rglob("*") if path.is_file() and path.name != "plan.yaml"]


def test_other_names_than_planned_are_not_taken(node: AgentNode) -> None:
    planned = node.plan.certificate("etcd-server")
    lying = replace(planned, names=replace(planned.names, dns_names=(parse_dns_name("other.example"),)))
    with (
        node.administrator() as trivet,
        pytest.raises(ValueError, match=r"lacks the DNS name other\.example"),
    ):
        ask(ByToken(trivet, node.plan), lying, new_key(KeyAlgorithm.P384))
