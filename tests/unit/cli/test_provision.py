from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.outcome import Trivet

from trivet.bootstrap.initialise import Installation

FOR_A_WORKER = ("plan", "show", "worker", "--node", "w-1", "--address", "10.0.0.11")


@pytest.fixture
def plan(trivet: Trivet, tmp_path: Path) -> Path:
    """Give the built-in plan of a worker, for what the service knows of the cluster."""
    file = tmp_path / "plan.yaml"
    file.write_text(trivet(*FOR_A_WORKER).out)
    return file


def test_a_built_in_plan_is_printed_for_what_the_service_knows_of_the_cluster(trivet: Trivet) -> None:
    spec = yaml.safe_load(trivet(*FOR_A_WORKER).out)["spec"]
    assert (spec["clusterName"], spec["nodeName"]) == ("demo", "w-1")
    assert spec["controlPlaneEndpoint"] == "localhost"
    assert spec["networking"] == {"serviceSubnet": "10.96.0.0/12", "dnsDomain": "cluster.local"}


def test_with_an_endpoint_nothing_is_asked_of_the_service(bare_trivet: Trivet) -> None:
    said = bare_trivet(*FOR_A_WORKER, "--cluster", "prod", "--endpoint", "api.example:8443").out
    assert yaml.safe_load(said)["spec"]["controlPlaneEndpoint"] == "api.example:8443"


def test_a_plan_for_what_cannot_be_is_not_printed(trivet: Trivet) -> None:
    refused = trivet("plan", "show", "worker", "--node", "Not A Name", code=2)
    assert (refused.out, "/spec/nodeName: must be a node's name" in refused.err) == ("", True)
    refused = trivet("plan", "show", "wroker", "--node", "w-1", code=2)
    assert "choose one of control-plane, control-plane-aks, worker, etcd-member" in refused.err


def test_the_plans_and_their_schema_are_listed(bare_trivet: Trivet) -> None:
    names = [line.split()[0] for line in bare_trivet("plan", "list").out.splitlines()]
    assert names == ["NAME", "control-plane", "control-plane-aks", "worker", "etcd-member"]
    schema = json.loads(
        Path(__file__).parents[3].joinpath("docs/reference/certificate-plan.schema.json").read_text()
    )
    assert bare_trivet("plan", "schema").json == schema


def test_a_plan_is_checked_without_a_service_and_every_fault_has_its_line(
    bare_trivet: Trivet, plan: Path, tmp_path: Path
) -> None:
    listed = bare_trivet("plan", "check", "-f", plan, "-o", "json").json
    assert [item["name"] for item in listed] == ["cluster-ca", "kubelet-client", "kubelet-serving", "kubelet"]
    bad = tmp_path / "bad.yaml"
    bad.write_text(plan.read_text().replace("profile: kubelet-serving", "profil: x").replace("w-1", "W"))
    refused = bare_trivet("plan", "check", "-f", bad, code=7).err.splitlines()
    assert refused[0] == "trivet: the plan is refused:"
    lines = bad.read_text().splitlines()
    for fault in refused[1:]:
        _, line, column, pointer, _ = fault.split(":", 4)
        assert lines[int(line) - 1][int(column) - 1 :].strip(), fault
        assert pointer.startswith(" /spec/")
    assert f"  {bad}:10:3: /spec/nodeName: must be a node's name" in refused


def test_provision_shows_first_makes_everything_and_then_has_nothing_to_do(
    trivet: Trivet, plan: Path, tmp_path: Path
) -> None:
    root = tmp_path / "node"
    shown = trivet("provision", "-f", plan, "--root", root, "--dry-run")
    assert "4 of 4 would be done; nothing was touched" in shown.err
    assert not root.exists()
    made = trivet("provision", "-f", plan, "--root", root)
    assert "4 of 4 done" in made.err
    assert [line.split()[3] for line in made.out.splitlines()[1:]] == ["made"] * 4
    again = trivet("provision", "-f", plan, "--root", root)
    assert (again.out, "nothing to do: all 4 are as the plan says" in again.err) == ("", True)
    rows = trivet("provision", "-f", plan, "--root", root, "-o", "json").json
    assert {row["result"] for row in rows} == {"kept"}
    assert "nothing to do" in trivet("provision", "-f", plan, "--root", root, "--dry-run").err


