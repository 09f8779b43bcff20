from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from tests.unit.cli.outcome import Trivet

SAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "renew-revocation.yaml"
_numbers = count(1)


@pytest.fixture
def cluster(trivet: Trivet) -> str:
    """Give a cluster of this test's own, so that what it bans bans nothing of others."""
    name = f"revocations-{next(_numbers)}"
    trivet("cluster", "create", name, "--endpoint", "192.0.2.1")
    return name


def issued(trivet: Trivet, cluster: str, node: str) -> str:
    made = trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", node, "--force", "-o", "json")
    serial: str = made.json["serialNumber"]
    return serial


def test_the_sample_manifest_is_taken_as_it_is(trivet: Trivet, cluster: str) -> None:
    issued(trivet, cluster, "n")
    done = trivet("revoke", "-f", SAMPLE, "-c", cluster, "--yes")
    assert done.out == "kube-system/my-renew-revocation stands with entries: 5; certificates revoked: 1\n"
    assert "Warning: the API server of the cluster" in done.err
    shown = trivet("revocations", "show", "my-renew-revocation", "-c", cluster)
    for value in ("77fdf4b1033b387aaace6ce1c18710c2", "system:nodes", ".cluster.local", "170.63.128.124"):
        assert value in shown.out
    listed = trivet("revocations", "list", "-c", cluster, "-o", "json").json
    assert [item["metadata"]["name"] for item in listed] == ["my-renew-revocation"]
    assert (
        "Revoked (revoked)"
        in trivet("issue", "-c", cluster, "-p", "kubelet-client", "--node", "m", code=1).err
    )
    deleted = trivet("revocations", "delete", "my-renew-revocation", "-c", cluster)
    assert "stay revoked" in deleted.err
    issued(trivet, cluster, "m")


def test_the_same_name_twice_is_a_conflict_unless_it_is_replaced(trivet: Trivet, cluster: str) -> None:
    again = ["--name", "r", "-c", cluster, "--yes"]
    trivet("revoke", "--ip", "192.0.2.1", *again)
    assert "conflict" in trivet("revoke", "--ip", "192.0.2.2", *again, code=5).err
    trivet("revoke", "--ip", "192.0.2.0/24", *again, "--replace")
    shown = trivet("revocations", "show", "r", "-c", cluster, "-o", "json").json
    assert [entry["ip"] for entry in shown["spec"]["revocations"]] == ["192.0.2.0/24"]
    assert (
        "notFound"
        in trivet(
            "revoke", "--ip", "192.0.2.2", "--name", "s", "-c", cluster, "--yes", "--replace", code=4
        ).err
    )


def test_every_fault_of_a_malformed_manifest_is_told_with_its_place(
    trivet: Trivet, cluster: str, tmp_path: Path
) -> None:
    text = SAMPLE.read_text().replace("170.63.128.124", "nonsense").replace("77fdf4b1", "xyz")
    (tmp_path / "bad.yaml").write_text(text)
    refused = trivet("revoke", "-f", "bad.yaml", "-c", cluster, "--yes", code=1)
    assert "badRevocation" in refused.err
    assert "  /spec/revocations/0/serialNumber: " in refused.err
    assert "  /spec/revocations/4/ip: " in refused.err
    assert trivet("revocations", "list", "-c", cluster, "-o", "json").json == []


