from __future__ import annotations

import stat
import subprocess
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.unit.cli.outcome import Trivet

_numbers = count(1)


@pytest.fixture
def node() -> str:
    """Give a node's name that no other test has."""
    return f"node-{next(_numbers)}"


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def is_a_pair(certificate_path: Path, key_path: Path) -> bool:
    key = load_pem_private_key(key_path.read_bytes(), None)
    return certificate(certificate_path).public_key() == key.public_key()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_issue_writes_a_certificate_and_its_private_key(trivet: Trivet, tmp_path: Path, node: str) -> None:
    done = trivet("issue", "-p", "kubelet-client", "--node", node)
    leaf, key = tmp_path / f"kubelet-client-{node}.crt", tmp_path / f"kubelet-client-{node}.key"
    assert is_a_pair(leaf, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(leaf.stat().st_mode) & 0o600 == 0o600
    assert f"O=system:nodes,CN=system:node:{node}" in done.out or f"system:node:{node}" in done.out
    assert str(key.name) in done.err
    assert "PRIVATE KEY" not in done.out + done.err


@pytest.mark.parametrize("key_type", ["ECDSA-P256", "ECDSA-P384", "ECDSA-P521", "Ed25519"])
def test_issue_makes_keys_of_every_kind(trivet: Trivet, tmp_path: Path, node: str, key_type: str) -> None:
    trivet("issue", "-p", "kubelet-client", "--node", node, "--key-type", key_type, "--name", "x")
    assert is_a_pair(tmp_path / "x.crt", tmp_path / "x.key")


def test_issue_puts_names_into_the_request(trivet: Trivet, tmp_path: Path, node: str) -> None:
    hosts = ["--dns", f"{node}.example.org", "--ip", "192.0.2.7"]
    done = trivet("issue", "-p", "etcd-server", "--node", node, *hosts, "-d", tmp_path, "-o", "json")
    assert done.json["dnsNames"] == [f"{node}.example.org"]
    assert done.json["ipAddresses"] == ["192.0.2.7"]
    user = ["--cn", "jane", "--group", "dev", "--group", "ops", "--expires-in", "10m"]
    done = trivet("issue", "-p", "kube-apiserver-client", *user, "-o", "yaml")
    shown = yaml.safe_load(done.out)
    assert (shown["commonName"], sorted(shown["organizations"])) == ("jane", ["dev", "ops"])


def test_issue_never_writes_over_files_unless_forced(trivet: Trivet, tmp_path: Path, node: str) -> None:
    (tmp_path / "x.key").write_text("precious")
    refused = trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x", code=7)
    assert "x.key is there already and was left as it is" in refused.err
    assert names(tmp_path) == {"x.key"}
    assert (tmp_path / "x.key").read_text() == "precious"
    (tmp_path / "x.key").chmod(0o644)
    trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x", "--force")
    assert is_a_pair(tmp_path / "x.crt", tmp_path / "x.key")
    assert stat.S_IMODE((tmp_path / "x.key").stat().st_mode) == 0o600


def test_a_refused_issue_leaves_no_file_and_says_why(trivet: Trivet, tmp_path: Path) -> None:
    refused = trivet("issue", "-p", "etcd-server", "--node", "n", code=1)
    assert "rejectedIdentifier" in refused.err
    assert "needs a subjectAltName" in refused.err
    assert names(tmp_path) == set()
    unknown = trivet("issue", "-p", "nonsense", code=1)
    assert "there is no profile 'nonsense'; choose one of apiserver" in unknown.err


def test_a_host_that_is_none_is_wrong_usage(trivet: Trivet) -> None:
    assert "not a name" in trivet("issue", "-p", "etcd-server", "--dns", "not a name", code=2).err


def test_a_folder_that_is_not_there_is_a_local_problem(trivet: Trivet, node: str) -> None:
    refused = trivet("issue", "-p", "kubelet-client", "--node", node, "-d", "missing", code=7)
    assert "cannot be written: No such file or directory" in refused.err


def test_sign_prints_the_certificate_for_a_csr_of_openssl(
    trivet: Trivet, tmp_path: Path, node: str, require_tool: object
) -> None:
    del require_tool
    subject = f"/O=system:nodes/CN=system:node:{node}"
    request = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-subj", subject]
    files = ["-keyout", "x.key", "-out", "x.csr"]
    subprocess.run(
        ["openssl", "req", "-new", *request, *files], check=True, capture_output=True, cwd=tmp_path
    )
    done = trivet("sign", "x.csr", "-p", "kubelet-client")
    assert done.out.startswith("-----BEGIN CERTIFICATE-----")
    assert x509.load_pem_x509_certificates(done.out.encode())[0].subject.rfc4514_string()
    piped = trivet("sign", "-", "-p", "kubelet-client", "-o", "json", stdin=(tmp_path / "x.csr").read_text())
    assert piped.json["node"] == node
    trivet("sign", "x.csr", "-p", "kubelet-client", "--out", "x.crt")
    assert is_a_pair(tmp_path / "x.crt", tmp_path / "x.key")
    assert "is there already" in trivet("sign", "x.csr", "-p", "kubelet-client", "--out", "x.crt", code=7).err


def test_sign_of_something_else_is_refused(trivet: Trivet) -> None:
    assert "badCSR" in trivet("sign", "-", "-p", "admin", stdin="this is no CSR", code=1).err
    assert "missing.csr cannot be read" in trivet("sign", "missing.csr", "-p", "admin", code=7).err


@pytest.mark.parametrize("way", [[], ["--message"]])
def test_renew_replaces_the_pair_with_a_new_key(
    trivet: Trivet, tmp_path: Path, node: str, way: list[str]
) -> None:
    trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x", "--key-type", "ECDSA-P256")
    former, former_key = certificate(tmp_path / "x.crt"), (tmp_path / "x.key").read_bytes()
    done = trivet("renew", "--certificate", "x.crt", *way, "-o", "json")
    renewed = certificate(tmp_path / "x.crt")
    assert is_a_pair(tmp_path / "x.crt", tmp_path / "x.key")
    assert renewed.serial_number != former.serial_number
    assert renewed.subject == former.subject
    assert renewed.public_key() != former.public_key()
    assert (tmp_path / "x.key").read_bytes() != former_key
    assert stat.S_IMODE((tmp_path / "x.key").stat().st_mode) == 0o600
    assert int(done.json["serialNumber"], 16) == renewed.serial_number
    assert names(tmp_path) == {"x.crt", "x.key"}


def test_renew_needs_no_token(
    trivet: Trivet, tmp_path: Path, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x")
    monkeypatch.setenv("TRIVET_TOKEN_FILE", str(tmp_path / "missing.token"))
    trivet("renew", "--certificate", "x.crt")
    assert "missing.token cannot be read" in trivet("certificates", "list", code=7).err


def test_renew_of_a_certificate_that_only_serves_works_as_well(trivet: Trivet, node: str) -> None:
    trivet("issue", "-p", "kubelet-serving", "--node", node, "--ip", "192.0.2.1", "--name", "x")
    trivet("renew", "--certificate", "x.crt")


@pytest.mark.parametrize("way", [[], ["--message"]])
def test_a_refused_renewal_leaves_the_pair_and_nothing_else(
    trivet: Trivet, tmp_path: Path, node: str, way: list[str]
) -> None:
    issued = trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x", "-o", "json").json
    trivet("revoke", "--serial", issued["serialNumber"], "--name", f"r-{node}", "--yes")
    before = (tmp_path / "x.crt").read_bytes(), (tmp_path / "x.key").read_bytes()
    refused = trivet("renew", "--certificate", "x.crt", *way, code=1)
    assert "Revoked (revoked)" in refused.err
    assert ((tmp_path / "x.crt").read_bytes(), (tmp_path / "x.key").read_bytes()) == before
    assert names(tmp_path) == {"x.crt", "x.key"}


def test_a_key_of_another_certificate_is_told_before_anything_is_sent(
    trivet: Trivet, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "y"):
        trivet("issue", "-p", "kubelet-client", "--node", node, "--name", name)
    monkeypatch.setenv("TRIVET_URL", "https://127.0.0.1:1")
    refused = trivet("renew", "--certificate", "x.crt", "--key", "y.key", code=7)
    assert "does not belong to the certificate in x.crt" in refused.err
    assert (
        "x.crt holds no unencrypted private key"
        in trivet("renew", "--certificate", "x.crt", "--key", "x.crt", code=7).err
    )


def test_list_finds_by_every_condition(trivet: Trivet, node: str) -> None:
    address = f"198.51.100.{next(_numbers)}"
    hosts = ["--dns", f"{node}.find.example", "--ip", address]
    made = trivet("issue", "-p", "kubelet-serving", "--node", node, *hosts, "-o", "json").json
    for condition in (
        ["--serial", made["serialNumber"]],
        ["--cn", f"system:node:{node}"],
        ["--group", "system:nodes"],
        ["--dns", f"{node}.find.example"],
        ["--dns-suffix", "find.example"],
        ["--ip", address],
        ["--profile", "kubelet-serving"],
        ["--authority", "cluster"],
        ["--status", "valid"],
        ["--not-after-before", "2100-01-01T00:00:00Z"],
        ["--issued-after", "2020-01-01T00:00:00Z"],
    ):
        found = trivet("certificates", "list", *condition, "-o", "json").json
        assert made["serialNumber"] in {item["serialNumber"] for item in found}, condition
    assert len(trivet("certificates", "list", "--limit", 1, "-o", "json").json) == 1
    assert trivet("certificates", "list", "--cn", "nobody", "-o", "json").json == []
    table = trivet("certificates", "list", "--serial", made["serialNumber"]).out.splitlines()
    assert table[0].split() == ["SERIAL", "NUMBER", "PROFILE", "NODE", "CN", "STATUS", "NOT", "AFTER"]
    assert table[1].startswith(made["serialNumber"])


def test_show_tells_all_of_a_certificate(trivet: Trivet, tmp_path: Path, node: str) -> None:
    made = trivet("issue", "-p", "kubelet-client", "--node", node, "--name", "x", "-o", "json").json
    serial = made["serialNumber"]
    assert trivet("certificates", "show", serial, "-o", "json").json["node"] == node
    assert "Status:" in trivet("certificates", "show", serial).out
    assert trivet("certificates", "show", serial, "--pem").out == (tmp_path / "x.crt").read_text()
    assert "notFound" in trivet("certificates", "show", "abcdef", code=4).err


def test_explain_tells_why_a_certificate_was_issued(trivet: Trivet, node: str) -> None:
    made = trivet("issue", "-p", "kubelet-client", "--node", node, "-o", "json").json
    shown = trivet("certificates", "explain", made["serialNumber"])
    assert "Verdict:" in shown.out
    assert "issued" in shown.out
    by_id = trivet("certificates", "explain", "--decision", made["decision"], "-o", "json").json
    assert by_id["serialNumber"] == made["serialNumber"]


def test_a_refusal_says_how_to_ask_why_and_that_works_when_pasted(trivet: Trivet, node: str) -> None:
    trivet("revoke", "--common-name", f"system:node:{node}", "--name", f"r-{node}", "--yes")
    refused = trivet("issue", "-p", "kubelet-client", "--node", node, code=1)
    (line,) = [line for line in refused.err.splitlines() if "why: trivet " in line]
    explained = trivet(*line.partition("why: trivet ")[2].split())
    assert "refused" in explained.out
    assert f"system:node:{node}" in explained.out
    assert "Revocation entries that were considered:" in explained.out


def test_explain_wants_a_serial_number_or_a_decision(trivet: Trivet) -> None:
    for arguments in ([], ["abc", "--decision", "d"]):
        assert "or --decision" in trivet("certificates", "explain", *arguments, code=2).err


def test_without_a_cluster_the_command_says_how_to_name_one(
    bare_trivet: Trivet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_URL", "https://127.0.0.1:1")
    assert "which cluster? name it with --cluster" in bare_trivet("certificates", "list", code=2).err


def test_the_cluster_of_a_flag_is_stronger_than_that_of_the_settings(trivet: Trivet) -> None:
    assert "no-such" in trivet("certificates", "list", "-c", "no-such", code=4).err


@pytest.mark.parametrize("way", [[], ["--message"]])
def test_a_certificate_lives_no_longer_than_was_asked(trivet: Trivet, node: str, way: list[str]) -> None:
    for command in (
        ["issue", "-p", "kubelet-client", "--node", node, "--name", "x"],
        ["renew", "--certificate", "x.crt", *way],
    ):
        made = trivet(*command, "--expires-in", "20m", "-o", "json").json
        lifetime = datetime.fromisoformat(made["notAfter"]) - datetime.fromisoformat(made["issuedAt"])
        assert timedelta(minutes=19) < lifetime < timedelta(minutes=21)
    assert "600 seconds" in trivet("renew", "--certificate", "x.crt", "--expires-in", "10s", code=1).err
