from __future__ import annotations

import fcntl
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from trivet.bootstrap import metrics
from trivet.bootstrap.initialise import Installation, initialise
from trivet.bootstrap.layout import Choices
from trivet.bootstrap.metrics import RestartPauses, shared_metrics

TRIVET = Path(sys.executable).with_name("trivet")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return initialise(Choices(tmp_path / ".trivet", f"https://127.0.0.1:{port}", {"port": port}, None))


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(metrics, "_MEMORY", folder)
    return folder


@contextmanager
def serving(installation: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """Serve with two workers, until SIGTERM ends it cleanly."""
    command = [str(TRIVET), "--config", str(installation.layout.settings), "serve", "--workers", "2"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started
        started.send_signal(signal.SIGTERM)
        assert started.wait(40) == 0
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()


def workers_of(supervisor: int) -> list[int]:
    """The workers, without the helper of multiprocessing that stands beside them."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


class Scraper:
    def __init__(self, installation: Installation) -> None:
        self.url = f"https://127.0.0.1:{installation.settings.port}"
        self.trust = ssl.create_default_context(cafile=installation.layout.service_ca)
        token = installation.layout.admin_token.read_text().strip()
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> httpx.Response:
        """Ask over a connection of its own, so that any worker may answer."""
        with httpx.Client(verify=self.trust, headers=self.headers, timeout=10) as client:
            return client.get(self.url + path)

    def values(self) -> dict[str, float]:
        answer = self.get("/metrics")
        assert answer.status_code == 200, answer.text
        samples = [sample for family in parse_text(answer.text) for sample in family.samples]
        wanted = {"method": "GET", "route": "/livez", "status": "200"}
        return {it.name: it.value for it in samples if it.labels in ({}, wanted)}

    def await_workers(self, count: int, without: int | None = None, supervisor: int = 0) -> dict[str, float]:
        deadline = time.monotonic() + 120
        while True:
            assert time.monotonic() < deadline
            try:
                values = self.values()
            except httpx.TransportError:
                values = {}
            present = workers_of(supervisor)
            if values.get("trivet_workers") == count == len(present) and without not in present:
                return values
            time.sleep(0.2)


def test_any_worker_tells_of_all_also_after_one_was_killed(installation: Installation) -> None:
    scraper = Scraper(installation)
    with serving(installation) as supervisor:
        scraper.await_workers(2, supervisor=supervisor.pid)
        for _ in range(30):
            assert scraper.get("/livez").status_code == 200
        told = [scraper.values() for _ in range(8)]
        assert {values["trivet_http_requests_total"] for values in told} == {30.0}
        processor = told[-1]["process_cpu_seconds_total"]
        for killed in workers_of(supervisor.pid):
            os.kill(killed, signal.SIGKILL)
            values = scraper.await_workers(2, without=killed, supervisor=supervisor.pid)
        for _ in range(10):
            assert scraper.get("/livez").status_code == 200
        told = [scraper.values() for _ in range(8)]
        assert {values["trivet_http_requests_total"] for values in told} == {40.0}
        assert {values["trivet_http_requests_in_flight"] for values in told} == {1.0}
        assert values["process_cpu_seconds_total"] >= processor
        folder = environment_of(workers_of(supervisor.pid)[0])["PROMETHEUS_MULTIPROC_DIR"]
        assert Path(folder).is_dir()
        assert Path(folder).stat().st_mode & 0o077 == 0
    assert not Path(folder).exists()


def environment_of(number: int) -> dict[str, str]:
    pairs = Path(f"/proc/{number}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_the_folder_is_there_for_the_workers_and_goes_with_them(memory: Path) -> None:
    with shared_metrics() as folder:
        assert folder.parent == memory
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    assert list(memory.iterdir()) == []


def test_what_a_killed_supervisor_left_is_removed(memory: Path) -> None:
    left, kept, young = (memory / f"trivet-metrics-{name}" for name in ("left", "kept", "young"))
    for folder in (left, kept, young):
        folder.mkdir()
        (folder / "owner").touch()
        if folder is not young:
            os.utime(folder, (0, 0))
    with (kept / "owner").open("a") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        with shared_metrics() as own:
            assert set(memory.iterdir()) == {kept, young, own}


def test_a_place_whose_workers_end_soon_is_filled_ever_later_and_one_that_lived_at_once() -> None:
    pauses = RestartPauses()
    assert pauses.may_restart(0, 100.0)  # the first one had lived
    assert pauses.may_restart(0, 100.5)  # it ended soon: from now on there is a pause
    assert not pauses.may_restart(0, 101.0)
    assert pauses.may_restart(0, 101.5)
    assert not pauses.may_restart(0, 103.0)
    assert pauses.may_restart(0, 103.5)
    assert not pauses.may_restart(0, 107.0)
    assert pauses.may_restart(0, 107.5)
    assert not pauses.may_restart(0, 112.0)  # never longer than five seconds
    assert pauses.may_restart(0, 112.5)
    assert pauses.may_restart(1, 112.5)  # each place by itself
    assert pauses.may_restart(0, 140.0)  # it lived
    assert pauses.may_restart(0, 140.1)
