"""The authorization webhook over mutual TLS, of two services over one database: what one revokes the other denies."""

from __future__ import annotations

import hashlib
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.served import Served, free_port, serving, set_up

from trivet.client.keys import build_request, key_pem, new_key
from trivet.pki.keys import KeyAlgorithm

pytestmark = pytest.mark.slow
PKCS10 = {"Content-Type": "application/pkcs10", "Accept": "application/pem-certificate-chain"}
CREDENTIAL = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True)
class ApiServer:
    """Asks one of the services, by its client certificate."""

    served: Served
    pair: Path

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.served.service_ca)
        context.load_cert_chain(self.pair)
        return httpx.Client(base_url=self.served.url, verify=context, timeout=30, trust_env=False)


def issued(served: Served, profile: str, pair: Path, **query: str) -> x509.Certificate:
    key = new_key(KeyAlgorithm.P256)
    with served.client() as client:
        answer = client.post(
            "/api/v1/clusters/demo/certificates",
            params={"profile": profile} | query,
            content=build_request(key),
            headers=PKCS10,
        )
    leaf = x509.load_pem_x509_certificates(answer.raise_for_status().content)[0]
    pair.write_bytes(leaf.public_bytes(Encoding.PEM) + key_pem(key))
    return leaf


def status(client: httpx.Client, certificate: x509.Certificate) -> dict[str, object]:
    fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    review = {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": {
            "nonResourceAttributes": {"path": "/version", "verb": "get"},
            "user": "system:node:node-1",
            "groups": ["system:nodes", "system:authenticated"],
            "extra": {CREDENTIAL: [f"X509SHA256={fingerprint}"]},
        },
        "status": {"allowed": False},
    }
    answer = client.post("/kubernetes/demo/authorize?timeout=3s", json=review).raise_for_status()
    found: dict[str, object] = answer.json()["status"]
    return found


def revoke(served: Served, name: str) -> None:
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": name},
        "spec": {"revocations": [{"kind": "CommonName", "commonName": f"system:node:{name}"}]},
    }
    with served.client() as client:
        client.post("/api/v1/clusters/demo/renew-revocations", json=manifest).raise_for_status()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_one_service_revokes_all_workers_of_another_deny(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    arguments = (
        ("--database-url", request.getfixturevalue("postgres_database").replace("+psycopg", ""))
        if kind == "postgresql"
        else ()
    )
    here = set_up(tmp_path, *arguments)
    there = replace(here, port=free_port())
    with serving(here, "--workers", "1"), serving(there, "--workers", "2"):
        held = issued(here, "apiserver-kubelet-client", tmp_path / "server.pem")
        nodes = [issued(here, "kubelet-client", tmp_path / f"{name}.pem", node=name) for name in ("a", "b")]
        api_server = ApiServer(there, tmp_path / "server.pem")
        with api_server.client() as first, api_server.client() as second, api_server.client() as third:
            connections = (first, second, third)  # of which the workers take some each
            for client in connections:
                assert [status(client, node) for node in nodes] == [{"allowed": False}] * 2
            revoke(here, "a")
            for client in connections:
                await_denial(client, nodes[0])
                assert status(client, nodes[1]) == {"allowed": False}
                assert status(client, held) == {"allowed": False}


def await_denial(client: httpx.Client, certificate: x509.Certificate) -> None:
    deadline = time.monotonic() + 60
    while not status(client, certificate).get("denied"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
