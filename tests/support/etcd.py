"""A real etcd cluster on the loopback, and its clients."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from tests.support.agent_node import AgentNode, free_port

from trivet.agent.memory_files import in_memory
from trivet.pki.serials import serial_hex

PKI = "etc/kubernetes/pki/etcd"


@dataclass
class Member:
    """A member: a node whose certificates Trivet made, and its etcd."""

    name: str
    node: AgentNode
    client: int
    peer: int
    _running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pki(self) -> Path:
        return self.node.root / PKI

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.client}"

    @property
    def log(self) -> str:
        return (self.node.root / "etcd.log").read_text()

    def start(self, members: Sequence[Member]) -> None:
        peers = ",".join(f"{member.name}=https://127.0.0.1:{member.peer}" for member in members)
        peer, pki = f"https://127.0.0.1:{self.peer}", self.pki
        options = {
            "name": self.name,
            "data-dir": self.node.root / "data",
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": peers,
            "client-cert-auth": "true",
            "trusted-ca-file": pki / "ca.crt",
            "cert-file": pki / "server.crt",
            "key-file": pki / "server.key",
            "peer-client-cert-auth": "true",
            "peer-trusted-ca-file": pki / "ca.crt",
            "peer-cert-file": pki / "peer.crt",
            "peer-key-file": pki / "peer.key",
            "heartbeat-interval": 300,
            "election-timeout": 3000,
            "logger": "zap",
            # A machine full of databases may keep an fsync waiting longer than a client waits for its answer.
            "unsafe-no-fsync": "true",
        }
        with (self.node.root / "etcd.log").open("ab") as log:
            command = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
            self._running = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        if self._running is not None:
            self._running.send_signal(signal.SIGTERM)
            try:
                self._running.wait(10)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()
            self._running = None

    def serves(self, port: int) -> str:
        """The serial number of what is served, seen in a real handshake with this member's own client certificate."""
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        with (
            in_memory(self.node.pair("etcd-healthcheck-client")) as pair,
            socket.create_connection(("127.0.0.1", port), 5) as plain,
        ):
            context.load_cert_chain(pair)
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                der = secure.getpeercert(binary_form=True)
        return serial_hex(x509.load_der_x509_certificate(der or b"").serial_number)

    def etcdctl(self, *arguments: object, endpoints: Sequence[Member]) -> subprocess.CompletedProcess[str]:
        """Run etcdctl with this member's client certificate."""
        return subprocess.run(
            [*self.command(endpoints), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def command(self, endpoints: Sequence[Member]) -> list[str]:
        pair = self.pki / "healthcheck-client"
        urls = ",".join(member.url for member in endpoints)
        return ["etcdctl", f"--endpoints={urls}", f"--cacert={self.pki / 'ca.crt'}", f"--cert={pair}.crt",
                f"--key={pair}.key", "--command-timeout=20s", "--dial-timeout=10s"]  # fmt: skip

    def hand_over(self, heir: Member) -> None:
        """Let another lead, if this one does: as an operator does before a member is stopped."""
        if self._status()["leader"] == self._status()["header"]["member_id"]:
            member_id = heir._status()["header"]["member_id"]
            done = self.etcdctl("move-leader", f"{member_id:x}", endpoints=[self])
            assert done.returncode == 0, done.stderr

    def _status(self) -> dict[str, Any]:
        told = self.etcdctl("endpoint", "status", "-w", "json", endpoints=[self])
        status: dict[str, Any] = json.loads(told.stdout)[0]["Status"]
        return status

    def is_healthy(self, by: Member) -> bool:
        return by.etcdctl("endpoint", "health", endpoints=[self]).returncode == 0


@dataclass
class Writer:
    """Writes one number after the other, each with a client of its own that shakes hands anew."""

    by: Member
    endpoints: Sequence[Member]
    written: int = 0
    faults: list[str] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        while not self._ends.is_set():
            done = self.by.etcdctl("put", "number", self.written + 1, endpoints=self.endpoints)
            if done.returncode == 0:
                self.written += 1
            else:
                self.faults.append(done.stderr)
            self._ends.wait(0.2)

    @contextmanager
    def writing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.write)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join()


@contextmanager
def watching(member: Member, out: Path) -> Iterator[None]:
    """One client that stays connected all the time, and writes what it sees to a file."""
    with out.open("wb") as seen:
        process = subprocess.Popen([*member.command([member]), "watch", "number", "-w", "json"], stdout=seen)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def watched(out: Path) -> int:
    """How many changes a watcher saw."""
    return sum(len(json.loads(line).get("Events") or []) for line in out.read_text().splitlines())


def ports(count: int) -> list[tuple[int, int]]:
    return [(free_port(), free_port()) for _ in range(count)]


def await_true(condition: object, seconds: float = 30) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.2)
