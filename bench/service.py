"""Trivet as it is shipped: `trivet init`, `trivet serve` with a worker a core, and requests for it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from bench.limit import CORES
from bench.requests import CLUSTER, PROFILE, NodeRequest, new_key, request_for, write_pair
from bench.scratch import free_port, fresh_folder
from trivet.settings import ServerSettings

if TYPE_CHECKING:
    from types import TracebackType

    from bench.databases import Place

CRYPTOGRAPHY, FAST = "cryptography", "aws-lc"
_PATIENCE = 60.0  # seconds to start, and to end
_CHAIN = "application/pem-certificate-chain"


class ServiceError(Exception):
    """The service did not start, or did not do what it was asked."""


def has_engines() -> bool:
    """Whether this Trivet can choose who signs."""
    return "engine" in ServerSettings.model_fields


@dataclass
class Service:
    """One running Trivet.

    Attributes:
        name: of its folder below the scratch folder.
        place: its database.
        engine: who verifies and signs.
        settings: further variables of its environment.
    """

    name: str
    place: Place
    engine: str = CRYPTOGRAPHY
    workers: int = CORES
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = fresh_folder(self.name)
        self.port = free_port()
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._trivet("init", "--directory", str(self.folder), "--port", str(self.port),
                     "--database-url", self.place.url)  # fmt: skip
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        if self._running is None:
            raise ServiceError("the service does not run")
        return self._running.pid

    @property
    def ca_file(self) -> str:
        """What clients trust."""
        return str(self.folder / "client" / "service-ca.crt")

    @property
    def token(self) -> str:
        """An administrator's access token."""
        return (self.folder / "client" / "admin.token").read_text().strip()

    @property
    def trees(self) -> dict[str, list[int]]:
        """Whose CPU time counts for what."""
        return {"service": [self.pid], "database": list(self.place.pids)}

    def start(self) -> None:
        """Serve, and wait until every worker answers."""
        log = (self.folder / "serve.log").open("ab")
        command = [*_command(), "--config", str(self.folder / "trivet.toml"), "serve"]
        self._running = subprocess.Popen(
            [*command, "--workers", str(self.workers)], env=self._environment(), stderr=log, stdout=log
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if self._running.poll() is not None or time.monotonic() > deadline:
                self.stop()
                message = f"trivet serve did not start; see {self.folder / 'serve.log'}"
                raise ServiceError(message)
            time.sleep(0.1)

    def stop(self) -> None:
        """End the service."""
        if self._running is None:
            return
        self._running.send_signal(signal.SIGTERM)
        try:
            self._running.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None

    def client(self, **options: Any) -> httpx.Client:  # noqa: ANN401  httpx' own arguments
        """A client for what is not measured."""
        return httpx.Client(
            base_url=f"https://localhost:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            verify=_trust(self.ca_file),
            timeout=_PATIENCE,
            trust_env=False,
            **options,
        )

    def issuer(self) -> str:
        """The CA certificate (PEM) of the authority that signs the measured profile."""
        with self.client() as client:
            answer = client.get(f"/clusters/{CLUSTER}/authorities/etcd/certificate")
            return answer.raise_for_status().text

    def issue(self, client: httpx.Client, request: NodeRequest) -> bytes:
        """Get one certificate (PEM chain), outside of any measurement."""
        answer = client.post(
            f"/clusters/{CLUSTER}/certificates",
            params={"profile": PROFILE, "node": request.node},
            content=request.pem,
            headers={"Content-Type": "application/pkcs10"},
        )
        if answer.is_error:
            raise ServiceError(answer.text)
        return answer.content

    def enrol(self, count: int) -> list[str]:
        """Make keys, get a certificate for each, and write the pairs as files for TLS clients."""
        pairs = []
        with self.client() as client:
            for number in range(count):
                key = new_key()
                request = NodeRequest(f"node-{number}.fleet.example", request_for(number, key))
                chain = self.issue(client, request)
                pairs.append(str(write_pair(self.folder / f"client-{number}.pem", chain, key)))
        return pairs

    def issuance(self, request: NodeRequest) -> str:
        """The HTTP request that asks for a certificate."""
        target = f"/api/v1/clusters/{CLUSTER}/certificates?profile={PROFILE}&node={request.node}"
        return self._post(target, request, f"Authorization: Bearer {self.token}\r\n")

    def renewal(self, request: NodeRequest) -> str:
        """The HTTP request that renews the certificate of its connection."""
        return self._post(f"/api/v1/clusters/{CLUSTER}/certificates/renew", request, "")

    def _post(self, target: str, request: NodeRequest, authorization: str) -> str:
        return (
            f"POST {target} HTTP/1.1\r\nHost: localhost:{self.port}\r\n{authorization}"
            f"Content-Type: application/pkcs10\r\nAccept: {_CHAIN}\r\n"
            f"Content-Length: {len(request.pem)}\r\n\r\n{request.pem.decode()}"
        )

    def _is_ready(self) -> bool:
        try:
            with self.client() as client:
                ready = client.get(f"https://localhost:{self.port}/readyz").is_success
        except httpx.TransportError:
            return False
        started = (
            (self.folder / "serve.log").read_text(errors="replace").count("Application startup complete")
        )
        return ready and started >= self.workers

    def _trivet(self, *arguments: str) -> None:
        done = subprocess.run(
            [*_command(), *arguments], env=self._environment(), capture_output=True, check=False
        )
        if done.returncode:
            message = f"trivet {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
            raise ServiceError(message)

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's settings; and rate limits that one requester, here for a fleet, does not meet."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
        limits = {"TRIVET_RATE_PER_SECOND": "1000000", "TRIVET_BURST": "1000000"}
        engine = {"TRIVET_ENGINE": self.engine} if has_engines() else {}
        return kept | limits | engine | self.settings


def _command() -> list[str]:
    return [str(Path(sys.executable).with_name("trivet"))]


def _trust(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
