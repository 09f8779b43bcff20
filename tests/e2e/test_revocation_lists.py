"""etcd and nginx refuse what was revoked within the stated delay, and accept its successor: real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.agent_node import PAIR, AgentNode, free_port
from tests.unit.cli.running import installed, running

TRIVET = Path(sys.executable).with_name("trivet")
INTERVAL, PUBLISHED = 5.0, 2.0
"""The plan's refreshInterval, and how soon a revocation is in the published CRL; together the stated delay."""

RELOAD = 3.0  # seconds for the hook, and for this machine
ETCD, NGINX = "/etc/kubernetes/pki/etcd", "/etc/nginx/pki"


def plan_text(nginx_hook: list[str]) -> str:
    """Make the plan of docs/etcd-and-nginx.md, with a client of each beside the server."""
    client = {"name": "etcd-client", "profile": "apiserver-etcd-client"}
    web = {"name": "web", "profile": "kubelet-serving", "certSANs": ["127.0.0.1"]}
    visitor = {"name": "visitor", "profile": "kubelet-client"}

    def pair(item: dict[str, Any], stem: str) -> dict[str, Any]:
        return item | {"certFile": f"{stem}.crt", "keyFile": f"{stem}.key"}

    interval = {"refreshInterval": f"{INTERVAL:.0f}s"}
    spec = {
        "clusterName": "demo",
        "nodeName": "etcd-1",
        "certificates": [
            PAIR,
            pair(client, f"{ETCD}/client"),
            pair(web, f"{NGINX}/web"),
            pair(visitor, f"{NGINX}/visitor"),
        ],
        "trustBundles": [
            {"name": "etcd-ca", "authority": "etcd", "file": f"{ETCD}/ca.crt"},
            {"name": "cluster-ca", "authority": "cluster", "file": f"{NGINX}/ca.crt"},
        ],
        "revocationLists": [
            {"name": "etcd-crl", "authority": "etcd", "file": f"{ETCD}/ca.crl", "format": "DER", **interval},
            {
                "name": "cluster-crl",
                "authority": "cluster",
                "file": f"{NGINX}/ca.crl",
                "format": "PEM",
                **interval,
                "hook": {"command": nginx_hook},
            },
        ],
    }
    head = {"apiVersion": "trivet.io/v1", "kind": "CertificatePlan", "metadata": {"name": "test"}}
    return yaml.safe_dump({**head, "spec": spec})


NGINX_CONF = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pki}/web.crt;
        ssl_certificate_key {pki}/web.key;
        ssl_verify_client on;
        ssl_client_certificate {pki}/ca.crt;
        ssl_crl {pki}/ca.crl;
        location / {{ return 200 welcome; }}
    }}
}}
"""


@contextmanager
def started(command: list[object], output: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:  # noqa: ANN401
    with (
        output.open("wb") as log,
        subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, **options) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def within(seconds: float, holds: Callable[[], bool]) -> float:
    """Wait until it holds; give how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


class Site:
    """A node with etcd and nginx on it, and what their clients ask."""

    def __init__(self, node: AgentNode, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.etcd_port, self.nginx_port = free_port(), free_port()
        self.etcd, self.pki = node.root / ETCD[1:], node.root / NGINX[1:]

    def etcd_command(self) -> list[object]:
        url, peer = f"https://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{free_port()}"
        return [
            "etcd", "--name=etcd-1", f"--data-dir={self.folder}/etcd-data",
            f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=etcd-1={peer}",
            f"--cert-file={self.etcd}/server.crt", f"--key-file={self.etcd}/server.key",
            "--client-cert-auth", f"--trusted-ca-file={self.etcd}/ca.crt",
            f"--client-crl-file={self.etcd}/ca.crl",
        ]  # fmt: skip

    def etcd_answers(self, stem: str = "client") -> bool:
        done = subprocess.run(
            [
                "etcdctl", f"--endpoints=https://127.0.0.1:{self.etcd_port}", f"--cacert={self.etcd}/ca.crt",
                f"--cert={self.etcd}/{stem}.crt", f"--key={self.etcd}/{stem}.key",
                "--dial-timeout=2s", "--command-timeout=2s", "get", "x",
            ],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )  # fmt: skip
        return done.returncode == 0

    def nginx_answers(self, stem: str = "visitor") -> bool:
        done = subprocess.run(
            [
                "curl", "--silent", "--max-time", "5", "--cacert", f"{self.pki}/ca.crt",
                "--cert", f"{self.pki}/{stem}.crt", "--key", f"{self.pki}/{stem}.key",
                "--write-out", "%{http_code}", "--output", "/dev/null", f"https://127.0.0.1:{self.nginx_port}/",
            ],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.stdout in {"200", "400", "000"}, done.stdout
        return done.stdout == "200"

    def agent(self, *options: object) -> list[object]:
        settings = self.node.service.layout.settings
        asked = ["agent", "--mode", "controller", "-f", self.node.plan_file, "--root", self.node.root]
        return [TRIVET, "--config", settings, *asked, *options]


@pytest.fixture(scope="module")
def site(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for tool in ("etcd", "etcdctl", "nginx", "curl"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("site")
    conf = folder / "nginx.conf"
    hook = ["/bin/sh", "-c", f"test ! -e {folder}/nginx.pid || nginx -c {conf} -s reload"]
    with ExitStack() as stack:
        service = installed(tmp_path_factory.mktemp("installation"))
        stack.enter_context(running(service.settings))
        node = AgentNode(folder / "node", service, plan_text(hook)).provision()
        site = Site(node, folder)
        conf.write_text(NGINX_CONF.format(folder=folder, port=site.nginx_port, pki=site.pki))
        # Once before the others start: nginx does not start without the file.
        stack.enter_context(started(site.agent("--metrics-listen", free_port()), folder / "agent.log"))
        within(30, lambda: (site.etcd / "ca.crl").exists() and (site.pki / "ca.crl").exists())
        stack.enter_context(started(site.etcd_command(), folder / "etcd.log"))
        stack.enter_context(started(["nginx", "-c", conf], folder / "nginx.log"))
        within(30, lambda: site.etcd_answers() and site.nginx_answers())
        yield site


CASES = {
    "etcd": ("etcd-client", Site.etcd_answers),
    "nginx": ("visitor", Site.nginx_answers),
}


@pytest.mark.slow
@pytest.mark.parametrize("server", CASES)
def test_a_revoked_client_is_refused_within_the_stated_delay_and_its_successor_accepted(
    site: Site, server: str
) -> None:
    name, answers = CASES[server]
    assert answers(site)
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": f"lost-{server}"},
        "spec": {"revocations": [{"kind": "SerialNumber", "serialNumber": site.node.serial(name)}]},
    }
    with site.node.administrator() as trivet:
        trivet.revocations.create("demo", yaml.safe_dump(manifest).encode())
    took = within(PUBLISHED + INTERVAL + RELOAD, lambda: not answers(site))
    sys.stderr.write(f"{server} refused the revoked client after {took:.1f} s\n")
    # Its successor: a new key, a new certificate from an issuer; the others never noticed.
    for file in site.node.plan.certificate(name).files:
        (site.node.root / str(file.path)[1:]).unlink()
    site.node.provision()
    assert answers(site)
