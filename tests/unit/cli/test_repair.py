"""`trivet repair` and what belongs to it, against a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.world import CLUSTER_NAMES
from tests.unit.cli.outcome import Trivet

from trivet.authority.context import Authority
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.repair import close_repair, list_repairs
from trivet.bootstrap.composition import build_authority
from trivet.bootstrap.initialise import Installation
from trivet.client.keys import build_request, key_pem, new_key
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.pem import from_der, to_pem

_numbers = count(1)
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def past(service: Installation) -> Iterator[Authority]:
    """Give the service's authority as it was ten minutes ago: what lives ten minutes has just expired."""
    authority = build_authority(service.settings)
    yield replace(authority, clock=lambda: datetime.now(UTC) - TEN_MINUTES - timedelta(seconds=2))
    authority.database.dispose()


@pytest.fixture
def cluster(past: Authority) -> str:
    name = f"repair-{next(_numbers)}"
    create_cluster(past, OPERATOR, name, CLUSTER_NAMES)
    return name


def expired(past: Authority, cluster: str, node: str, profile: str = "kubelet-client") -> str:
    """Put NODE.crt and NODE.key into the folder, whose certificate has expired; its serial number."""
    key = new_key(KeyAlgorithm.P256)
    request = build_request(key, hosts=(node,) if profile == "etcd-peer" else ())
    stored = issue(past, OPERATOR, Issuance(cluster, profile, request, node, TEN_MINUTES)).stored
    Path(f"{node}.crt").write_bytes(to_pem([from_der(stored.der)]))
    Path(f"{node}.key").write_bytes(key_pem(key))
    return stored.serial


def renew(trivet: Trivet, cluster: str, node: str, code: int = 0) -> str:
    return trivet("renew", "--certificate", f"{node}.crt", "-c", cluster, code=code).err


def test_a_repair_from_the_rehearsal_to_the_end(trivet: Trivet, past: Authority, cluster: str) -> None:
    expired(past, cluster, "w")
    assert "expired" in renew(trivet, cluster, "w", code=1)
    rehearsed = trivet("repair", cluster, "--dry-run")
    assert "rehearsal; fresh: 0 of 1" in rehearsed.out
    assert "Nothing bars the way." in rehearsed.out
    assert trivet("repair", "list", cluster, "-o", "json").json == []
    assert "never repaired" in trivet("repair", "status", cluster, code=4).err
    opened = trivet(
        "repair", cluster, "--no-wait", "--for", "30m", "--patience", "10s", "--expired-for", "1d"
    )
    assert "open" in opened.out
    assert f"trivet repair abandon {cluster} w" in opened.out
    assert f"trivet repair status {cluster}" in trivet("repair", cluster, code=5).err
    renew(trivet, cluster, "w")
    done = trivet("repair", "status", cluster, "--watch")
    assert "Every identity is fresh." in done.out
    assert f"{cluster}: completed" in done.out
    assert "no open repair window" in trivet("repair", "close", cluster, code=4).err


