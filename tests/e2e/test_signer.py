"""The command `trivet signer` as a real process, between an API server (one is Trivet's own) and a live Trivet."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from tests.support.agent_node import free_port
from tests.support.api_server import CSRS, REVOCATIONS, ApiServer, api_server
from tests.support.signing_requests import csr
from tests.unit.cli.running import installed, running

from trivet.bootstrap.initialise import Installation
from trivet.client import Client, Endpoint
from trivet.pki.manifest import MIRRORED_FROM

TRIVET = Path(sys.executable).with_name("trivet")
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
FORGOTTEN = {"metadata": {"name": "laptop", "namespace": "kube-system"}}
SPEC = {"revocations": [{"kind": "commonname", "commonName": "system:node:node-9"}]}


@pytest.fixture(scope="module")
def trivet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = installed(tmp_path_factory.mktemp("trivet"))
    with running(installation.settings):
        yield installation


@pytest.fixture(scope="module")
def admin(trivet: Installation) -> Iterator[Client]:
    token = trivet.layout.admin_token.read_text().strip()
    with Client(
        Endpoint(f"https://127.0.0.1:{trivet.settings.port}", trivet.layout.service_ca, token)
    ) as client:
        yield client


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as api:
        yield api


@pytest.fixture
def token_file(admin: Client, tmp_path: Path) -> Path:
    path = tmp_path / "trivet.token"
    path.write_text(admin.tokens.create("signer", cluster="demo")["secret"])
    return path


def node(number: int) -> bytes:
    return csr(f"system:node:node-{number}", ("system:nodes",), key=number)


@contextmanager
def signing(
    trivet: Installation, token: Path, kubeconfig: Path, *options: str, cluster: str = "demo"
) -> Iterator[Any]:
    """Run the command for a block; it gets SIGTERM at the end, and must end well."""
    log = kubeconfig.with_name(f"signer-{free_port()}.log")
    command = [
        str(TRIVET), "--url", f"https://127.0.0.1:{trivet.settings.port}", "--ca-file", str(trivet.layout.service_ca),
        "--token-file", str(token), "signer", "--kubeconfig", str(kubeconfig), "--cluster", cluster, *options,
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=kubeconfig.parent)
    try:
        yield lambda: [json.loads(line) for line in log.read_text().splitlines()]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
        assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def has_certificate(api: ApiServer, name: str) -> Callable[[], bool]:
    return lambda: bool(api.objects["certificatesigningrequests", "", name]["status"].get("certificate"))


def until(so: Callable[[], Any]) -> Any:  # noqa: ANN401
    pause = threading.Event()
    for _ in range(1_200):
        if found := so():
            return found
        pause.wait(0.05)
    return pytest.fail("it did not come to that")


def test_two_signers_sign_what_is_approved_through_everything(
    trivet: Installation, admin: Client, api: ApiServer, token_file: Path
) -> None:
    kubeconfig, port = api.kubeconfig(), free_port()
    listen = ("--metrics-listen", str(port))
    with (
        signing(trivet, token_file, kubeconfig, *listen) as first,
        signing(trivet, token_file, kubeconfig) as second,
    ):
        api.wait_for(lambda: api.watching == 4)
        for number in range(6):
            api.request(f"csr-{number}", node(number), KUBELET)
            api.approve(f"csr-{number}")
        for number in range(6):
            api.wait_for(has_certificate(api, f"csr-{number}"))
        # The watches break off, and their version is forgotten meanwhile.
        api.cut()
        api.request("csr-7", node(7), KUBELET)
        api.approve("csr-7")
        api.forget()
        api.wait_for(has_certificate(api, "csr-7"))
        api.add(REVOCATIONS, {**FORGOTTEN, "spec": SPEC})
        api.wait_for(
            lambda: api.objects[REVOCATIONS, "kube-system", "laptop"].get("status", {}).get("conditions")
        )
        api.remove(REVOCATIONS, "kube-system/laptop")
        until(lambda: not list(admin.revocations.list("demo")))
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        assert 'trivet_signer_about{cluster="demo",version="' in metrics
    lines = first() + second()
    stored = list(admin.certificates.list("demo", profile="kubelet-client"))
    assert len(stored) == 7, "two replicas, one certificate for each request"
    written = {
        api.get(CSRS, name)["status"]["certificate"] for name in (*(f"csr-{n}" for n in range(6)), "csr-7")
    }
    serials = {
        format(x509.load_pem_x509_certificate(base64.b64decode(text)).serial_number, "x") for text in written
    }
    assert serials == {made["serialNumber"] for made in stored}
    assert token_file.read_text() not in json.dumps(lines)
    assert not [line for line in lines if line["event"] == "fault"]


def test_once_does_what_is_due_and_tells_by_its_exit_code_whether_that_was_all(
    trivet: Installation, api: ApiServer, token_file: Path
) -> None:
    command = [
        str(TRIVET), "--url", f"https://127.0.0.1:{trivet.settings.port}", "--ca-file", str(trivet.layout.service_ca),
        "--token-file", str(token_file), "signer", "--kubeconfig", str(api.kubeconfig()), "--cluster", "demo", "--once",
    ]  # fmt: skip
    api.request("once", node(20), KUBELET)
    api.approve("once")
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
    assert has_certificate(api, "once")()
    api.token = "another"
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 1


def test_trivet_s_own_api_of_one_cluster_is_mirrored_into_another(
    trivet: Installation, admin: Client, tmp_path: Path
) -> None:
    admin.clusters.create("mirrored", endpoint="api.mirrored.example")
    url = f"https://127.0.0.1:{trivet.settings.port}"
    (tmp_path / "admin.token").write_text(trivet.layout.admin_token.read_text())
    (tmp_path / "signer.token").write_text(admin.tokens.create("signer", cluster="mirrored")["secret"])
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "kind": "Config",
                "clusters": [
                    {
                        "name": "it",
                        "cluster": {
                            "server": f"{url}/kubernetes/demo",
                            "certificate-authority": str(trivet.layout.service_ca),
                        },
                    }
                ],
                "users": [{"name": "me", "user": {"tokenFile": "admin.token"}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
                "current-context": "it",
            }
        )
    )

    def manifest(common_name: str) -> bytes:
        spec = {"revocations": [{"kind": "CommonName", "commonName": common_name}]}
        head = {"apiVersion": "certificates.microsoft.com/v1", "kind": "RenewRevocation"}
        return json.dumps({**head, "metadata": {"name": "facade"}, "spec": spec}).encode()

    def mirrored() -> list[str]:
        return [
            item["commonName"]
            for one in admin.revocations.list("mirrored")
            for item in one["spec"]["revocations"]
        ]

    with signing(trivet, tmp_path / "signer.token", kubeconfig, cluster="mirrored") as log:
        until(lambda: len([line for line in log() if line["event"] == "listed"]) == 2)
        admin.revocations.create("demo", manifest("jane"))
        until(lambda: mirrored() == ["jane"])
        admin.revocations.replace("demo", "kube-system", "facade", manifest("joe"))
        until(lambda: mirrored() == ["joe"])
        (held,) = admin.revocations.list("mirrored")
        assert held["metadata"]["annotations"] == {MIRRORED_FROM: f"{url}/kubernetes/demo"}
        admin.revocations.delete("demo", "kube-system", "facade")
        until(lambda: mirrored() == [])
