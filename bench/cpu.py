"""CPU time of processes and all that they started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable


def tree_seconds(pids: Iterable[int]) -> float:
    """CPU seconds, so far, of the processes and their descendants, those that have ended included."""
    return sum(_seconds(process) for process in tree(pids))


def tree(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes and all their descendants."""
    found: list[psutil.Process] = []
    for pid in pids:
        try:
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def _seconds(process: psutil.Process) -> float:
    try:
        spent = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(spent.user + spent.system + spent.children_user + spent.children_system)
