"""Turns to write: SQLite has one writer at a time, and no queue for those who wait.

Its busy handler sleeps ever longer and then tries its luck, so that under load one process can keep all others out
for seconds. Here those who want to write queue: threads of a process at a lock, processes at a lock on a file beside
the database. Whoever is first in the queue waits for SQLite's own lock, and leaves the queue once it has that; so the
one that just wrote comes after the one that waits. The queue only orders those who use it: SQLite's lock is what keeps
two writers apart.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 10.0
_GLANCE_SECONDS = 0.0003  # a batch takes ten milliseconds or more


class Turns:
    """The queue of those who want to write to one database; safe to share between threads."""

    def __init__(self, database: str | None) -> None:
        """Take the path of the database's file; without one (in memory) only threads queue."""
        self._path = f"{database}-queue" if database and database != ":memory:" else None
        self._threads = threading.Lock()
        self._left_at = 0.0

    def begin(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction that writes, in turn.

        Raises:
            sqlite3.OperationalError: SQLITE_BUSY, no turn came within `PATIENCE_SECONDS`; SQLITE_CANTOPEN, there is no
                place to queue at; or as BEGIN raises.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._first_in_queue(deadline):
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                _wait(lambda: _begin(connection), deadline)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {int(PATIENCE_SECONDS * 1000)}")

    @contextmanager
    def _first_in_queue(self, deadline: float) -> Iterator[None]:
        if not self._threads.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise _busy()
        try:
            if self._path is None:
                yield
                return
            queue = _opened(self._path)
            try:
                # Where a thread of this process has just left, the processes that glance now and then come first.
                if (pause := self._left_at + 2 * _GLANCE_SECONDS - time.monotonic()) > 0:
                    time.sleep(pause)
                _wait(lambda: _locked(queue), deadline)
                yield
            finally:
                os.close(queue)  # gives up the lock, as the end of the process does
                self._left_at = time.monotonic()
        finally:
            self._threads.release()


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:  # the folder may not be written to, or too many files are open
        message = f"the queue for writing cannot be opened: {error}"
        raise _error(message, "SQLITE_CANTOPEN") from error


def _wait(succeeds: Callable[[], bool], deadline: float) -> None:
    while not succeeds():
        if time.monotonic() >= deadline:
            raise _busy()
        time.sleep(_GLANCE_SECONDS)


def _locked(queue: int) -> bool:
    try:
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _begin(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return False
    return True


def _busy() -> sqlite3.OperationalError:
    return _error("no turn to write came", "SQLITE_BUSY")


def _error(message: str, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorname, error.sqlite_errorcode = name, getattr(sqlite3, name)
    return error