def test_provision_without_a_token_says_what_is_lacking(
    bare_trivet: Trivet, plan: Path, service: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TRIVET_CONFIG")
    where = ("--url", service.settings.url(), "--ca-file", service.layout.service_ca)
    refused = bare_trivet(*where, "provision", "-f", plan, "--root", tmp_path / "node", code=3)
    assert "name a token: --token-file" in refused.err


def test_what_cannot_be_done_is_told_before_and_after_and_ends_with_a_code(
    trivet: Trivet, plan: Path, tmp_path: Path
) -> None:
    root = tmp_path / "node"
    plan.write_text(
        plan.read_text().replace("profile: kubelet-client", "profile: kubelet-client\n    owner: nobody-x")
    )
    shown = trivet("provision", "-f", plan, "--root", root, "--dry-run", code=7)
    assert "1 of 4 cannot be done; 3 would be; nothing was touched" in shown.err
    done = trivet("provision", "-f", plan, "--root", root, code=7)
    assert "1 of 4 could not be made" in done.err
    assert "there is no user 'nobody-x' on this machine" in done.out


def test_a_revocation_bars_the_way_and_the_rest_is_made(trivet: Trivet, plan: Path, tmp_path: Path) -> None:
    trivet("revoke", "--common-name", "system:node:w-1", "--name", "stolen", "--yes")
    done = trivet("provision", "-f", plan, "--root", tmp_path / "node", "-o", "json", code=1)
    results = {row["name"]: (row["result"], row["why"]) for row in done.json}
    assert results["kubelet-client"][0] == "failed"
    assert "system:node:w-1" in results["kubelet-client"][1]
    assert results["cluster-ca"][0] == "made"
    trivet("revocations", "delete", "stolen")
    assert " of 4 done" in trivet("provision", "-f", plan, "--root", tmp_path / "node").err


@pytest.mark.parametrize(("options", "ran"), [((), False), (("--hooks",), True)])
def test_hooks_do_not_run_below_another_root_unless_it_is_said(
    trivet: Trivet,
    plan: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    ran: bool,  # noqa: FBT001
) -> None:
    root, hook = tmp_path / "node", f"hook: {{command: [touch, {tmp_path}/ran]}}"
    plan.write_text(
        plan.read_text().replace("profile: kubelet-client", f"profile: kubelet-client\n    {hook}")
    )
    trivet("provision", "-f", plan, "--root", root, *options)
    assert not (tmp_path / "ran").exists()
    (root / "var/lib/kubelet/pki/kubelet-client-current.pem").resolve().write_text("torn")
    trivet("provision", "-f", plan, "--root", root, *options)
    assert (tmp_path / "ran").exists() is ran


def test_a_hook_that_fails_is_told_and_everything_is_in_place(
    trivet: Trivet, plan: Path, tmp_path: Path
) -> None:
    root = tmp_path / "node"
    hook = "hook: {command: [/bin/sh, -c, 'echo why; exit 3']}"
    plan.write_text(
        plan.read_text().replace("profile: kubelet-client", f"profile: kubelet-client\n    {hook}")
    )
    trivet("provision", "-f", plan, "--root", root)
    (root / "var/lib/kubelet/pki/kubelet-client-current.pem").resolve().write_text("torn")
    done = trivet("provision", "-f", plan, "--root", root, "--hooks", code=1)
    assert "the hook of kubelet-client failed: it ended with 3\nwhy" in done.err
    assert "everything is in place, but 1 hooks failed" in done.err


# --- check-expiration ---


def test_expiry_is_shown_as_kubeadm_does_and_the_exit_code_says_whether_all_is_well(
    trivet: Trivet, bare_trivet: Trivet, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "node"
    trivet("provision", "-f", plan, "--root", root)
    monkeypatch.delenv("TRIVET_CONFIG")
    shown = bare_trivet("check-expiration", "-f", plan, "--root", root).out.splitlines()
    assert shown[0].split("  ")[0] == "CERTIFICATE"
    columns = ("CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "CERTIFICATE AUTHORITY", "STATE")
    assert [shown[0].index(column) for column in columns] == sorted(
        shown[0].index(column) for column in columns
    )
    assert " 3d 23h " in shown[1]
    assert " good" in shown[1]
    assert shown[-1].startswith("cluster ")
    found = bare_trivet("check-expiration", "-f", plan, "--root", root, "-o", "json").json
    assert [one["state"] for one in found["certificates"]] == ["good", "good"]
    assert found["certificates"][0]["isVerified"]
    assert 0 < found["certificates"][0]["residualSeconds"] <= 4 * 86400
    assert found["certificateAuthorities"][0]["authority"] == "cluster"


def test_what_is_missing_torn_or_of_another_name_ends_with_1_and_its_reason(
    trivet: Trivet, plan: Path, tmp_path: Path
) -> None:
    root = tmp_path / "node"
    missing = trivet("check-expiration", "-f", plan, "--root", root, "-o", "json", code=1)
    assert [one["state"] for one in missing.json["certificates"]] == ["missing", "missing"]
    assert "3 cannot be used: kubelet-client, kubelet-serving, cluster-ca" in missing.err
    trivet("provision", "-f", plan, "--root", root)
    (root / "var/lib/kubelet/pki/kubelet.crt").resolve().write_text("torn")
    torn = trivet("check-expiration", "-f", plan, "--root", root, code=1)
    assert "kubelet-serving: " in torn.err
    assert "unreadable" in torn.out
    plan.write_text(plan.read_text().replace("w-1", "w-2"))
    other = trivet("check-expiration", "-f", plan, "--root", root, code=1)
    assert "its CN is 'system:node:w-1', not 'system:node:w-2'" in other.err


def test_without_a_plan_kubeadms_layout_is_looked_for(trivet: Trivet, plan: Path, tmp_path: Path) -> None:
    nothing = trivet("check-expiration", "--root", tmp_path / "node", code=4)
    assert "there is no certificate of kubeadm's layout; name the plan with -f" in nothing.err
    trivet("provision", "-f", plan, "--root", tmp_path / "node")
    found = trivet("check-expiration", "--root", tmp_path / "node", "-o", "json").json
    assert [one["name"] for one in found["certificates"]] == ["kubelet-client", "kubelet-serving"]
    for name, count in (("control-plane", 12), ("control-plane-aks", 12), ("etcd-member", 3)):
        plan.write_text(trivet("plan", "show", name, "--node", "cp-1", "--address", "10.0.0.10").out)
        trivet("provision", "-f", plan, "--root", tmp_path / name)
        found = trivet("check-expiration", "--root", tmp_path / name, "-o", "json").json
        assert [one["state"] for one in found["certificates"]] == ["good"] * count
    (tmp_path / "control-plane/etc/kubernetes/pki/etcd/peer.key").unlink()
    gone = trivet("check-expiration", "--root", tmp_path / "control-plane", code=1)
    assert "1 cannot be used: etcd-peer" in gone.err
