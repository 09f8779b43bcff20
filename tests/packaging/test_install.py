"""`pip install trivet` and `trivet[server]`: the wheel in an empty environment of each Python that is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.served import serving, set_up
from tests.support.wheel import ROOT, build

UV = Path(sys.executable).with_name("uv")
LOCK = ROOT / "requirements/run.txt"
# What only the service needs.
OF_THE_SERVER = {"alembic", "fastapi", "prometheus-client", "psycopg", "sqlalchemy", "starlette", "uvicorn"}
MIB = 2**20


@dataclass(frozen=True)
class Environment:
    """A virtual environment, empty at first, into which the wheel was installed."""

    folder: Path

    @property
    def trivet(self) -> Path:
        return self.folder / "bin/trivet"

    def install(self, requirement: str) -> None:
        """Install from what earlier installations left on this machine, else from the registry."""
        command = (UV, "pip", "install", "--python", self.folder, "--constraint", LOCK, requirement)
        done = _run(*command, "--offline")
        if done.returncode:
            done = _run(*command)
        if "Failed to fetch" in done.stderr or "Could not connect" in done.stderr:
            pytest.skip("the package registry does not answer")
        assert done.returncode == 0, done.stderr

    def distributions(self) -> set[str]:
        listed = _run(UV, "pip", "list", "--python", self.folder, "--format", "freeze")
        return {line.partition("==")[0] for line in listed.stdout.splitlines()}

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def _run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _interpreter(version: str) -> Path | None:
    """The newest CPython of this version: on the path, uv's own, or pyenv's."""
    found = _run(UV, "python", "find", "--no-python-downloads", "--no-project", version)
    if found.returncode == 0:
        return Path(found.stdout.strip())
    of_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known = [path for path in of_pyenv.glob(f"{version}.*/bin/python{version}") if path.exists()]
    return max(known, key=lambda path: [*map(int, re.findall(r"\d+", path.parts[-3]))], default=None)


@pytest.fixture(scope="module", autouse=True)
def _bytecode() -> Iterator[None]:
    """Let what is installed keep its bytecode: each environment runs several commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path
) -> Environment:
    interpreter = _interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"there is no Python {request.param} here")
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    done = _run(UV, "venv", "--python", interpreter, made.folder)
    assert done.returncode == 0, done.stderr
    made.install(str(wheel))
    return made


def test_the_base_is_the_agent_and_the_command_and_small(environment: Environment, tmp_path: Path) -> None:
    assert not environment.distributions() & OF_THE_SERVER
    assert environment.size() < 64 * MIB
    said = _run(environment.trivet, "--version")
    assert re.fullmatch(r"trivet \d\S+\n", said.stdout), said
    assert "control-plane" in _run(environment.trivet, "plan", "list").stdout
    refused = _run(environment.trivet, "init", cwd=tmp_path)
    assert (refused.returncode, "pip install 'trivet[server]'" in refused.stderr) == (7, True)


@pytest.mark.slow
def test_with_the_server_it_serves_and_issues(
    environment: Environment, wheel: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    environment.install(f"{wheel}[server]")
    served = set_up(tmp_path, program=environment.trivet)
    with serving(served, "--workers", "1"):
        issued = _run(
            environment.trivet, "issue", "--cluster", "demo", "--profile", "kubelet-client", "--node", "node-1",
            cwd=tmp_path,
        )  # fmt: skip
    assert issued.returncode == 0, issued.stderr
    verify = (require_tool("openssl"), "verify", "-partial_chain", "-CAfile")
    leaf = tmp_path / "kubelet-client-node-1.crt"
    chain = leaf.read_text()
    (tmp_path / "ca.crt").write_text(chain[chain.rindex("-----BEGIN") :])
    assert _run(*verify, tmp_path / "ca.crt", leaf).stdout.endswith(": OK\n")
