"""`trivet serve` as a real process, set up by `trivet init`, with its cluster's Kubernetes API."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TRIVET = Path(sys.executable).with_name("trivet")


@dataclass(frozen=True)
class Served:
    """A running service."""

    folder: Path
    port: int
    program: Path = TRIVET

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def service_ca(self) -> Path:
        return self.folder / ".trivet/client/service-ca.crt"

    @property
    def admin_token(self) -> str:
        return (self.folder / ".trivet/client/admin.token").read_text().strip()

    def client(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=self.service_ca),
            headers={"Authorization": f"Bearer {token or self.admin_token}"},
            timeout=60,
        )

    def make_cluster(self, name: str) -> None:
        with self.client() as client:
            made = client.post("/api/v1/clusters", json={"name": name, "endpoint": f"api.{name}.example"})
            assert made.status_code == 201, made.text

    def make_token(self, role: str, cluster: str | None = None) -> str:
        with self.client() as client:
            made = client.post("/api/v1/tokens", json={"role": role, "cluster": cluster})
            assert made.status_code == 201, made.text
            secret: str = made.json()["secret"]
            return secret

    def make_bootstrap_token(self, cluster: str) -> str:
        with self.client() as client:
            made = client.post(f"/api/v1/clusters/{cluster}/bootstrap-tokens", json={})
            assert made.status_code == 201, made.text
            token: str = made.json()["token"]
            return token

    def ended_in(self, process: subprocess.Popen[bytes]) -> float:
        """End a process as an operator does; give how many seconds it took."""
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0
        return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def set_up(folder: Path, *arguments: str, program: Path = TRIVET) -> Served:
    """Run `trivet init` in a folder; by default that of this very environment."""
    served = Served(folder, free_port(), program)
    _run(served, "init", "--port", str(served.port), *arguments)
    return served


def environment(folder: Path) -> dict[str, str]:
    """That of somebody who works in this folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
    return kept | {"HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _run(served: Served, *arguments: str) -> None:
    subprocess.run(
        [served.program, *arguments],
        cwd=served.folder,
        env=environment(served.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )


@contextmanager
def serving(served: Served, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve for a block; the log goes to `serve.log`."""
    log = served.folder / f"serve-{served.port}.log"
    with log.open("wb") as output:
        command = [
            str(served.program),
            "--config",
            ".trivet/trivet.toml",
            "serve",
            "--port",
            str(served.port),
            *arguments,
        ]
        process = subprocess.Popen(
            command, cwd=served.folder, env=environment(served.folder), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 150
        while "startup complete" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=40)