def test_following_shows_each_change_once_and_ends_with_1_where_the_window_ends_before(
    trivet: Trivet, past: Authority, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired(past, cluster, "w")
    glances = 0

    def glance(_: float) -> None:
        nonlocal glances
        glances += 1
        if glances == 3:
            window = list_repairs(past, OPERATOR, cluster, None, 1)[1][0]
            close_repair(replace(past, clock=lambda: datetime.now(UTC)), OPERATOR, cluster, window.id)

    monkeypatch.setattr("trivet.cli.repair_view.time", SimpleNamespace(sleep=glance))
    ended = trivet("repair", cluster, code=1)
    assert ended.err.count("rest 0/1 (current)") == 1
    assert "1 of 1 identities are not fresh; the window is closed" in ended.err


def test_a_one_time_token_goes_to_a_file_or_to_the_screen_and_brings_a_node_back(
    trivet: Trivet, past: Authority, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = expired(past, cluster, "w")
    trivet("revoke", "--serial", serial, "-c", cluster, "--yes")
    opened = trivet("repair", cluster, "--no-wait", "-o", "json").json
    assert [bar["command"] for bar in opened["bars"]] == [f"trivet repair token {cluster} w"]
    assert "revoked" in renew(trivet, cluster, "w", code=1)
    shown = trivet("repair", "token", cluster, "w")
    assert shown.out.startswith("trivet-repair_")
    assert "kubelet-client" in shown.err
    made = trivet("repair", "token", cluster, "w", "--out", "w.token", "-o", "json")
    secret = Path("w.token").read_text().strip()
    assert Path("w.token").stat().st_mode & 0o777 == 0o600
    assert "secret" not in made.json
    assert secret not in made.out + made.err
    assert "is there already" in trivet("repair", "token", cluster, "w", "--out", "w.token", code=7).err
    monkeypatch.setenv("TRIVET_TOKEN", secret)
    again = ("-c", cluster, "-p", "kubelet-client", "--node", "w", "--force")
    trivet("issue", *again)
    assert "each once" in trivet("issue", *again, code=3).err
    monkeypatch.delenv("TRIVET_TOKEN")
    assert "completed" in trivet("repair", "status", cluster).out


def test_stages_are_skipped_and_nodes_given_up_and_taken_back(
    trivet: Trivet, past: Authority, cluster: str
) -> None:
    expired(past, cluster, "cp", "etcd-peer")
    expired(past, cluster, "w")
    trivet("repair", cluster, "--no-wait")
    assert "stageWaits" in renew(trivet, cluster, "w", code=5)
    assert "skipped" in trivet("repair", "skip", cluster, "etcd").out
    assert "given up: 1 identities of cp" in trivet("repair", "abandon", cluster, "cp").err
    assert "waited for again: cp" in trivet("repair", "take-back", cluster, "cp").err
    renew(trivet, cluster, "w")
    assert "closed: " in trivet("repair", "close", cluster).err
    assert "held" not in trivet("repair", "token", cluster, "w", code=4).out


def test_a_cluster_that_holds_nothing_is_not_called_repaired(trivet: Trivet, cluster: str) -> None:
    ended = trivet("repair", cluster, code=1)
    assert "holds no certificate that is kept" in ended.out + ended.err


class TestBundles:
    """By files that are carried by hand."""

    def test_there_and_back(self, trivet: Trivet, past: Authority, cluster: str) -> None:
        serial = expired(past, cluster, "w")
        former_key = Path("w.key").read_bytes()
        bundle = ("repair", "bundle")
        trivet(*bundle, "request", "w.request", "--certificate", "w.crt", "-c", cluster)
        kept = next(Path("trivet-repair").iterdir())
        assert kept.stat().st_mode & 0o777 == 0o600
        carried = Path("w.request").read_text() + ""
        assert "PRIVATE KEY" not in carried
        assert (
            "no open repair window" in trivet(*bundle, "sign", cluster, "w.request", "w.bundle", code=4).err
        )
        trivet("repair", cluster, "--no-wait")
        signed = trivet(*bundle, "sign", cluster, "w.request", "w.bundle", "-o", "json").json
        assert [(one["serialNumber"], one["result"]) for one in signed] == [(serial, "renewed")]
        # Lost on the way: signed again, into another file, it holds the same certificate.
        trivet(*bundle, "sign", cluster, "w.request", "again.bundle")
        assert json.loads(Path("again.bundle").read_text()) == json.loads(Path("w.bundle").read_text())
        installed = trivet(*bundle, "install", "again.bundle", "--certificate", "w.crt")
        assert "installed: " in installed.err
        assert Path("w.key").read_bytes() != former_key
        assert not kept.exists()
        renew(trivet, cluster, "w")

    def test_what_does_not_fit_is_left_as_it_is(self, trivet: Trivet, past: Authority, cluster: str) -> None:
        for node in ("v", "w"):
            expired(past, cluster, node)
            trivet(
                "repair",
                "bundle",
                "request",
                f"{node}.request",
                "--certificate",
                f"{node}.crt",
                "-c",
                cluster,
            )
        trivet("repair", cluster, "--no-wait")
        trivet("repair", "bundle", "sign", cluster, "w.request", "w.bundle")
        before = Path("v.crt").read_bytes()
        swapped = json.loads(Path("w.bundle").read_text())
        (folder,) = {path.parent for path in Path("trivet-repair").iterdir()}
        (name,) = [path.stem for path in folder.iterdir() if path.stem.endswith("v")]
        swapped["items"][0]["name"] = name
        Path("swapped.bundle").write_text(json.dumps(swapped))
        left = trivet("repair", "bundle", "install", "swapped.bundle", "--certificate", "v.crt", code=1)
        assert "it is not for the key that was kept for it" in left.err
        assert Path("v.crt").read_bytes() == before

    def test_a_request_for_another_cluster_or_none_is_refused(
        self, trivet: Trivet, past: Authority, cluster: str
    ) -> None:
        expired(past, cluster, "w")
        trivet("repair", "bundle", "request", "w.request", "--certificate", "w.crt", "-c", cluster)
        trivet("repair", cluster, "--no-wait")
        wrong = trivet("repair", "bundle", "sign", "demo", "w.request", "w.bundle", code=7)
        assert f"is for the cluster {cluster}, not for demo" in wrong.err
        Path("nonsense").write_text("[]")
        assert (
            "is no RepairRequest" in trivet("repair", "bundle", "sign", cluster, "nonsense", "x", code=7).err
        )
        assert "which certificates?" in trivet("repair", "bundle", "request", "x", "-c", cluster, code=2).err


class TestUpkeep:
    """`trivet cluster renew`, `budget`, `identities`."""

    def test_a_cluster_renews_early(self, trivet: Trivet, cluster: str) -> None:
        assert "was not asked" in trivet("cluster", "renew", cluster, "--status", code=4).err
        trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", "w")
        asked = trivet("cluster", "renew", cluster, "--over", "10m")
        assert "fresh: 0 of 1" in asked.out
        trivet("renew", "--certificate", "kubelet-client-w.crt", "-c", cluster)
        assert "fresh: 1 of 1" in trivet("cluster", "renew", cluster, "--status").out
        assert trivet("cluster", "renew", cluster, "--status", "-o", "json").json["fresh"] == 1

    def test_watching_ends_with_1_an_hour_after_the_time_where_somebody_is_late(
        self, trivet: Trivet, cluster: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", "w")
        real = datetime.now(UTC)
        moments = iter([real, real + timedelta(minutes=69), real + timedelta(minutes=71)])
        monkeypatch.setattr("trivet.cli.upkeep.now", lambda: next(moments))
        monkeypatch.setattr("trivet.cli.upkeep.time", SimpleNamespace(sleep=lambda _: None))
        watched = trivet("cluster", "renew", cluster, "--over", "10m", "--watch", code=1)
        assert watched.err.count("fresh: 0 of 1") == 2
        assert "1 of 1 identities have not renewed" in watched.err

    def test_the_budget_is_told_of_the_cluster_and_each_node(
        self, trivet: Trivet, past: Authority, cluster: str
    ) -> None:
        assert "holds nothing" in trivet("cluster", "budget", cluster).out
        trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", "v")
        assert "survives 3d 23h" in trivet("cluster", "budget", cluster).out
        expired(past, cluster, "w")
        ended = trivet("cluster", "budget", cluster)
        assert "does not survive: its first certificate ended at" in ended.out
        assert trivet("cluster", "budget", cluster, "-o", "json").json["seconds"] < 0

    def test_identities_are_listed(self, trivet: Trivet, past: Authority, cluster: str) -> None:
        serial = expired(past, cluster, "w")
        trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", "v")
        shown = trivet("cluster", "identities", cluster)
        assert serial in shown.out
        assert "expired" in shown.out
        only = trivet("cluster", "identities", cluster, "--node", "v", "-o", "json").json
        assert [one["node"] for one in only] == ["v"]
