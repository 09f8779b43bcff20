"""OCSP as openssl and curl ask it, of a running service with two workers."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.e2e.test_first_steps import House
from tests.support.ocsp_requests import request_about
from tests.support.signing_requests import csr

CLUSTER = "demo"
PKCS10 = {"Content-Type": "application/pkcs10", "Accept": "application/pem-certificate-chain"}


@dataclass
class Asker:
    """Files for openssl, and where the responder is."""

    folder: Path
    url: str
    api: httpx.Client

    def issue(self, name: str, key: int) -> str:
        """Get a certificate, keep it as a file, and give its serial number."""
        answer = self.api.post(
            f"/clusters/{CLUSTER}/certificates?profile=etcd-healthcheck-client",
            content=csr(key=key),
            headers=PKCS10,
        )
        leaf, issuer = x509.load_pem_x509_certificates(answer.raise_for_status().content)
        self.write(f"{name}.crt", leaf)
        self.write("ca.crt", issuer)
        return format(leaf.serial_number, "x")

    def write(self, name: str, certificate: x509.Certificate) -> None:
        (self.folder / name).write_bytes(certificate.public_bytes(Encoding.PEM))

    def revoke(self, serial: str) -> None:
        entry = {"kind": "SerialNumber", "serialNumber": serial}
        revocation = {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": f"serial-{serial[:20]}"},
            "spec": {"revocations": [entry]},
        }
        self.api.post(f"/clusters/{CLUSTER}/renew-revocations", json=revocation).raise_for_status()

    def openssl(self, *arguments: str) -> str:
        command = ["openssl", "ocsp", "-issuer", "ca.crt", "-CAfile", "ca.crt", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=30
        )
        assert "Response verify OK" in done.stderr, done.stderr + done.stdout
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("ocsp")
    (folder / "docs").symlink_to(Path(__file__).parents[2] / "docs")
    house = House(folder, _free_port())
    plain = _free_port()
    house.init()
    settings = folder / ".trivet/trivet.toml"
    settings.write_text(re.sub(r"(?m)^(http_port|pki_base_url) = .*\n", "", settings.read_text()))
    settings.write_text(settings.read_text().replace("[server]", f"[server]\nhttp_port = {plain}", 1))
    with house.serving("--workers", 2), house.client() as api:
        found = Asker(folder, "", api)
        found.issue("first", 1)
        issuer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        stated = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
        found.url = f"http://127.0.0.1:{plain}/pki/{CLUSTER}/etcd/{stated}/ocsp"
        yield found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_openssl_is_told_what_stands(
    asker: Asker, require_tool: Callable[[str], str], digest: str, nonce: str
) -> None:
    require_tool("openssl")
    revoked = asker.issue("revoked", 2)
    asker.issue("good", 3)
    asker.revoke(revoked)
    for asked, said in (
        (("-cert", "good.crt"), "good.crt: good"),
        (("-cert", "revoked.crt"), "revoked.crt: revoked"),
        (("-serial", "0x1234"), "0x1234: unknown"),
    ):
        shown = asker.openssl(digest, *asked, nonce, "-url", asker.url)
        assert said in shown
        assert "WARNING" not in shown
    several = asker.openssl(
        digest, "-cert", "good.crt", digest, "-cert", "revoked.crt", nonce, "-url", asker.url
    )
    assert "good.crt: good" in several
    assert "revoked.crt: revoked" in several


def test_curl_gets_by_get_what_openssl_accepts(asker: Asker, require_tool: Callable[[str], str]) -> None:
    for tool in ("openssl", "curl"):
        require_tool(tool)
    asker.issue("got", 4)
    subprocess.run(
        ["openssl", "ocsp", "-issuer", "ca.crt", "-cert", "got.crt", "-no_nonce", "-reqout", "request.der"],
        cwd=asker.folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    text = base64.b64encode((asker.folder / "request.der").read_bytes()).decode()
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-D", "headers", "-o", "answer.der", f"{asker.url}/{quote(text, safe='')}"],
        cwd=asker.folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == b""
    headers = (asker.folder / "headers").read_text().lower()
    for wanted in (
        "content-type: application/ocsp-response",
        "etag: ",
        "expires: ",
        "last-modified: ",
        "max-age=300",
    ):
        assert wanted in headers
    assert "got.crt: good" in asker.openssl("-no_nonce", "-cert", "got.crt", "-respin", "answer.der")


def test_a_revocation_is_in_the_next_answers_of_both_workers(asker: Asker) -> None:
    serial = asker.issue("seen", 5)
    issuer = x509.load_pem_x509_certificate((asker.folder / "ca.crt").read_bytes())
    body = request_about(issuer, [int(serial, 16)])

    def said() -> set[str]:
        # A connection each, so that either worker may take it.
        answers = [httpx.post(asker.url, content=body, timeout=30) for _ in range(24)]
        return {ocsp.load_der_ocsp_response(one.content).certificate_status.name for one in answers}

    assert said() == {"GOOD"}
    asker.revoke(serial)
    assert said() == {"REVOKED"}
