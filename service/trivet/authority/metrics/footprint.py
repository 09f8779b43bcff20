"""What this process takes of its machine: memory, open files, processor time (from Linux' /proc)."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Final

from trivet.authority.metrics import meters

_OWN: Final = Path("/proc/self")
_PAGES: Final = 1  # the field of statm that counts resident pages (man 5 proc)
_START: Final = 19  # the field of stat after the command's closing bracket that holds the start, in ticks
_lock = threading.Lock()


class _Noted:
    """The processor time that the counter holds already."""

    seconds = 0.0


def note_footprint() -> None:
    """Put the present figures into the metrics; a worker does so every few seconds, and when it is scraped."""
    meters.WORKERS.set(1)
    with _lock:  # two threads must not count the same seconds twice
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime
        meters.PROCESSOR.inc(max(0.0, seconds - _Noted.seconds))
        _Noted.seconds = seconds
    if _OWN.exists():
        pages = int((_OWN / "statm").read_text().split()[_PAGES])
        meters.MEMORY.set(pages * os.sysconf("SC_PAGE_SIZE"))
        meters.OPEN_FILES.set(sum(1 for _ in (_OWN / "fd").iterdir()))
        meters.STARTED.set(_started())


def _started() -> float:
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    ticks = (_OWN / "stat").read_text().rpartition(")")[2].split()[_START]
    return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")
