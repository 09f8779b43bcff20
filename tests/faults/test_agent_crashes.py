"""Real agents that end at each step of a renewal, and start again, with a live service."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.crashing_agent import CRASHED, DONE
from tests.support.agent_node import COMBINED, KUBECONFIG, PAIR, AgentNode, plan_text
from tests.unit.agent.crashing import as_a_component_reads
from tests.unit.cli.running import installed, running

from trivet.agent.files import key_pair_from_pem
from trivet.bootstrap.initialise import Installation

AHEAD = 3  # days, of four: it is due
HOOK = {"hook": {"command": ["/bin/sh", "-c", "echo ran >> hooks.log"]}}
LAYOUTS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "pair": ([PAIR | HOOK], []),
    "combined": ([COMBINED | HOOK], []),
    "kubeconfig": ([], [KUBECONFIG | HOOK]),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = installed(tmp_path_factory.mktemp("installation"))
    with running(installation.settings):
        yield installation


@contextmanager
def agents(node: AgentNode) -> Iterator[Callable[[Path, int, int], int]]:
    """Runs agents that crash; gives their exit codes."""
    script = Path(__file__).with_name("crashing_agent.py")
    command = [sys.executable, str(script), node.endpoint.url, str(node.endpoint.ca_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as source:

        def run(root: Path, steps: int, days: int) -> int:
            assert source.stdin is not None
            assert source.stdout is not None
            print(root, steps, days, file=source.stdin, flush=True)
            return int(source.stdout.readline())

        yield run


def keys_without_certificates(root: Path) -> list[Path]:
    """Files that hold a key, where what holds its certificate is missing or another's."""
    found = []
    for key in root.rglob("*.key"):
        certificate = key.with_suffix(".crt")
        # Versions that are not finished yet are nobody's: no link leads to them.
        if ".trivet" in key.parts or not key.exists():
            continue
        try:
            key_pair_from_pem(certificate.read_bytes(), key.read_bytes())
        except (OSError, ValueError):
            found.append(key)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_an_agent_that_is_killed_at_any_step_leaves_a_pair_that_works_and_the_next_one_goes_on(
    service: Installation, tmp_path: Path, layout: str
) -> None:
    template = AgentNode(tmp_path / "template", service, plan_text(*LAYOUTS[layout])).provision()
    (planned,) = template.plan.certificates
    former = template.pair(planned.name).certificate
    outcomes: set[str] = set()
    with agents(template) as run:
        for steps in range(500):
            root = tmp_path / str(steps)
            shutil.copytree(template.root, root, symlinks=True)
            code = run(root, steps, AHEAD)
            # While nobody mends anything: components read what is there.
            found = as_a_component_reads(root, planned)
            assert found is not None, steps
            assert keys_without_certificates(root) == [], steps
            is_new = found.certificate != former
            outcomes.add("new" if is_new else "former")
            # The next agent: what was renewed is not due any more, but its hook may be left to run.
            assert run(root, 100_000, 0 if is_new else AHEAD) == DONE, (root / "log").read_text()
            later = as_a_component_reads(root, planned)
            assert later is not None
            assert later.certificate == found.certificate if is_new else later.certificate != former
            assert (root / "hooks.log").read_text().startswith("ran"), steps
            assert leftovers(root) == [], steps
            shutil.rmtree(root)
            if code != CRASHED:
                assert code == DONE
                break
    assert steps > 20
    assert outcomes == {"former", "new"}


def leftovers(root: Path) -> list[Path]:
    staged = ("*.new", "*.link", "*.trivet-new", "*.trivet-trial", "*-updated.pem")
    return [path for pattern in staged for path in root.rglob(pattern)]
