"""A node below a folder, provisioned by a live service, and an agent for it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from trivet.agent.clocks import Clocks, since_boot
from trivet.agent.files import Disk, KeyPair, NodeFiles
from trivet.agent.journal import Journal
from trivet.agent.keeper import Keeper
from trivet.agent.markers import Markers
from trivet.agent.plan import CertificatePlan, load_plan
from trivet.agent.provisioning import Provisioning
from trivet.agent.runner import Agent
from trivet.agent.service import Service
from trivet.agent.steps import carry_out
from trivet.bootstrap.initialise import Installation
from trivet.client import Client, Endpoint
from trivet.pki.profiles import AuthorityName
from trivet.pki.serials import serial_hex

PAIR: dict[str, Any] = {
    "name": "etcd-server",
    "profile": "etcd-server",
    "certFile": "/etc/kubernetes/pki/etcd/server.crt",
    "keyFile": "/etc/kubernetes/pki/etcd/server.key",
    "certSANs": ["localhost", "127.0.0.1"],
}
COMBINED: dict[str, Any] = {
    "name": "kubelet-client",
    "profile": "kubelet-client",
    "combinedFile": "/var/lib/kubelet/pki/kubelet-client-current.pem",
}
OF_CLUSTERS = (AuthorityName.CLUSTER, AuthorityName.ETCD, AuthorityName.FRONT_PROXY)
KUBECONFIG: dict[str, Any] = {"name": "admin", "file": "/etc/kubernetes/admin.conf", "profile": "admin"}


def plan_text(
    certificates: list[dict[str, Any]],
    kubeconfigs: list[dict[str, Any]] | None = None,
    validity: str = "96h",
    cluster: str = "demo",
) -> str:
    spec = {
        "clusterName": cluster,
        "nodeName": "cp-1",
        "controlPlaneEndpoint": "127.0.0.1:6443",
        "certificateValidityPeriod": validity,
        "certificates": certificates,
        "kubeconfigs": kubeconfigs or [],
        "trustBundles": [
            {"name": f"{name}-ca", "authority": name, "file": f"/etc/kubernetes/pki/{name}.crt"}
            for name in ("cluster", "etcd")
        ],
    }
    document = {
        "apiVersion": "trivet.io/v1",
        "kind": "CertificatePlan",
        "metadata": {"name": "test"},
        "spec": spec,
    }
    return yaml.safe_dump(json.loads(json.dumps(document)))  # no aliases for what stands twice


@dataclass
class Time:
    """Both clocks, ahead of the real ones by as much as a test says."""

    wall_ahead: timedelta = timedelta(0)
    steady_ahead: timedelta = timedelta(0)

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.wall_ahead

    def steady(self) -> float:
        return since_boot() + self.steady_ahead.total_seconds()

    def advance(self, by: timedelta) -> None:
        self.wall_ahead += by
        self.steady_ahead += by


@dataclass
class AgentNode:
    """A node below a folder."""

    root: Path
    service: Installation
    text: str
    time: Time = field(default_factory=Time)
    out: StringIO = field(default_factory=StringIO)
    metrics: str = ""

    @property
    def plan_file(self) -> Path:
        return self.root / "plan.yaml"

    @property
    def plan(self) -> CertificatePlan:
        return load_plan(self.plan_file)

    @property
    def files(self) -> NodeFiles:
        return NodeFiles(self.root)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"https://127.0.0.1:{self.service.settings.port}", self.service.layout.service_ca)

    def administrator(self) -> Client:
        token = self.service.layout.admin_token.read_text().strip()
        return Client(Endpoint(self.endpoint.url, self.endpoint.ca_file, token))

    def provision(self) -> AgentNode:
        self.root.mkdir(parents=True, exist_ok=True)
        self.plan_file.write_text(self.text)
        plan = self.plan
        with self.administrator() as trivet:
            provisioning = Provisioning.by_token(trivet, plan, self.files, self.time.wall)
            faults = [outcome.fault for outcome in carry_out(provisioning.steps()) if outcome.fault]
        assert faults == []
        return self

    def pair(self, name: str) -> KeyPair:
        found = self.files.read(self.plan.certificate(name))
        assert found is not None
        return found

    def serial(self, name: str) -> str:
        return serial_hex(self.pair(name).certificate.serial_number)

    def agent(self, disk: Disk | None = None, *, by_message: bool = False, **changed: Any) -> Agent:  # noqa: ANN401
        def publish(text: str) -> None:
            self.metrics = text

        plan, disk = self.plan, disk or Disk()
        members: dict[str, Any] = {
            "plan": plan,
            "files": NodeFiles(self.root, disk),
            "service": Service(self.endpoint, plan.cluster, self.time.wall, by_message),
            "markers": Markers(disk, self.root),
            "journal": Journal("certificate-renewal-controller", self.out, self.time.wall),
            "clocks": Clocks(self.time.wall, self.time.steady),
            "spread": False,
        }
        about = {"mode": "controller", "cluster": plan.cluster, "node": plan.node, "version": "0"}
        return Agent(Keeper(**members | changed), about, publish, lambda: load_plan(self.plan_file))

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in found if event is None or line["event"] == event]


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def turn(agent: Agent, until: Callable[[], object], most: int = 400) -> None:
    """Step until something holds; sleeps are cut short, so that a test need not wait for a minute."""
    real = agent.signals.sleep
    agent.signals.sleep = lambda seconds: real(min(seconds, 0.05))  # type: ignore[method-assign]
    try:
        for _ in range(most):
            if until():
                return
            agent.step()
    finally:
        agent.signals.sleep = real  # type: ignore[method-assign]
    msg = "it does not come to that"
    raise AssertionError(msg)
