"""The command `trivet agent` as systemd starts it: a real process, a live service, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.agent_node import COMBINED, PAIR, AgentNode, free_port, plan_text
from tests.unit.cli.running import installed, running

from trivet.agent.service import Service
from trivet.bootstrap.initialise import Installation
from trivet.client.keys import build_request, new_key
from trivet.pki.keys import KeyAlgorithm

TRIVET = Path(sys.executable).with_name("trivet")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = installed(tmp_path_factory.mktemp("installation"))
    with running(installation.settings):
        yield installation


@pytest.fixture
def node(service: Installation, tmp_path: Path) -> AgentNode:
    hook = {"hook": {"command": ["/bin/sh", "-c", f"echo ran >> {tmp_path}/ran"]}}
    return AgentNode(tmp_path / "node", service, plan_text([COMBINED | hook])).provision()


def supersede(node: AgentNode, name: str) -> None:
    """Renew a certificate elsewhere; the one on the disk should then be renewed at once."""
    asked = Service(node.endpoint, node.plan.cluster, node.time.wall)
    request = build_request(new_key(KeyAlgorithm.P384))
    asked.renew(node.plan.certificate(name), node.pair(name), request)


def command(node: AgentNode, *options: object, mode: str = "worker") -> list[str]:
    asked = ["agent", "--mode", mode, "-f", node.plan_file, "--root", node.root, *options]
    return [str(TRIVET), "--config", str(node.service.layout.settings), *map(str, asked)]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIVET_", "NOTIFY_"))}
    return kept | more


def run(node: AgentNode, *options: object, mode: str = "worker") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(node, *options, mode=mode),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def agent(node: AgentNode, *options: object, **more: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(node, *options), env=environment(**more), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def await_event(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stdout is not None
    for text in process.stdout:
        line: dict[str, Any] = json.loads(text)
        if line["event"] == event:
            return line
    pytest.fail(f"it ended without {event}")


def test_once_renews_what_is_due_and_tells_of_it(node: AgentNode, tmp_path: Path) -> None:
    before = node.serial("kubelet-client")
    supersede(node, "kubelet-client")
    metrics = tmp_path / "trivet.prom"
    done = run(node, "--once", "--metrics-file", metrics)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["started", "renewed", "hookRan"]
    assert {line["logger"] for line in lines} == {"certificate-renewal-worker"}
    renewed = lines[1]
    assert (renewed["formerSerial"], renewed["serial"]) == (before, node.serial("kubelet-client"))
    assert {"certificate", "profile", "notAfter", "nextTry"} <= renewed.keys()
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert 'trivet_agent_certificate_renewals_total{certificate="kubelet-client"} 1' in metrics.read_text()
    assert 'mode="worker"' in metrics.read_text()


def test_it_tells_systemd_of_itself_serves_metrics_reads_its_plan_again_and_ends_when_told(
    node: AgentNode, tmp_path: Path
) -> None:
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        with agent(node, "--metrics-listen", port, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert listener.recv(200).startswith(b"READY=1")
            await_metrics(port)
            node.plan_file.write_text("kind: Nonsense\n")
            process.send_signal(signal.SIGHUP)
            assert "plan.yaml:1:1: /kind" in await_event(process, "planKept")["message"]
            node.plan_file.write_text(node.text.replace("96h", "48h"))
            process.send_signal(signal.SIGHUP)
            assert await_event(process, "planRead")["level"] == "info"
            process.send_signal(signal.SIGTERM)
            await_event(process, "stopped")
            assert process.wait(30) == 0
        said: list[bytes] = []
        listener.settimeout(0.2)
        while not said or said[-1] != b"STOPPING=1":
            said.append(listener.recv(200))
    assert b"WATCHDOG=1" in said


def await_metrics(port: int) -> None:
    deadline = time.monotonic() + 20
    while "trivet_agent_outage_budget_seconds" not in httpx.get(f"http://127.0.0.1:{port}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_agent_on_a_node_ends_and_says_why(node: AgentNode) -> None:
    with agent(node) as first:
        await_event(first, "started")
        second = run(node)
    assert second.returncode == 7
    assert "another trivet agent looks after this node" in second.stderr


def test_a_worker_does_not_take_a_plan_of_a_control_plane(service: Installation, tmp_path: Path) -> None:
    node = AgentNode(tmp_path / "node", service, plan_text([COMBINED, PAIR])).provision()
    done = run(node, "--once")
    assert done.returncode == 2
    assert "a worker does not hold etcd-server" in done.stderr
    assert run(node, "--once", mode="controller").returncode == 0


@pytest.mark.parametrize(
    ("option", "value", "code", "words"),
    [
        ("--metrics-listen", "somewhere:9912", 2, "write a port, as 9912"),
        ("--metrics-listen", "127.0.0.1:99999", 2, "write a port, as 9912"),
        ("--metrics-listen", "192.0.2.1:9912", 7, "192.0.2.1:9912: Cannot assign requested address"),
        ("-f", "/nowhere.yaml", 7, "/nowhere.yaml"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would_be_accepted(
    node: AgentNode, option: str, value: str, code: int, words: str
) -> None:
    done = run(node, "--once", option, value)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_once_ends_with_1_where_a_certificate_could_not_be_renewed(node: AgentNode) -> None:
    supersede(node, "kubelet-client")
    folder = node.root / "var/lib/kubelet/pki"
    link = folder / "kubelet-client-current.pem"
    link.unlink()
    done = run(node, "--once")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "missing"
