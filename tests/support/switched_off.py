"""A cluster whose nodes are folders: certificates that end when a test says, and the real processes around them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import yaml
from tests.unit.cli.running import installed

from trivet.agent.files import NodeFiles
from trivet.agent.plan import CertificatePlan, load_plan
from trivet.agent.plan.builtin import Choices, built_in_plan
from trivet.agent.plan.model import PlannedCertificate
from trivet.agent.provisioning import Provisioning
from trivet.agent.steps import carry_out
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.bootstrap.composition import build_authority
from trivet.bootstrap.initialise import Installation
from trivet.client import Client, Endpoint
from trivet.pki.pem import from_der, to_pem
from trivet.pki.serials import serial_hex
from trivet.pki.validity import SHORTEST

TRIVET = Path(sys.executable).with_name("trivet")
CLUSTER = "demo"
_PATIENCE = 120.0


@dataclass(frozen=True)
class EndingAt:
    """Where certificates come from that end at a moment: issued so long before as the shortest life is."""

    authority: Authority

    def certificate_for(self, planned: PlannedCertificate, request: bytes) -> str:
        wish = Issuance(CLUSTER, planned.profile.name, request, planned.node, SHORTEST)
        return to_pem([from_der(issue(self.authority, OPERATOR, wish).stored.der)]).decode()


def await_that(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@dataclass
class Node:
    """A node below a folder, with its plan, and the log of its agent."""

    root: Path
    mode: str
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def plan(self) -> CertificatePlan:
        return load_plan(self.root / "plan.yaml")

    def certificates(self) -> dict[str, tuple[str, datetime]]:
        """Serial number and end of each certificate on the disk, by its name in the plan."""
        files = NodeFiles(self.root)
        pairs = {planned.name: files.read(planned) for planned in self.plan.certificates}
        return {
            name: (serial_hex(pair.certificate.serial_number), pair.certificate.not_valid_after_utc)
            for name, pair in pairs.items()
            if pair is not None
        }

    def said(self, event: str) -> list[dict[str, Any]]:
        """What the agent's log has of an event."""
        lines = (self.root / "agent.log").read_bytes().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]


@dataclass
class SwitchedOff:
    """An installation, and nodes that hold certificates of it."""

    installation: Installation
    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def installed(cls, folder: Path) -> SwitchedOff:
        """Set up a service whose authorities are older than any certificate of a test."""
        with patch("trivet.bootstrap.composition.now", lambda: datetime.now(UTC) - timedelta(days=1)):
            return cls(installed(folder), folder)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.installation.settings.port}"

    def administrator(self) -> Client:
        layout = self.installation.layout
        return Client(Endpoint(self.url, layout.service_ca, layout.admin_token.read_text().strip()))

    def add(self, name: str, plan: str, mode: str) -> Node:
        """Write a built-in plan for a node; what has to run on a real one is left out: hooks and probes."""
        text = yaml.safe_load(built_in_plan(plan, Choices(CLUSTER, name, "localhost:6443", ("127.0.0.1",))))
        for item in [*text["spec"]["certificates"], *text["spec"].get("kubeconfigs", [])]:
            item.pop("hook", None)
            item.pop("probe", None)
        node = self.nodes[name] = Node(self.folder / name, mode)
        node.root.mkdir()
        (node.root / "plan.yaml").write_text(yaml.safe_dump(text))
        return node

    def provision(self, end: datetime) -> None:
        """Make all that the plans list, with certificates that end at a moment. The service is up."""
        authority = build_authority(self.installation.settings)
        source = EndingAt(replace(authority, clock=lambda: end - SHORTEST))
        with self.administrator() as trivet:
            for node in self.nodes.values():
                by_token = Provisioning.by_token(
                    trivet, node.plan, NodeFiles(node.root), lambda: datetime.now(UTC)
                )
                steps = replace(by_token, source=source).steps()
                faults = [(outcome.step.name, outcome.fault) for outcome in carry_out(steps) if outcome.fault]
                assert faults == [], faults
        authority.database.dispose()

    def command(self, *arguments: object) -> list[str]:
        return [str(TRIVET), "--config", str(self.installation.layout.settings), *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}

    def run(self, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment | more,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )

    @contextmanager
    def started(self, log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Run the command beside others; what it says goes to a file."""
        with (
            log.open("ab") as out,
            subprocess.Popen(
                self.command(*arguments), env=self.environment, stdout=out, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """`trivet serve`."""
        with self.started(self.folder / "serve.log", "serve", "--workers", 1):
            await_that(self._answers, "the service does not answer")
            yield

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", verify=False, trust_env=False).is_success  # noqa: S501
        except httpx.TransportError:
            return False

    @contextmanager
    def agent(self, node: Node) -> Iterator[None]:
        """`trivet agent` on a node."""
        asked = ("agent", "--mode", node.mode, "-f", node.root / "plan.yaml", "--root", node.root)
        with self.started(node.root / "agent.log", *asked):
            yield
