"""A real service, in this process and over TLS, and the command `trivet` with its settings."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.unit.cli.outcome import Outcome, Trivet

from trivet.bootstrap.initialise import Installation, initialise
from trivet.bootstrap.layout import Choices
from trivet.bootstrap.service import QuietServer, Worker, uvicorn_config
from trivet.cli.main import run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    port = free_port()
    folder = tmp_path_factory.mktemp("installation") / ".trivet"
    return initialise(Choices(folder, f"https://127.0.0.1:{port}", {"port": port}, "demo"))


@pytest.fixture(scope="package")
def service(installation: Installation) -> Iterator[Installation]:
    worker = Worker(installation.settings)
    with patch("trivet.bootstrap.service.logging_config", return_value=None):
        server = QuietServer(uvicorn_config(installation.settings, worker))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield installation
    server.should_exit = True
    thread.join()
    worker.close()


@pytest.fixture
def bare_trivet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Trivet:
    """Give the command, without settings."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: str | None = None, code: int | None = 0) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["trivet", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        shown = capsys.readouterr()
        outcome = Outcome(int(ended.value.code or 0), shown.out, shown.err)
        assert "Traceback" not in outcome.err
        assert code is None or outcome.code == code, outcome
        return outcome

    return call


@pytest.fixture
def trivet(bare_trivet: Trivet, service: Installation, monkeypatch: pytest.MonkeyPatch) -> Trivet:
    """Give the command, with an administrator's settings for the service that runs."""
    monkeypatch.setenv("TRIVET_CONFIG", str(service.layout.settings))
    return bare_trivet
