"""A new worker that has nothing but a bootstrap token."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.outcome import Trivet

from trivet.agent.files import NodeFiles
from trivet.agent.plan import load_plan
from trivet.bootstrap.initialise import Installation
from trivet.pki.subjects import names_of


class Worker:
    """A worker that knows the service's address and CA, and has a bootstrap token in a file."""

    def __init__(self, trivet: Trivet, service: Installation, folder: Path, name: str) -> None:
        self.trivet, self.root, self.plan, self.token = (
            trivet,
            folder / "node",
            folder / "plan.yaml",
            folder / "token",
        )
        shown = trivet("plan", "show", "worker", "--node", name, "--address", "10.0.0.11")
        self.plan.write_text(shown.out)
        trivet("bootstrap-token", "create", "--node", name, "--out", self.token)
        self.where = ("--url", service.settings.url(), "--ca-file", service.layout.service_ca)

    def provision(
        self, monkeypatch: pytest.MonkeyPatch, *options: object, code: int = 0
    ) -> tuple[dict[str, str], str]:
        place = (
            "-f",
            self.plan,
            "--root",
            self.root,
            "--bootstrap-token",
            self.token,
            "--wait",
            "1s",
            "-o",
            "json",
        )
        with monkeypatch.context() as patched:
            patched.delenv("TRIVET_CONFIG")  # with the administrator's token
            done = self.trivet(*self.where, "provision", *place, *options, code=code)
        rows = done.json if done.out else []
        return {row["name"]: row["result"] for row in rows}, done.out + done.err


def test_a_new_worker_gets_its_client_certificate_by_the_token_and_by_that_the_rest(
    trivet: Trivet, service: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(trivet, service, tmp_path, "join-1")
    _, said = worker.provision(monkeypatch, "--dry-run", code=1)
    assert "what else would be done can be told once it is there" in said
    assert not worker.root.exists()
    # Nobody has said yet that the address is this node's.
    results, said = worker.provision(monkeypatch, code=7)
    assert results == {
        "cluster-ca": "made", "kubelet-client": "kept", "kubelet-serving": "failed", "kubelet": "made"}  # fmt: skip
    assert "is pending: " in said
    trivet("inventory", "set", "join-1", "--ip", "10.0.0.11")
    results, _ = worker.provision(monkeypatch)
    assert results["kubelet-serving"] == "made"
    results, said = worker.provision(monkeypatch)
    assert set(results.values()) == {"kept"}
    assert "nothing to do" in said
    trivet("check-expiration", "-f", worker.plan, "--root", worker.root)
    plan, files = load_plan(worker.plan), NodeFiles(worker.root)
    pair = files.read(plan.certificate("kubelet-client"))
    assert pair is not None
    names = names_of(pair.certificate)
    assert (names.common_name, names.organizations) == ("system:node:join-1", ("system:nodes",))
    assert (worker.root / "var/lib/kubelet/pki/kubelet-client-current.pem").is_symlink()


def test_a_bootstrap_token_is_good_for_its_node_and_a_kubelet_only(
    trivet: Trivet, service: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(trivet, service, tmp_path, "join-2")
    text = worker.plan.read_text()
    worker.plan.write_text(text.replace("join-2", "join-3"))
    _, said = worker.provision(monkeypatch, code=1)
    assert "join-2" in said
    assert not list(worker.root.rglob("*.pem"))
    worker.plan.write_text(trivet("plan", "show", "etcd-member", "--node", "join-2").out)
    _, said = worker.provision(monkeypatch, code=1)
    assert "a bootstrap token gives a kubelet-client certificate, and the plan lists none" in said
    worker.plan.write_text(trivet("plan", "show", "control-plane", "--node", "join-2").out)
    results, said = worker.provision(monkeypatch, code=7)
    assert (results["kubelet-client"], results["apiserver"], results["admin"]) == ("kept", "failed", "failed")
    assert "takes an access token of the role issuer" in said
