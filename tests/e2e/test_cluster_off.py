"""The night of a cluster that was off for too long, with real processes: service, agents, `trivet repair`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.switched_off import CLUSTER, Node, SwitchedOff, await_that

from trivet.client.repair_schemas import Identity

pytestmark = pytest.mark.slow
WORKERS = ("worker-1", "worker-2", "worker-3")
STAGES = ("etcd", "api-server", "rest")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> SwitchedOff:
    """Give a control plane and three workers, provisioned from plans, and switched off past expiry."""
    found = SwitchedOff.installed(tmp_path_factory.mktemp("off"))
    found.add("cp-1", "control-plane", "controller")
    for name in WORKERS:
        found.add(name, "worker", "worker")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    with found.serving():
        found.provision(end)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 1))
    return found


def held(cluster: SwitchedOff) -> dict[str, dict[str, tuple[str, datetime]]]:
    return {node.name: node.certificates() for node in cluster.nodes.values()}


def has_said(node: Node, event: str) -> bool:
    """Whether the agent has said so of every certificate of its plan."""
    return {line["certificate"] for line in node.said(event)} == set(node.certificates())


def identities(cluster: SwitchedOff) -> list[Identity]:
    with cluster.administrator() as trivet:
        return list(trivet.upkeep.identities(CLUSTER))


def test_a_cluster_that_was_off_past_expiry_waits_and_comes_back_with_one_command(
    cluster: SwitchedOff,
) -> None:
    nodes = cluster.nodes.values()
    before = held(cluster)
    assert [len(found) for found in before.values()] == [12, 2, 2, 2]
    with ExitStack() as stack:
        stack.enter_context(cluster.serving())
        for node in nodes:
            stack.enter_context(cluster.agent(node))
        # The agents say `expired`, and wait.
        await_that(
            lambda: all(has_said(node, "expired") for node in nodes), "not all have said that it expired"
        )
        assert "trivet repair demo" in cluster.nodes["worker-1"].said("expired")[0]["message"]
        rehearsed = cluster.run("repair", CLUSTER, "--dry-run")
        assert rehearsed.returncode == 0, rehearsed.stderr
        assert "rehearsal" in rehearsed.stdout
        assert "fresh: 0 of 18" in rehearsed.stdout
        # Without a window nothing is renewed, however long they ask.
        time.sleep(3)
        assert held(cluster) == before
        assert not any(node.said("renewed") for node in nodes)
        done = cluster.run("repair", CLUSTER)
        assert done.returncode == 0, done.stdout + done.stderr
        await_that(lambda: all(has_said(node, "renewed") for node in nodes), "not all are renewed")
        after = held(cluster)
        issued = identities(cluster)
    assert "Every identity is fresh." in done.stdout
    assert f"{CLUSTER}: completed" in done.stdout
    # Progress was shown, stage after stage.
    shown = [line for line in done.stderr.splitlines() if "etcd " in line]
    assert "(current)" in shown[0]
    assert "etcd 3/3 (fresh), api-server 4/4 (fresh), rest 11/11 (fresh)" in shown[-1]
    assert len(shown) >= 3
    for name, former in before.items():
        assert after[name].keys() == former.keys()
        for certificate, (serial, end) in after[name].items():
            assert serial != former[certificate][0]
            assert end > datetime.now(UTC) + timedelta(days=3)
    # In order: etcd, then the API server, then the rest.
    times = {stage: [one["issuedAt"] for one in issued if one["stage"] == stage] for stage in STAGES}
    assert max(times["etcd"]) <= min(times["api-server"])
    assert max(times["api-server"]) <= min(times["rest"])


def test_after_revocation_by_serial_and_by_group_one_time_tokens_bring_the_nodes_back(
    cluster: SwitchedOff,
) -> None:
    # The cluster is alive again; now its kubelets' certificates are revoked.
    before = held(cluster)
    serial = before["worker-1"]["kubelet-client"][0]
    with ExitStack() as stack:
        stack.enter_context(cluster.serving())
        for entry in (("--serial", serial), ("--group", "system:nodes", "--not-before", "now")):
            revoked = cluster.run("revoke", *entry, "-c", CLUSTER, "--yes")
            assert revoked.returncode == 0, revoked.stderr
        worker = cluster.nodes["worker-1"]
        with cluster.agent(worker):
            await_that(lambda: has_said(worker, "revoked"), "the agent does not say that it was revoked")
        assert "trivet repair token" in worker.said("revoked")[0]["message"]
        assert worker.certificates() == before["worker-1"]
        refused = cluster.run("repair-node", "-f", worker.root / "plan.yaml", "--root", worker.root)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        log = cluster.folder / "repair.log"
        following = stack.enter_context(cluster.started(log, "repair", CLUSTER))
        await_that(lambda: b"repair window" in log.read_bytes(), "no window was opened")
        for name, node in cluster.nodes.items():
            secret = cluster.folder / f"{name}.token"
            made = cluster.run("repair", "token", CLUSTER, name, "--out", secret)
            assert made.returncode == 0, made.stderr
            asked = ("-f", node.root / "plan.yaml", "--root", node.root, "--repair-token", secret)
            done = cluster.run("repair-node", *asked)
            assert done.returncode == 0, done.stdout + done.stderr
        assert following.wait(60) == 0
    assert "Every identity is fresh." in log.read_text()
    for name, former in before.items():
        for certificate, (number, _) in cluster.nodes[name].certificates().items():
            assert (
                certificate not in {"kubelet-client", "kubelet-serving"} or number != former[certificate][0]
            )
