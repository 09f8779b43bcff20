"""Trivet as an operator runs it: real processes that can be killed one by one or all at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

TRIVET = Path(sys.executable).with_name("trivet")
CLUSTER = "demo"
WORKERS = 2
_START_SECONDS = 60
_UNLIMITED = "100000"


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.Error:  # it has ended, and waits to be replaced
        return False


def free_port() -> int:
    """Find a port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """One installation with a cluster, and the supervisor and workers that serve it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.database_url = database_url
        self.log = folder / "serve.log"
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / ".trivet/client/admin.token").read_text().strip()

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / ".trivet/client/service-ca.crt")

    @property
    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TRIVET_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        # Compiled once and kept, as where Trivet is installed: most of a start would be compiling otherwise.
        kept["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
        # What limits a single client has no say here.
        return kept | {"TRIVET_RATE_PER_SECOND": _UNLIMITED, "TRIVET_BURST": _UNLIMITED}

    def _command(self, *arguments: str) -> list[str]:
        return [str(TRIVET), *arguments, "--database-url", self.database_url]

    def initialise(self) -> None:
        subprocess.run(
            self._command("init", "--port", str(self.port)),
            cwd=self.folder,
            env=self._environment,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start, and do not wait."""
        command = self._command("--config", ".trivet/trivet.toml", "serve", "--workers", str(WORKERS))
        with self.log.open("ab") as output:
            self._supervisor = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that its processes, and no others, can be killed together
            )

    def await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            assert self.supervisor.poll() is None, self.complaints()
            assert time.monotonic() < deadline, self.complaints()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", verify=self.tls(), timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        assert self._supervisor is not None
        return self._supervisor

    @property
    def is_running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    def workers(self) -> list[psutil.Process]:
        """The processes that answer; beside them the supervisor has one that tracks resources."""
        children = psutil.Process(self.supervisor.pid).children()
        return [child for child in children if _is_worker(child)]

    def kill(self) -> None:
        """End supervisor and workers in the same moment, without a chance to clean up."""
        os.killpg(self.supervisor.pid, signal.SIGKILL)
        self.supervisor.wait()

    def kill_workers(self, number: int = WORKERS) -> None:
        """End some of the workers; the supervisor starts others."""
        for worker in self.workers()[:number]:
            worker.kill()

    def complaints(self, most: int = 40) -> str:
        """The last lines of the log that are more than information."""
        lines = [line for line in self.log.read_text().splitlines() if _level(line) != "info"]
        return "\n".join([line for line in lines if "refused: unavailable" not in line][-most:])

    def failed_starts(self) -> int:
        """How many workers have ended because they could not store a certificate for themselves."""
        return self.log.read_text().count("no HTTPS certificate")

    def defects(self) -> list[str]:
        """Lines of the log that only a defect of Trivet writes."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if _level(line) == "critical" or "a defect" in line]

    def proof(self) -> tuple[int, str]:
        """Export what was decided and verify it, as an auditor does; the exit code, and what was said."""
        path = self.folder / "audit.jsonl"
        with path.open("wb") as output:
            subprocess.run(
                [str(TRIVET), "--config", ".trivet/trivet.toml", "audit", "export"],
                cwd=self.folder, env=self._environment, check=True, stdout=output,
            )  # fmt: skip
        verify = [str(TRIVET), "--config", ".trivet/trivet.toml", "audit", "verify", str(path), "-o", "json"]
        done = subprocess.run(
            verify, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def stop(self) -> None:
        """End it as an operator does, and demand that it ends well."""
        self.supervisor.send_signal(signal.SIGTERM)
        assert self.supervisor.wait(timeout=60) == 0, self.complaints()


def _level(line: str) -> str:
    try:
        level: str = json.loads(line)["level"]
    except (ValueError, KeyError, TypeError):
        return ""  # a traceback of a process that the log was not set up in yet, or half a line
    return level
