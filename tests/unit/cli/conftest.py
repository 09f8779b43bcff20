"""A real service, in this process and over TLS, and the command `trivet` with its settings."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.canary import CANARY
from tests.unit.cli.outcome import Outcome, Trivet
from tests.unit.cli.running import installed, running

from trivet.bootstrap.initialise import Installation
from trivet.cli.main import run


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed(tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="package")
def service(installation: Installation) -> Iterator[Installation]:
    with running(installation.settings):
        yield installation


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
        CANARY.hear("stderr", outcome.err)
        assert code is None or outcome.code == code, outcome
        return outcome

    return call


@pytest.fixture
def trivet(bare_trivet: Trivet, service: Installation, monkeypatch: pytest.MonkeyPatch) -> Trivet:
    """Give the command, with an administrator's settings for the service that runs."""
    monkeypatch.setenv("TRIVET_CONFIG", str(service.layout.settings))
    return bare_trivet
