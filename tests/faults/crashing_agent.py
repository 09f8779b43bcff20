"""An agent that ends without a word after a number of steps on the disk.

python crashing_agent.py URL CA_FILE

Reads lines `ROOT STEPS DAYS` from stdin. For each it forks a process that renews what is due once, below ROOT, by a
clock that is DAYS ahead, and calls os._exit after STEPS steps; it answers with the exit code. One start, many crashes.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trivet.agent.clocks import Clocks
from trivet.agent.files import Disk, NodeFiles
from trivet.agent.journal import Journal
from trivet.agent.keeper import Keeper
from trivet.agent.markers import Markers
from trivet.agent.plan import load_plan
from trivet.agent.runner import Agent
from trivet.agent.service import Service
from trivet.client import Endpoint

CRASHED, DONE, NOT_WELL = 86, 0, 1


def renew_and_crash(url: str, ca_file: Path, ahead: timedelta, root: Path, steps: int) -> int:
    left = steps

    def after(_step: str, _path: Path) -> None:
        nonlocal left
        if left == 0:
            os._exit(CRASHED)
        left -= 1

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    os.chdir(root)
    plan, disk = load_plan(root / "plan.yaml"), Disk(after)
    with (root / "log").open("a") as log:
        keeper = Keeper(
            plan=plan,
            files=NodeFiles(root, disk),
            service=Service(Endpoint(url, ca_file), plan.cluster, now),
            markers=Markers(disk, root),
            journal=Journal("certificate-renewal-controller", log, now),
            clocks=Clocks(now),
            spread=False,
        )
        return DONE if Agent(keeper, {}, lambda _text: None).run_once() else NOT_WELL


def main(url: str, ca_file: Path) -> None:
    for line in sys.stdin:
        root, steps, days = line.strip().rsplit(" ", 2)
        child = os.fork()
        if child == 0:
            os._exit(renew_and_crash(url, ca_file, timedelta(days=int(days)), Path(root), int(steps)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  the answer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
