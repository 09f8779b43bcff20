from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.cli.outcome import Trivet

from trivet.pki.pem import to_pem
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import root_builder, root_subject, root_validity
from trivet.pki.serials import serial_from_random
from trivet.signing.file import sign_root

KUBEADM = {"cluster": "ca", "etcd": "etcd/ca", "front-proxy": "front-proxy-ca"}


def kubeadm_folder(folder: Path) -> Path:
    """A folder as kubeadm makes it, with keys of kubeadm's default kind."""
    for number, (authority, stem) in enumerate(KUBEADM.items(), start=1):
        key = (
            rsa.generate_private_key(65537, 2048) if number == 1 else ec.generate_private_key(ec.SECP256R1())
        )
        subject = root_subject(AuthorityName(authority), "old")
        validity = root_validity(datetime.now(UTC))
        builder = root_builder(subject, key.public_key(), serial_from_random(number), validity)
        certificate = sign_root(key, builder)
        file = folder / f"{stem}.crt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(to_pem([certificate]))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        file.with_suffix(".key").write_bytes(private)
    return folder


def test_a_cluster_is_made_listed_and_shown(trivet: Trivet) -> None:
    arguments = [
        "--endpoint",
        "api.example.org",
        "--service-cidr",
        "10.1.0.0/16",
        "--dns-domain",
        "k8s.local",
    ]
    trivet("cluster", "create", "made", *arguments)
    assert "made" in trivet("cluster", "list").out
    shown = trivet("cluster", "show", "made", "-o", "json").json
    assert (shown["endpoint"], shown["serviceCidr"]) == ("api.example.org", "10.1.0.0/16")
    assert {item["authority"] for item in shown["authorities"]} == {"cluster", "etcd", "front-proxy"}
    assert yaml.safe_load(trivet("cluster", "show", "made", "-o", "yaml").out) == shown
    table = trivet("cluster", "show", "made").out
    assert "Endpoint:      api.example.org" in table
    assert "ECDSA-P384" in table


def test_a_cluster_of_that_name_is_a_conflict_and_an_unknown_one_is_not_found(trivet: Trivet) -> None:
    assert (
        "there is a cluster 'demo' already"
        in trivet("cluster", "create", "demo", "--endpoint", "x", code=5).err
    )
    assert "notFound" in trivet("cluster", "show", "nowhere", code=4).err


def test_the_ca_is_printed_as_pem(trivet: Trivet) -> None:
    printed = trivet("cluster", "ca", "demo", "--authority", "etcd").out
    (certificate,) = x509.load_pem_x509_certificates(printed.encode())
    assert "etcd CA" in certificate.subject.rfc4514_string()
    assert trivet("cluster", "ca", "demo", "--authority", "etcd", "--bundle").out == printed
    assert (
        "a cluster has the authorities"
        in trivet("cluster", "ca", "demo", "--authority", "service", code=2).err
    )


def test_a_kubeadm_folder_is_taken_over(trivet: Trivet, tmp_path: Path) -> None:
    folder = kubeadm_folder(tmp_path / "pki")
    trivet("cluster", "import", "old", folder, "--endpoint", "192.0.2.1")
    for authority, stem in KUBEADM.items():
        printed = trivet("cluster", "ca", "old", "--authority", authority).out
        assert printed == (folder / f"{stem}.crt").read_text()
    trivet("issue", "-c", "old", "-p", "admin")
    leaf = x509.load_pem_x509_certificate((tmp_path / "admin.crt").read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()))


def test_what_is_missing_or_wrong_in_the_folder_is_named(trivet: Trivet, tmp_path: Path) -> None:
    folder = kubeadm_folder(tmp_path / "pki")
    (folder / "etcd" / "ca.key").write_text("secret-looking junk")
    refused = trivet("cluster", "import", "broken", folder, "--endpoint", "x", code=1)
    assert "/import/etcd/privateKey: " in refused.err
    assert "secret-looking" not in refused.err
    (folder / "etcd" / "ca.key").unlink()
    missing = trivet("cluster", "import", "broken", folder, "--endpoint", "x", code=7)
    assert "etcd/ca.key cannot be read: No such file" in missing.err


def test_a_tokens_secret_is_printed_once_and_alone(trivet: Trivet, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trivet("token", "create", "--role", "auditor", "--description", "alone")
    secret = made.out.strip()
    assert secret.startswith("trivet_")
    assert secret not in made.err
    assert secret not in trivet("token", "list", "-o", "json").out
    monkeypatch.setenv("TRIVET_TOKEN", secret)
    trivet("certificates", "list")
    refused = trivet("cluster", "create", "x", "--endpoint", "x", code=3)
    assert "the role auditor lacks the permission clusters:create" in refused.err
    assert secret not in refused.err


def test_a_tokens_secret_can_go_into_a_file(trivet: Trivet, tmp_path: Path) -> None:
    arguments = ["--role", "issuer", "--cluster", "demo", "--expires-in", "30d", "--out", "issuer.token"]
    made = trivet("token", "create", *arguments, "-o", "json")
    file = tmp_path / "issuer.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in made.json
    assert made.json["expiresAt"] > made.json["createdAt"]
    trivet("--token-file", "issuer.token", "issue", "-p", "kubelet-client", "--node", "by-issuer")
    assert "is there already" in trivet("token", "create", *arguments, code=7).err


def test_a_deleted_token_is_worthless(trivet: Trivet, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trivet("token", "create", "--role", "auditor", "-o", "json").json
    assert made["id"] in trivet("token", "list").out
    trivet("token", "delete", made["id"])
    assert "notFound" in trivet("token", "delete", made["id"], code=4).err
    monkeypatch.setenv("TRIVET_TOKEN", made["secret"])
    refused = trivet("certificates", "list", code=3)
    assert "unauthenticated" in refused.err
    assert "--token-file" in refused.err


def test_a_role_that_there_is_not_is_refused(trivet: Trivet) -> None:
    refused = trivet("token", "create", "--role", "king", code=1)
    assert "  /role: " in refused.err
    assert "approver" in refused.err


def test_a_span_of_time_must_be_one(trivet: Trivet) -> None:
    wrong = trivet("token", "create", "--role", "issuer", "--expires-in", "soon", code=2)
    assert "write 600s, 10m, 12h or 4d" in wrong.err
