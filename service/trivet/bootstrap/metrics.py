"""Metrics of several workers behind one port: a folder through which they share what they count.

A scrape reaches any one of them and must tell of all. Each worker writes its own files there; whoever is scraped
adds up. What a worker that ended had counted stays counted; what it held (requests in flight, memory) goes with it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import struct
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from trivet.authority.metrics.exposition import alone
from trivet.authority.metrics.footprint import note_footprint

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    import uvicorn

_log = logging.getLogger(__name__)
_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX: Final = "trivet-metrics-"
_OWNER: Final = "owner"
# Memory, where there is such a folder: a worker that writes to a mapped file on a full disk is killed.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  the folder made in it is this user's alone
_JUST_MADE_SECONDS: Final = 60
_LIVED_SECONDS: Final = 10.0  # a worker that lived so long had started well
_LONGEST_PAUSE: Final = (
    5.0  # from start to start, so that the service is back within ten seconds of a fault's end
)
_GONE: Final = 0  # in place of a worker's number, in the files of all that ended


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """A folder for the figures of the workers that are started within the block; removed at its end."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    before = os.environ.get(_VARIABLE)
    try:
        with (folder / _OWNER).open("a") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            os.environ[_VARIABLE] = str(folder)
            yield folder
    finally:
        os.environ.pop(_VARIABLE)
        if before is not None:
            os.environ[_VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of supervisors that were killed: nobody holds their lock any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            state = folder.stat()
            if state.st_uid == os.getuid() and state.st_mtime < time.time() - _JUST_MADE_SECONDS:
                with (folder / _OWNER).open("a") as owner:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)


class RestartPauses:
    """When a worker's place may be filled again: at once, or later where worker after worker ends soon.

    A worker that cannot start (its database is gone) would otherwise be started again and again, by which it takes a
    whole core from others.
    """

    def __init__(self) -> None:
        """Begin with workers that were just started."""
        self._started: dict[int, float] = {}
        self._pause: dict[int, float] = {}

    def may_restart(self, place: int, now: float) -> bool:
        """Whether the time has come; if so, it counts as started now."""
        pause = self._pause.get(place, 0.0)
        started = self._started.get(place)
        if started is not None and now < started + pause:
            return False
        lived = now - started if started is not None else _LIVED_SECONDS
        self._pause[place] = (
            0.0 if lived >= _LIVED_SECONDS + pause else min(max(2 * pause, 1.0), _LONGEST_PAUSE)
        )
        self._started[place] = now
        return True


class CountedWorkers(Multiprocess):
    """Uvicorn's supervisor, which also looks after the figures of workers that ended."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], folder: Path) -> None:
        """Take what uvicorn takes, and the folder of `shared_metrics`."""
        super().__init__(config, sockets)
        self._folder = folder
        self._known: set[int] = set()
        self._ended: set[int] = set()
        self._pauses = RestartPauses()

    def keep_subprocess_alive(self) -> None:
        """Start workers again that ended, and take leave of those."""
        self._replace_ended()
        present = {worker.pid for worker in self.processes if worker.pid is not None}
        self._ended = (self._ended | self._known) - present
        self._known = present
        self._ended = {number for number in self._ended if not forget_worker(self._folder, number)}

    def _replace_ended(self) -> None:
        """Replace workers that have ended, and no others.

        uvicorn's own way asks each for a sign of life, and waits for it: a short wait kills workers that are slow to
        start, again and again, and a long one goes on after the worker has ended, as the pipe stays open here.
        """
        for place, worker in enumerate(self.processes):
            if self.should_exit.is_set() or worker.process.is_alive():
                continue
            if not self._pauses.may_restart(place, time.monotonic()):
                continue
            worker.kill()  # closes its pipe
            if worker.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            _log.warning("the worker %s ended with %s; starting another", worker.pid, worker.exitcode)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()


def forget_worker(folder: Path, number: int) -> bool:
    """Take the gauges of a worker that ended away, and put its counts with those of all that ended before.

    So a worker that ends again and again leaves no more files than one that does so once.

    Returns:
        whether it is done: while somebody reads, nothing is moved.
    """
    mark_process_dead(number, str(folder))
    try:
        with alone(str(folder)):
            for kind in ("counter", "histogram"):
                _add_up(folder / f"{kind}_{number}.db", folder / f"{kind}_{_GONE}.db")
    except BlockingIOError:
        return False
    except (
        OSError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:  # a file that its worker could not finish
        _log.warning("what the worker %d counted is lost: %s", number, error)
    return True


def _add_up(source: Path, total: Path) -> None:
    if not source.exists():
        return
    try:
        counted = list(MmapedDict.read_all_values_from_file(str(source)))
        sums = MmapedDict(str(total))
        for key, value, _, _ in counted:
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
        sums.close()
    finally:
        source.unlink()  # also one that cannot be read: it would spoil every scrape


class Footprint:
    """The chore that notes what a worker takes, for when another one is scraped."""

    NAME: Final = "noting the use of memory, files and processor"

    def __init__(self, clock: Callable[[], datetime], every: timedelta) -> None:
        """Take the clock, and how often."""
        self._clock = clock
        self._every = every

    def note(self) -> datetime:
        """Note it, and give the time when it falls due again."""
        note_footprint()
        return self._clock() + self._every
