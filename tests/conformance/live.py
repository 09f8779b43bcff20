"""A real `trivet serve` over HTTPS on the loopback, with something of everything that can be asked for."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.signing_requests import csr, pooled_key

from trivet.pki.renewal import certificate_id

TRIVET = Path(sys.executable).with_name("trivet")
HELD_KEY = 9  # of the pool: the certificate's that holders come with
KEPT = "kept"
DENIED = "denied"


@dataclass(frozen=True)
class Live:
    """A service that runs, and its folder."""

    folder: Path
    port: int
    admin_token: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / ".trivet/client/service-ca.crt"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            verify=ssl.create_default_context(cafile=self.ca_file),
            headers={"Authorization": f"Bearer {self.admin_token}"},
            timeout=60,
        )

    def defects(self) -> list[str]:
        """What the service logged as worse than a warning."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return [str(line) for line in lines if line["level"] not in {"info", "warning"}]


@dataclass
class Known:
    """What exists, so that requests can name it."""

    serials: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    standing_tokens: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    bootstrap_tokens: list[str] = field(default_factory=list)
    certificate_ids: list[str] = field(default_factory=list)
    renewal: str = ""
    repair: str = ""
    skipping: str = ""
    closing: str = ""


@contextmanager
def serving(folder: Path) -> Iterator[Live]:
    """Set Trivet up in a folder, and serve for a block; a defect in the log is for the caller to look at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
    unlimited = {"TRIVET_RATE_PER_SECOND": "1000000", "TRIVET_BURST": "1000000"}
    environment = kept | unlimited | {"HOME": str(folder), "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [str(TRIVET), "init", "--port", str(port)],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    token = (folder / ".trivet/client/admin.token").read_text().strip()
    live = Live(folder, port, token)
    with live.log.open("wb") as output:
        command = [str(TRIVET), "--config", ".trivet/trivet.toml", "serve"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        _await(process, live.log)
        yield live
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0, live.log.read_text()[-4000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while "startup complete" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def pem(request: bytes) -> str:
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode()


def furnish(live: Live) -> Known:
    """Make four clusters, and in `prod` (which the document's examples name) some of everything."""
    known = Known()
    with live.client() as client:
        known.standing_tokens = [token["id"] for token in client.get("/tokens").json()["items"]]
        for name in ("prod", "lab", "spare", "skipped"):
            _made(client.post("/clusters", json={"name": name, "endpoint": f"api.{name}.example"}))
        for number in range(6):
            body = {"profile": "kubelet-client", "node": f"node-{number}", "csr": pem(csr(key=number))}
            made = _made(client.post("/clusters/prod/certificates", json=body))
            known.serials.append(made["serialNumber"])
            known.decisions.append(made["decision"])
            known.certificate_ids.append(_renewal_id(made["certificate"]))
        for number in range(40):
            victim = {"role": "auditor", "description": f"to be deleted {number}"}
            known.tokens.append(_made(client.post("/tokens", json=victim))["id"])
        known.objects = [KEPT, *(f"object-{number}" for number in range(20))]
        for name in known.objects:
            for place in ("/clusters/prod/renew-revocations", "/renew-revocations"):
                _made(client.post(place, json=manifest(name)))
        _furnish_requests(client, known)
        known.renewal = _made(client.post("/clusters/prod/renewals", json={"overSeconds": 3600}))["id"]
        # The one that may be closed is another cluster's: what renews in a window needs it open.
        known.repair, known.closing = (
            _made(client.post(f"/clusters/{cluster}/repairs", json={"forSeconds": 7200}))["id"]
            for cluster in ("prod", "lab")
        )
        etcd = {"profile": "etcd-server", "node": "node-0", "csr": pem(csr(hosts=("node-0",), key=0))}
        revoked = _made(client.post("/clusters/skipped/certificates", json=etcd))["serialNumber"]
        # So its first stage is not over, nor soon passed over.
        entry = {"kind": "SerialNumber", "serialNumber": revoked}
        _made(client.post("/clusters/skipped/renew-revocations", json=manifest("etcd", entry)))
        window = {"forSeconds": 7200, "patienceSeconds": 3600}
        known.skipping = _made(client.post("/clusters/skipped/repairs", json=window))["id"]
    return known


def _furnish_requests(client: httpx.Client, known: Known) -> None:
    """Make certificate requests (KEPT is issued), bootstrap tokens, and nodes of the inventory."""
    for number, name in enumerate((KEPT, DENIED, *(f"object-{number}" for number in range(20)))):
        body = {"profile": "scheduler", "csr": pem(csr(key=number % 4)), "name": name}
        _made(client.post("/clusters/prod/certificate-requests", json=body))
        assert client.put(f"/clusters/prod/inventory/{name}", json={}).status_code == 200
        made = _made(client.post("/clusters/prod/bootstrap-tokens", json={"node": name}))
        known.bootstrap_tokens.append(made["id"])
    approved = client.post(f"/clusters/prod/certificate-requests/{KEPT}/approve", json={})
    assert approved.json()["state"] == "issued", approved.text


def _renewal_id(certificate: str) -> str:
    held = x509.load_pem_x509_certificate(certificate.encode())
    issuer = held.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return certificate_id(issuer.key_identifier or b"", held.serial_number)


def manifest(name: str, entry: dict[str, str] | None = None) -> dict[str, Any]:
    """A revocation, which without an entry names nobody."""
    return {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"revocations": [entry or {"kind": "CommonName", "commonName": "nobody"}]},
    }


def held_certificate(live: Live, folder: Path) -> tuple[Path, Path]:
    """A kubelet's certificate in `prod` and its key, as files."""
    with live.client() as client:
        body = {"profile": "kubelet-client", "node": "node-held", "csr": pem(csr(key=HELD_KEY))}
        made = _made(client.post("/clusters/prod/certificates", json=body))
    certificate, key = folder / "held.crt", folder / "held.key"
    certificate.write_text(made["certificate"])
    secret = pooled_key(HELD_KEY).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(secret)
    return certificate, key


def token(live: Live, role: str, cluster: str | None) -> tuple[str, str]:
    """Make an access token; give its id and its secret."""
    with live.client() as client:
        made = _made(client.post("/tokens", json={"role": role, "cluster": cluster}))
    return made["id"], made["secret"]


def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body