@pytest.mark.parametrize("text", ["", "[]", "a: b", "metadata: 1", "{", "\x00"])
def test_a_file_that_is_no_manifest_is_a_local_problem(trivet: Trivet, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert "is not a RenewRevocation" in trivet("revoke", "-f", "bad.yaml", "--yes", code=7).err


def test_every_kind_of_entry_can_be_given_by_option(trivet: Trivet, cluster: str) -> None:
    options = {
        "--serial": "01:AB",
        "--group": "g",
        "--dns": ".example.org",
        "--ip": "192.0.2.1",
        "--common-name": "cn",
        "--public-key": "ab" * 32,
    }
    arguments = [text for pair in options.items() for text in pair]
    done = trivet(
        "revoke", *arguments, "--description", "why", "--name", "r", "-c", cluster, "--yes", "-o", "json"
    )
    spec = done.json["spec"]
    assert spec["description"] == "why"
    assert [entry["kind"] for entry in spec["revocations"]] == [
        "SerialNumber",
        "Group",
        "DNS",
        "IP",
        "CommonName",
        "PublicKey",
    ]


def test_not_before_now_revokes_the_existing_and_bans_nothing(trivet: Trivet, cluster: str) -> None:
    issued(trivet, cluster, "n")
    done = trivet(
        "revoke", "--group", "system:nodes", "--not-before", "now", "-c", cluster, "--yes", "-o", "json"
    )
    (entry,) = done.json["spec"]["revocations"]
    assert entry["notBefore"].endswith("Z")
    assert done.json["metadata"]["name"].startswith("revoke-")
    assert done.json["status"]["marked"] in {0, 1}  # issued in the same second, or before it
    issued(trivet, cluster, "n")


def test_without_yes_and_without_anybody_to_ask_nothing_is_revoked(trivet: Trivet, cluster: str) -> None:
    issued(trivet, cluster, "n")
    asked = trivet("revoke", "--group", "system:nodes", "-c", cluster, code=2)
    assert "Live certificates that would be revoked: 1" in asked.err
    assert "  1 kubelet-client on n" in asked.err
    assert "nothing was revoked" in asked.err
    assert trivet("revocations", "list", "-c", cluster, "-o", "json").json == []


@pytest.mark.parametrize(("answer", "code", "standing"), [("n\n", 1, 0), ("y\n", 0, 1)])
def test_the_preview_is_shown_and_the_answer_decides(
    trivet: Trivet, cluster: str, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, standing: int
) -> None:
    monkeypatch.setattr("trivet.cli.revoke.is_interactive", lambda: True)
    asked = trivet("revoke", "--group", "g", "-c", cluster, stdin=answer, code=code)
    assert f"Revoke in the cluster {cluster}?" in asked.err
    assert len(trivet("revocations", "list", "-c", cluster, "-o", "json").json) == standing


def test_a_preview_changes_nothing_and_its_token_confirms(trivet: Trivet, cluster: str) -> None:
    issued(trivet, cluster, "n")
    arguments = ["--group", "system:nodes", "--name", "r", "-c", cluster]
    shown = trivet("revocations", "preview", *arguments)
    assert "Group system:nodes, until the entry is deleted" in shown.err
    assert trivet("revocations", "preview", *arguments, "-o", "json").json["count"] == 1
    assert trivet("revocations", "list", "-c", cluster, "-o", "json").json == []
    trivet("revoke", *arguments, "--confirm", shown.out.strip())


def test_all_clusters_is_a_scope_of_its_own(trivet: Trivet, cluster: str) -> None:
    trivet("revoke", "--common-name", "nobody-anywhere", "--name", "everywhere", "--all-clusters", "--yes")
    listed = trivet("revocations", "list", "--all-clusters").out
    assert "everywhere" in listed
    assert "everywhere" not in trivet("revocations", "list", "-c", cluster).out
    trivet("revocations", "delete", "everywhere", "--all-clusters")
    both = trivet("revoke", "--group", "g", "-c", cluster, "--all-clusters", "--yes", code=2)
    assert "not both" in both.err


def test_what_to_revoke_must_be_said_once(trivet: Trivet) -> None:
    assert "say what to revoke" in trivet("revoke", code=2).err
    assert "say what to revoke" in trivet("revoke", "-f", SAMPLE, "--group", "g", code=2).err
    assert "do not go with -f" in trivet("revoke", "-f", SAMPLE, "--name", "n", code=2).err


def test_what_does_not_stand_is_not_found(trivet: Trivet) -> None:
    for command in ("show", "delete"):
        assert "notFound" in trivet("revocations", command, "nothing", code=4).err
