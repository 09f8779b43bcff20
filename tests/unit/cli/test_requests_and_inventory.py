"""`trivet bootstrap-token`, `trivet requests`, `trivet inventory` against a real service."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from tests.support.signing_requests import csr
from tests.unit.cli.outcome import Trivet

from trivet.cli.exits import CommandError
from trivet.cli.inventory_files import read_inventory

IN_DEMO = ("--cluster", "demo")


def with_token(trivet: Trivet, folder: Path, *options: object) -> Path:
    """Make a bootstrap token, and give the file that it is in."""
    file = folder / "bootstrap.token"
    trivet("bootstrap-token", "create", *IN_DEMO, "--out", file, *options)
    return file


def written(folder: Path, request: bytes) -> Path:
    file = folder / "node.csr"
    file.write_bytes(request)
    return file


def test_a_bootstrap_token_is_made_shown_once_listed_and_deleted(trivet: Trivet, tmp_path: Path) -> None:
    made = trivet(
        "bootstrap-token", "create", *IN_DEMO, "--node", "n9", "--expires-in", "2h", "-o", "json"
    ).json
    assert made["token"].startswith(made["id"] + ".")
    listed = trivet("bootstrap-token", "list", *IN_DEMO)
    assert made["id"] in listed.out
    assert made["token"] not in listed.out
    file = with_token(trivet, tmp_path, "--description", "rack 3")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    trivet("bootstrap-token", "delete", made["id"], *IN_DEMO)
    assert made["id"] not in trivet("bootstrap-token", "list", *IN_DEMO).out
    assert trivet("bootstrap-token", "delete", made["id"], *IN_DEMO, code=4).out == ""


def test_a_new_node_gets_its_certificate_with_a_bootstrap_token(trivet: Trivet, tmp_path: Path) -> None:
    token, out = with_token(trivet, tmp_path, "--node", "cli-1"), tmp_path / "node.crt"
    request = written(tmp_path, csr("system:node:cli-1", ("system:nodes",)))
    submit = ("requests", "submit", request, "--profile", "kubelet-client", *IN_DEMO, "--out", out)
    shown = trivet("--token-file", token, *submit)
    assert "approved by rule nodeclient" in shown.out
    assert x509.load_pem_x509_certificate(out.read_bytes()).subject.rfc4514_string() == (
        "CN=system:node:cli-1,O=system:nodes"
    )


def test_a_request_waits_is_approved_and_fetched(trivet: Trivet, tmp_path: Path) -> None:
    request, out = written(tmp_path, csr(key=2)), tmp_path / "scheduler.crt"
    submit = ("requests", "submit", request, "--profile", "scheduler", *IN_DEMO, "--name", "my-scheduler")
    assert "it waits for an approver" in trivet(*submit).err
    assert "my-scheduler" in trivet("requests", "list", "--state", "pending", *IN_DEMO).out
    assert trivet("requests", "wait", "my-scheduler", "--for", "1s", *IN_DEMO, code=6).out
    trivet("requests", "approve", "my-scheduler", "--reason", "as planned", *IN_DEMO)
    shown = trivet("requests", "show", "my-scheduler", *IN_DEMO).out
    assert "as planned" in shown
    assert "Approved" in shown
    trivet("requests", "wait", "my-scheduler", "--out", out, *IN_DEMO)
    assert b"BEGIN CERTIFICATE" in out.read_bytes()
    assert trivet("requests", "deny", "my-scheduler", *IN_DEMO, code=5).err.count("revoke its certificate")
    trivet("requests", "delete", "my-scheduler", *IN_DEMO)
    assert trivet("requests", "show", "my-scheduler", *IN_DEMO, code=4).out == ""


def test_a_denied_request_ends_with_code_1_and_its_reason(trivet: Trivet, tmp_path: Path) -> None:
    request = written(tmp_path, csr(key=3))
    name = trivet("requests", "submit", request, "-p", "admin", *IN_DEMO, "-o", "json").json["name"]
    trivet("requests", "deny", name, "--reason", "nobody we know", *IN_DEMO)
    assert "nobody we know" in trivet("requests", "wait", name, *IN_DEMO, code=1).err


GOOD = "node,dnsNames,ipAddresses\nn1,db.example;db2.example,10.7.0.1 10.7.1.0/24\nn2,,2001:db8:7::1\n"


def test_an_inventory_is_imported_shown_and_changed(trivet: Trivet, tmp_path: Path) -> None:
    file = tmp_path / "nodes.csv"
    file.write_text(GOOD)
    assert "nothing was imported" in trivet("inventory", "import", file, "--dry-run", *IN_DEMO).err
    assert "2 nodes were imported" in trivet("inventory", "import", file, *IN_DEMO).err
    # Other tests have entered other nodes.
    listed = {entry["node"]: entry for entry in trivet("inventory", "list", *IN_DEMO, "-o", "json").json}
    assert {"n1", "n2"} <= listed.keys()
    assert listed["n1"]["ipAddresses"] == ["10.7.0.1", "10.7.1.0/24"]
    yaml = tmp_path / "nodes.yaml"
    yaml.write_text("n3:\n  dnsNames: [x.example]\nn4:\n  ipAddresses:\n  - 10.7.1.9\n")
    refused = trivet("inventory", "import", yaml, *IN_DEMO, code=7)
    assert "1 nodes were imported" in refused.err
    assert (
        "line 3: Conflict (conflict): 10.7.1.9/32, which overlaps 10.7.1.0/24, belongs to the node n1"
        in refused.err
    )
    trivet("inventory", "set", "n4", "--dns", "y.example", *IN_DEMO)
    trivet("inventory", "delete", "n4", *IN_DEMO)
    assert trivet("inventory", "delete", "n4", *IN_DEMO, code=4).out == ""


FAULTY = "node,dnsNames,ipAddresses\nn1,*.example,10.0.0.1\nN2,,\nn3,ok.example,10.0.0.0/8\n"


def test_every_fault_of_a_file_is_told_with_its_line_and_nothing_is_imported(
    trivet: Trivet, tmp_path: Path
) -> None:
    file = tmp_path / "nodes.csv"
    file.write_text(FAULTY)
    refused = trivet("inventory", "import", file, *IN_DEMO, code=7).err
    assert [line.strip()[:7] for line in refused.splitlines()[1:]] == ["line 2:", "line 3:", "line 4:"]
    assert "nothing was imported" in refused


@pytest.mark.parametrize(
    ("text", "is_yaml", "fault"),
    [
        ("host,ip\nn1,10.0.0.1\n", False, "line 1: the header must be node,dnsNames,ipAddresses"),
        ("node\nn1\nn1\n", False, "line 3: the node n1 stands twice"),
        ("node,dnsNames\nn1,a.example\n\nn2,a.example\n", False, "line 4: a.example belongs to the node n1"),
        ("node,dnsNames\nn1,n2\nn2,\n", False, "line 2: n2 belongs to the node n2"),
        (
            "node,ipAddresses\nn1,10.0.0.0/24\nn2,10.0.0.7\n",
            False,
            "line 3: 10.0.0.7/32 belongs to the node n1",
        ),
        (
            "node,ipAddresses\nn1,10.0.0.7\nn2,10.0.0.0/24\n",
            False,
            "line 3: 10.0.0.0/24 belongs to the node n1",
        ),
        ("node,dnsNames\nn1,a b,c\n", False, "line 2: 3 cells instead of 2"),
        ('node,dnsNames\nn1,"a\n', False, "line 2: "),
        ("n1:\n  dnsName: [a]\n", True, "line 2: unknown field"),
        ("n1:\n  dnsNames: a\n", True, "line 2: dnsNames must be a list"),
        ("n1: {}\nn2: []\n", True, "line 2: a node has a mapping"),
        ("- n1\n", True, "line 1: must be a mapping"),
        ("n1:\n  ipAddresses: [10.0.0.300]\n", True, "line 1: "),
        ("n1: [\n", True, "line 2: "),
        ("n1: {}\nn1: {}\n", True, "line 2: the node n1 stands twice"),
    ],
)
def test_a_file_that_is_wrong_says_in_which_line(text: str, is_yaml: bool, fault: str) -> None:  # noqa: FBT001
    with pytest.raises(CommandError) as caught:
        read_inventory("nodes", text, is_yaml=is_yaml)
    assert fault in str(caught.value)


def test_ranges_of_one_node_may_overlap_and_versions_do_not_meet() -> None:
    text = "node,ipAddresses\nn1,10.0.0.0/24 10.0.0.7\nn2,::a00:7 2001:db8::/64\n"
    assert len(read_inventory("nodes", text, is_yaml=False)) == 2
