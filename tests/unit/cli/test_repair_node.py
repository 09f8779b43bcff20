from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.outcome import Trivet

from trivet.agent.files import NodeFiles
from trivet.agent.plan import load_plan
from trivet.pki.serials import serial_hex


class Node:
    """A control plane of a cluster of its own, provisioned below a folder."""

    def __init__(self, trivet: Trivet, folder: Path, cluster: str, plan: str = "control-plane") -> None:
        self.trivet, self.cluster = trivet, cluster
        self.root, self.plan = folder / "node", folder / "plan.yaml"
        trivet("cluster", "create", cluster, "--endpoint", "localhost")
        shown = trivet("plan", "show", plan, "--node", "cp-1", "--address", "127.0.0.1", "--cluster", cluster)
        self.plan.write_text(shown.out)
        self.place = ("-f", self.plan, "--root", self.root)
        trivet("provision", *self.place)

    def serials(self) -> dict[str, str]:
        plan, files = load_plan(self.plan), NodeFiles(self.root)
        pairs = {planned.name: files.read(planned) for planned in plan.certificates}
        return {name: serial_hex(pair.certificate.serial_number) for name, pair in pairs.items() if pair}

    def repair(self, *options: object, code: int = 0) -> dict[str, dict[str, str]]:
        rows = self.trivet("repair-node", *self.place, *options, "-o", "json", code=code).json
        return {row["name"]: row for row in rows}

    def revoke(self, *serials: str) -> None:
        given = [part for serial in serials for part in ("--serial", serial)]
        self.trivet("revoke", "--cluster", self.cluster, *given, "--name", "stolen", "--yes")

    def token(self, folder: Path) -> Path:
        self.trivet("repair", self.cluster, "--no-wait")
        self.trivet("repair", "token", self.cluster, "cp-1", "--out", folder / "token")
        return folder / "token"


@pytest.fixture
def node(trivet: Trivet, tmp_path: Path, request: pytest.FixtureRequest) -> Node:
    return Node(trivet, tmp_path, f"r{abs(hash(request.node.name)) % 10**9}")


def test_by_the_keys_in_place_everything_is_renewed_in_the_order_of_a_repair(node: Node) -> None:
    before = node.serials()
    shown = node.trivet("repair-node", *node.place, "--dry-run", "-o", "json").json
    assert node.serials() == before
    done = node.repair()
    assert list(done) == [row["name"] for row in shown]
    stages = [row["stage"] for row in done.values()]
    assert stages == sorted(stages, key=("etcd", "api-server", "rest").index)
    assert {row["result"] for row in done.values()} == {"renewed"}
    after = node.serials()
    assert len(after) == 12
    assert {name: row["serialNumber"] for name, row in done.items()} == after
    assert set(after.values()).isdisjoint(before.values())
    node.trivet("check-expiration", *node.place)


def test_what_has_expired_waits_for_a_window_and_renews_in_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for floor in ("trivet.pki.validity.SHORTEST", "trivet.agent.plan.build.SHORTEST"):
        monkeypatch.setattr(floor, timedelta(seconds=1))
    text = node.plan.read_text()
    node.plan.write_text(
        text.replace("# certificateValidityPeriod: 96h0m0s", "certificateValidityPeriod: 1s")
    )
    node.repair()
    await_expiry(node)
    expired = node.trivet("check-expiration", *node.place, "-o", "json", code=1).json
    assert {one["state"] for one in expired["certificates"]} == {"expired"}
    node.plan.write_text(text)
    before = node.serials()
    refused = node.repair(code=1)
    assert {row["result"] for row in refused.values()} == {"failed"}
    assert f"trivet repair {node.cluster}" in refused["admin"]["why"]
    assert node.serials() == before
    node.trivet("repair", node.cluster, "--no-wait")
    done = node.repair()
    assert {row["result"] for row in done.values()} == {"renewed"}
    node.trivet("check-expiration", *node.place)
    assert node.trivet("repair", "status", node.cluster, "-o", "json").json["state"]


def await_expiry(node: Node) -> None:
    files, plan = NodeFiles(node.root), load_plan(node.plan)
    pairs = [files.read(planned) for planned in plan.certificates]
    ends = max(pair.certificate.not_valid_after_utc for pair in pairs if pair)
    while datetime.now(UTC) < ends + timedelta(seconds=1):
        time.sleep(0.1)


def test_what_was_revoked_needs_a_one_time_token_and_a_second_run_finds_it_done(
    node: Node, tmp_path: Path
) -> None:
    before = node.serials()
    node.revoke(*before.values())
    refused = node.repair(code=1)
    assert {row["result"] for row in refused.values()} == {"failed"}
    assert "was revoked at" in refused["etcd-server"]["why"]
    assert node.serials() == before
    token = node.token(tmp_path)
    done = node.repair("--repair-token", token)
    assert {row["result"] for row in done.values()} == {"renewed"}
    after = node.serials()
    assert set(after.values()).isdisjoint(before.values())
    again = node.repair("--repair-token", token)
    assert {row["why"] for row in again.values()} == {
        "the one in place is fresh, by an earlier run or another way"
    }
    assert node.serials() == after
    # From here on the keys in place vouch again.
    assert {row["result"] for row in node.repair().values()} == {"renewed"}


def test_a_node_that_lost_its_disk_gets_everything_by_a_one_time_token(node: Node, tmp_path: Path) -> None:
    token = node.token(tmp_path)
    shutil.rmtree(node.root)
    done = node.repair("--repair-token", token)
    assert {row["result"] for row in done.values()} == {"renewed"}
    # The trust bundles came with the first certificate, in time for the kubeconfigs.
    node.trivet("check-expiration", *node.place)
    admin = yaml.safe_load((node.root / "etc/kubernetes/admin.conf").read_text())
    assert admin["clusters"][0]["cluster"]["certificate-authority-data"]


def test_without_anything_in_place_the_way_out_is_told(node: Node) -> None:
    shutil.rmtree(node.root)
    done = node.repair(code=1)
    assert {row["result"] for row in done.values()} == {"failed"}
    assert "there is nothing to renew; run trivet provision" in done["admin"]["why"]


def test_where_the_service_is_away_the_rest_is_not_tried(node: Node, tmp_path: Path) -> None:
    before = node.serials()
    away = node.trivet("--url", "https://127.0.0.1:1", "repair-node", *node.place, "--wait", "1s", code=6)
    assert "12 of 12 could not be renewed" in away.err
    assert node.serials() == before
    missing = node.trivet("repair-node", *node.place, "--repair-token", tmp_path / "nowhere", code=7)
    assert "nowhere cannot be read" in missing.err


def test_hooks_run_once_each_where_they_are_wanted(node: Node, tmp_path: Path) -> None:
    hook = f"hook: {{command: [/bin/sh, -c, 'echo ran >> {tmp_path}/ran']}}"
    text = node.plan.read_text().replace("profile: etcd-server", f"profile: etcd-server\n    {hook}")
    node.plan.write_text(text.replace("profile: etcd-peer", f"profile: etcd-peer\n    {hook}"))
    node.repair()
    assert not (tmp_path / "ran").exists()
    markers = node.root / "var/lib/trivet/hooks"
    assert {path.name for path in markers.iterdir()} >= {"etcd-server", "etcd-peer"}
    without = node.plan.read_text()
    for line in without.splitlines():
        if "crictl" in line or "try-restart" in line:
            without = without.replace(line, "      command: [/bin/true]")
    node.plan.write_text(without)
    node.repair("--hooks")
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert list(markers.iterdir()) == []
