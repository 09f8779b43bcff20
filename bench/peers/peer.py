"""What all peers have in common: a folder, a CA, an HTTPS certificate, a process that serves."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.limit import Issuer, make_issuer
from bench.load import Load
from bench.requests import key_pem, new_key
from bench.scratch import free_port, fresh_folder

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from bench.plan import Plan
    from bench.requests import NodeRequest

_PATIENCE = 30.0


class PeerError(Exception):
    """A peer is installed and yet does not work."""


@dataclass(frozen=True)
class TlsFiles:
    """What an HTTPS server needs, and what its clients trust."""

    certificate: Path
    key: Path
    ca: Path


class Peer:
    """A server that issues certificates. A subclass says how it is set up, started and asked.

    Attributes:
        name: in the names of its figures.
        expected: the status of a good answer.
        has_certificate: whether the answer holds the certificate, so that it can be verified.
        least_warm_up: seconds that it needs until it is itself.
    """

    name: str
    expected = 200
    has_certificate = True
    least_warm_up = 0.0

    def __init__(self) -> None:
        self.folder = fresh_folder(f"peer-{self.name}")
        self.port = free_port()
        self.issuer = make_issuer(self.name)
        self.tls = make_tls_files(self.folder)
        (self.folder / "ca.pem").write_bytes(self.issuer.pem)
        (self.folder / "ca.key").write_bytes(key_pem(self.issuer.key))
        self._running: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can run here."""
        raise NotImplementedError

    def set_up(self) -> None:
        """Make its configuration and its database."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts its server."""
        raise NotImplementedError

    def request(self, request: NodeRequest) -> str:
        """The HTTP request that asks for a certificate."""
        raise NotImplementedError

    def issuer_pem(self) -> str:
        """The CA certificate that its answers are checked by."""
        return self.issuer.pem.decode()

    def __enter__(self) -> Self:
        self.set_up()
        log = (self.folder / "server.log").open("ab")
        self._running = subprocess.Popen(self.command(), cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            if self._running.poll() is not None or time.monotonic() > deadline:
                self.stop()
                message = f"{self.name} did not start; see {self.folder / 'server.log'}"
                raise PeerError(message)
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    def load(self, plan: Plan, requests: list[NodeRequest], connections: int) -> Load:
        """The load for this peer: the same CSRs as for Trivet, over HTTPS keep-alive."""
        if self._running is None:
            raise PeerError("the peer does not run")
        return Load(
            port=self.port,
            requests=[self.request(request) for request in requests],
            signing_requests=[request.pem.decode() for request in requests] if self.has_certificate else [],
            issuer=self.issuer_pem(),
            connections=connections,
            seconds=plan.seconds,
            warm_up=max(plan.warm_up, self.least_warm_up),
            tls=str(self.tls.ca),
            expected=self.expected,
            trees={"service": [self._running.pid]},
        )

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


def make_tls_files(folder: Path) -> TlsFiles:
    """Make an HTTPS certificate (P-384) for localhost, with a CA of its own."""
    ca, key = make_issuer("https"), new_key()
    files = TlsFiles(folder / "https.pem", folder / "https.key", folder / "https-ca.pem")
    files.certificate.write_bytes(_https_certificate(ca, key.public_key()))
    files.key.write_bytes(key_pem(key))
    files.ca.write_bytes(ca.pem)
    return files


def _https_certificate(ca: Issuer, key: EllipticCurvePublicKey) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .issuer_name(ca.certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=4))
        .public_key(key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return builder.sign(ca.key, SHA384()).public_bytes(Encoding.PEM)


def post(target: str, port: int, content_type: str, body: str, headers: str = "") -> str:
    """An HTTP/1.1 POST request."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: localhost:{port}\r\n{headers}Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
