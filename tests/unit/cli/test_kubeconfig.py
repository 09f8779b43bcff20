"""Kubeconfigs and the credential plugin, tried with the real kubectl against a service over TLS."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from tests.support.kubectl import found_kubectls
from tests.unit.cli.outcome import Outcome, Trivet

from trivet.bootstrap.clock import now
from trivet.bootstrap.initialise import Installation
from trivet.cli import kubelet_credential as plugin
from trivet.cli.kubelet_credential import EXEC_INFO, VERSION

KUBECTLS = found_kubectls()
INFO = json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "spec": {"interactive": False}})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    assert (document["apiVersion"], document["kind"]) == ("v1", "Config")
    context = document["contexts"][0]
    assert document["current-context"] == context["name"]
    assert context["context"]["cluster"] == document["clusters"][0]["name"]
    assert context["context"]["user"] == document["users"][0]["name"]
    return {
        "cluster": document["clusters"][0]["cluster"],
        "user": document["users"][0]["user"],
        "namespace": context["context"].get("namespace"),
    }


def kubectl(config: Path, home: Path, *arguments: str, **environment: str) -> str:
    """Ask with the newest kubectl that there is; give what it printed, errors and all."""
    if not KUBECTLS:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [KUBECTLS[max(KUBECTLS)], "--kubeconfig", config, *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def node_pair(trivet: Trivet, folder: Path, name: str, *more: str) -> Path:
    """A kubelet's client certificate, in two files."""
    trivet("issue", "-p", "kubelet-client", "--node", name, "-d", folder, "--name", name, *more)
    return folder / f"{name}.crt"


def combined(certificate: Path) -> Path:
    """The same in one file behind a link, as kubelet has it."""
    real = certificate.with_name(f"{certificate.stem}-2026.pem")
    real.touch(0o600)
    real.write_bytes(certificate.read_bytes() + certificate.with_suffix(".key").read_bytes())
    link = certificate.with_name(f"{certificate.stem}-current.pem")
    link.symlink_to(real.name)
    return link


# For administrators


def test_an_administrators_kubeconfig_refers_to_files_and_kubectl_works_with_it(
    trivet: Trivet, service: Installation, tmp_path: Path
) -> None:
    out = tmp_path / "config"
    said = trivet("kubeconfig", "admin", "--out", out)
    assert f"written: {out}" in said.err
    assert mode(out) == 0o600
    url = service.settings.url()
    assert read(out) == {
        "cluster": {
            "server": f"{url}/kubernetes/demo",
            "certificate-authority": str(service.layout.service_ca.resolve()),
        },
        "user": {"tokenFile": str(service.layout.admin_token.absolute())},
        "namespace": "kube-system",
    }
    assert service.layout.admin_token.read_text().strip() not in out.read_text()
    assert "trivet:admin" in kubectl(out, tmp_path, "auth", "whoami")
    # A namespace of this test's own: others before it may have left some elsewhere.
    assert "No resources found in nobody-s namespace" in kubectl(
        out, tmp_path, "-n", "nobody-s", "get", "renewrevocations"
    )


def test_it_embeds_all_where_that_is_wanted(trivet: Trivet, service: Installation, tmp_path: Path) -> None:
    out = tmp_path / "config"
    trivet("kubeconfig", "admin", "--out", out, "--embed")
    found = read(out)
    assert found["user"] == {"token": service.layout.admin_token.read_text().strip()}
    ca = base64.b64decode(found["cluster"]["certificate-authority-data"])
    assert ca == service.layout.service_ca.read_bytes()
    assert "trivet:admin" in kubectl(out, tmp_path, "auth", "whoami")


