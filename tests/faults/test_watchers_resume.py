"""Watchers of a service whose worker is killed: none loses a change or is told of one twice."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_watchers_go_on_from_where_they_were_when_a_worker_is_killed() -> None:
    # The benchmark itself, small: 500 watchers and 100 changes a second for two minutes take a machine of their own.
    command = [sys.executable, "-m", "bench.watches", "--watchers", "16", "--rate", "40", "--seconds", "4"]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:  # on a disk, as the benchmark wants it
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TRIVET_")}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment | {"TRIVET_BENCH_SCRATCH": scratch},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "every watcher saw every change once, in order" in told
    assert '"resumed": 0' not in told, "nobody's worker was killed"