def test_for_the_api_server_itself_it_takes_a_client_certificate_and_the_clusters_own_ca(
    trivet: Trivet, tmp_path: Path
) -> None:
    out, server = tmp_path / "config", "https://api.demo.example:6443"
    assert "--certificate" in trivet("kubeconfig", "admin", "--out", out, "--server", server, code=2).err
    assert not out.exists()
    trivet("issue", "-p", "admin", "-d", tmp_path)
    certificate = tmp_path / "admin.crt"
    trivet("kubeconfig", "admin", "--out", out, "--server", server, "--certificate", certificate)
    found = read(out)
    assert found["user"] == {
        "client-certificate": str(certificate),
        "client-key": str(tmp_path / "admin.key"),
    }
    assert found["cluster"]["server"] == server
    ca = base64.b64decode(found["cluster"]["certificate-authority-data"])
    assert ca.count(b"BEGIN CERTIFICATE") == 1
    assert kubectl(out, tmp_path, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}") == server
    for wrong in ("http://api.demo.example", "api.demo.example:6443"):
        assert "https://" in trivet("kubeconfig", "admin", "--out", tmp_path / "x", "--server", wrong,
                                    "--certificate", certificate, code=2).err  # fmt: skip


def test_what_is_there_is_not_written_over_unless_that_is_wanted(trivet: Trivet, tmp_path: Path) -> None:
    out = tmp_path / "config"
    out.write_text("mine")
    assert "--force" in trivet("kubeconfig", "admin", "--out", out, code=7).err
    assert out.read_text() == "mine"
    trivet("kubeconfig", "admin", "--out", out, "--force")
    assert mode(out) == 0o600
    assert read(out)["user"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config"], "nothing is left beside it"


# For nodes


def test_a_bootstrap_kubeconfig_refers_to_the_token_or_holds_it(trivet: Trivet, tmp_path: Path) -> None:
    token, out = tmp_path / "token", tmp_path / "bootstrap-kubelet.conf"
    trivet("bootstrap-token", "create", "--node", "conf-1", "--out", token)
    trivet("kubeconfig", "bootstrap", "--out", out, "--bootstrap-token", token)
    assert read(out)["user"] == {"tokenFile": str(token)}
    assert "system:bootstrap:" in kubectl(out, tmp_path, "auth", "whoami")
    trivet("kubeconfig", "bootstrap", "--out", out, "--bootstrap-token", token, "--embed", "--force")
    assert read(out)["user"] == {"token": token.read_text().strip()}
    assert read(out)["namespace"] is None


@pytest.mark.parametrize("kind", ["admin", "bootstrap"])
def test_no_token_is_written_for_a_server_to_which_it_would_go_in_clear(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token, out = tmp_path / "token", tmp_path / "config"
    trivet("bootstrap-token", "create", "--out", token)
    asked = ("kubeconfig", kind, "--out", out, *(("--bootstrap-token", token) if kind == "bootstrap" else ()))
    monkeypatch.setenv("TRIVET_URL", "http://trivet.example:8443")
    for embed in ((), ("--embed",)):
        assert "in clear" in trivet(*asked, *embed, code=None).err
        assert not out.exists()
    monkeypatch.setenv("TRIVET_URL", "http://127.0.0.1:8443")
    trivet(*asked)
    assert read(out)["cluster"]["server"].startswith("http://127.0.0.1")


@pytest.mark.parametrize("embed", [(), ("--embed",)], ids=["references", "embedded"])
def test_a_nodes_kubeconfig_names_kubelets_pair_by_its_link(
    trivet: Trivet, tmp_path: Path, embed: tuple[str, ...]
) -> None:
    pair, out = combined(node_pair(trivet, tmp_path, "conf-2")), tmp_path / "kubelet.conf"
    trivet("kubeconfig", "node", "--out", out, "--certificate", pair, *embed)
    user = read(out)["user"]
    if embed:
        assert "PRIVATE KEY" in base64.b64decode(user["client-key-data"]).decode()
    else:
        assert user == {"client-certificate": str(pair), "client-key": str(pair)}
    assert "system:node:conf-2" in kubectl(out, tmp_path, "auth", "whoami")


def test_secrets_that_others_can_read_are_refused(trivet: Trivet, tmp_path: Path) -> None:
    certificate = node_pair(trivet, tmp_path, "conf-3")
    token = tmp_path / "token"
    trivet("bootstrap-token", "create", "--out", token)
    key = certificate.with_suffix(".key")
    for path in (key, token):
        path.chmod(0o640)
    out = ("--out", tmp_path / "out")
    for arguments in (
        ("kubeconfig", "node", *out, "--certificate", certificate),
        ("kubeconfig", "bootstrap", *out, "--bootstrap-token", token),
        ("kubelet-credential", "--certificate", certificate),
        ("kubelet-credential", "--token", token),
    ):
        refused = trivet(*arguments, code=7)
        assert "chmod 600" in refused.err
        assert not refused.out
        for secret in (key, token):
            assert secret.read_text().strip() not in refused.err
    assert not (tmp_path / "out").exists()


def test_a_key_of_another_certificate_is_refused(trivet: Trivet, tmp_path: Path) -> None:
    first, second = node_pair(trivet, tmp_path, "conf-4"), node_pair(trivet, tmp_path, "conf-5")
    arguments = ("--certificate", first, "--key", second.with_suffix(".key"))
    assert "does not belong" in trivet("kubeconfig", "node", "--out", tmp_path / "x", *arguments, code=7).err
    assert "another certificate" in trivet("kubelet-credential", *arguments, code=7).err


# The plugin


def asked(trivet: Trivet, monkeypatch: pytest.MonkeyPatch, *arguments: object, code: int = 0) -> Outcome:
    monkeypatch.setenv(EXEC_INFO, INFO)
    return trivet("kubelet-credential", *arguments, code=code)


def test_kubectl_is_let_in_by_the_plugin_that_a_kubeconfig_names(trivet: Trivet, tmp_path: Path) -> None:
    pair, out = combined(node_pair(trivet, tmp_path, "exec-1")), tmp_path / "kubelet.conf"
    trivet("kubeconfig", "node", "--out", out, "--certificate", pair, "--exec")
    user = read(out)["user"]["exec"]
    assert user["apiVersion"] == VERSION
    assert user["args"] == ["kubelet-credential", "--certificate", str(pair)]
    document = yaml.safe_load(out.read_text())
    document["users"][0]["user"]["exec"]["command"] = str(Path(sys.executable).with_name("trivet"))
    out.write_text(yaml.safe_dump(document))
    said = kubectl(out, tmp_path, "auth", "whoami")
    assert "system:node:exec-1" in said
    assert "PRIVATE KEY" not in said
    assert (
        "--exec or --embed"
        in trivet("kubeconfig", "node", "--out", tmp_path / "x", "--exec", "--embed", code=2).err
    )


def test_it_gives_the_pair_that_is_in_place_and_is_asked_again_soon(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = node_pair(trivet, tmp_path, "exec-2")
    credential = asked(trivet, monkeypatch, "--certificate", certificate).json
    assert (credential["kind"], credential["apiVersion"]) == ("ExecCredential", VERSION)
    status = credential["status"]
    assert certificate.read_text().startswith(status["clientCertificateData"].splitlines()[0])
    assert status["clientKeyData"].startswith("-----BEGIN PRIVATE KEY-----")
    moment = now()
    assert f"{moment:%Y}" == status["expirationTimestamp"][:4]
    assert status["expirationTimestamp"] <= f"{moment + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"


def test_it_gives_a_token_where_one_is_named(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    trivet("bootstrap-token", "create", "--node", "exec-3", "--out", token)
    assert asked(trivet, monkeypatch, "--token", token).json["status"] == {"token": token.read_text().strip()}


@pytest.mark.parametrize(
    "info", ["nonsense", "[]", "{}", INFO.replace("/v1", "/v1beta1"), INFO.replace("ExecCredential", "Other")]
)
def test_another_version_of_the_protocol_is_refused(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: str
) -> None:
    monkeypatch.setenv(EXEC_INFO, info)
    refused = trivet("kubelet-credential", "--certificate", tmp_path / "x.crt", code=2)
    assert VERSION in refused.err


def test_an_expired_pair_is_refused_with_the_way_out(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = node_pair(trivet, tmp_path, "exec-4", "--expires-in", "10m")
    monkeypatch.setattr(plugin, "now", lambda: now() + timedelta(days=1))
    refused = asked(trivet, monkeypatch, "--certificate", certificate, code=7)
    assert "trivet repair" in refused.err
    assert not refused.out


def test_a_missing_or_unreadable_pair_is_said_without_its_content(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pair.pem"
    assert str(path) in asked(trivet, monkeypatch, "--certificate", path, code=7).err
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    refused = asked(trivet, monkeypatch, "--certificate", path, code=7)
    assert "c2VjcmV0" not in refused.err + refused.out


@pytest.mark.parametrize("in_one_file", [False, True], ids=["two-files", "one-file"])
def test_it_renews_what_is_due_where_no_agent_does(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_one_file: bool
) -> None:
    certificate = node_pair(trivet, tmp_path, f"exec-{5 + in_one_file}")
    pair = combined(certificate) if in_one_file else certificate
    before = pair.read_bytes()
    fresh = asked(trivet, monkeypatch, "--certificate", pair, "--renew").json["status"]
    assert pair.read_bytes() == before, "it was not due"
    monkeypatch.setattr(plugin, "now", lambda: now() + timedelta(days=3))
    renewed = asked(trivet, monkeypatch, "--certificate", pair, "--renew").json["status"]
    assert renewed["clientCertificateData"] != fresh["clientCertificateData"]
    assert renewed["clientKeyData"] != fresh["clientKeyData"]
    assert renewed["clientCertificateData"].encode() in pair.read_bytes()
    key = pair if in_one_file else pair.with_suffix(".key")
    assert mode(key) == 0o600
    assert renewed["clientKeyData"].encode() in key.read_bytes()
    assert pair.is_symlink() is in_one_file


@pytest.mark.parametrize("second", ["the file itself", "a relative path", "a hard link"])
def test_one_file_by_two_names_keeps_its_key(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    pair = combined(node_pair(trivet, tmp_path, f"exec-{len(second)}"))
    key = pair.resolve()
    if second == "a relative path":
        key = Path(os.path.relpath(pair))
    elif second == "a hard link":
        key = tmp_path / "other.pem"
        key.hardlink_to(pair.resolve())
    before = pair.read_text()
    with monkeypatch.context() as later:
        later.setattr(plugin, "now", lambda: now() + timedelta(days=3))
        renewed = asked(trivet, monkeypatch, "--certificate", pair, "--key", key, "--renew").json["status"]
    assert renewed["clientCertificateData"] not in before
    assert asked(trivet, monkeypatch, "--certificate", pair, "--key", key).json["status"] == renewed | {
        "expirationTimestamp": ANY
    }
    # Whoever reads the pair from its one file, as kubelet does, has both.
    assert asked(trivet, monkeypatch, "--certificate", pair).json["status"] == renewed | {
        "expirationTimestamp": ANY
    }
    assert mode(pair) == mode(key) == 0o600


def test_where_it_cannot_renew_it_gives_what_there_is(
    trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = node_pair(trivet, tmp_path, "exec-7")
    before = certificate.read_bytes()
    monkeypatch.setattr(plugin, "now", lambda: now() + timedelta(days=3))
    monkeypatch.setenv("TRIVET_URL", "https://127.0.0.1:1")
    done = asked(trivet, monkeypatch, "--certificate", certificate, "--renew")
    assert "not renewed" in done.err
    assert done.json["status"]["clientCertificateData"]
    assert certificate.read_bytes() == before
