"""Writers of one SQLite database take turns: threads, processes, and those that die while they wait."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest
from sqlalchemy import text

from trivet.pki.errors import UnavailableError
from trivet.store import turns
from trivet.store.engine import Database
from trivet.store.turns import Turns

SPAWN = multiprocessing.get_context("spawn")
TURNS = 40
HELD_SECONDS = 0.004
A_FEW = 10  # a writer that the machine has put aside loses its place now and then


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trivet.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE turns (n INTEGER PRIMARY KEY, writer TEXT NOT NULL)")
    return path


def _open(file: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False)


def _hammer(file: Path, names: list[str], together: Barrier) -> None:
    """Write as often as turns come, as each of the names on a thread of its own."""
    queue = Turns(str(file))
    threads = [threading.Thread(target=_write_often, args=(file, queue, name, together)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write_often(file: Path, queue: Turns, name: str, together: Barrier) -> None:
    with closing(_open(file)) as connection:
        together.wait(60)
        for _ in range(TURNS):
            queue.begin(connection)
            connection.execute("INSERT INTO turns (writer) VALUES (?)", (name,))
            time.sleep(HELD_SECONDS)
            connection.execute("COMMIT")


def _order(file: Path) -> list[str]:
    with closing(_open(file)) as connection:
        return [name for (name,) in connection.execute("SELECT writer FROM turns ORDER BY n")]


def _runs(order: list[str]) -> list[int]:
    """How many turns in a row one had, while all wanted some: from the first of each to the last of any."""
    names = set(order)
    begin = max(order.index(name) for name in names)
    end = min(len(order) - order[::-1].index(name) for name in names)
    return [len(list(run)) for _, run in groupby(order[begin:end])]


def _assert_fair(order: list[str]) -> None:
    runs = _runs(order)
    assert max(runs) <= A_FEW, order
    assert sum(runs) / len(runs) < 2.5, order


def _race(file: Path, *names: list[str]) -> list[str]:
    together = SPAWN.Barrier(sum(map(len, names)))
    processes = [SPAWN.Process(target=_hammer, args=(file, own, together)) for own in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    return _order(file)


def test_processes_that_always_want_to_write_take_turns(file: Path) -> None:
    order = _race(file, ["one"], ["two"])
    assert sorted(order) == ["one"] * TURNS + ["two"] * TURNS
    _assert_fair(order)


def test_threads_and_processes_get_their_turns_together(file: Path) -> None:
    order = _race(file, ["one a", "one b", "one c"], ["two a", "two b"])
    assert len(order) == 5 * TURNS
    # The processes alternate, however many threads each has.
    _assert_fair([name.partition(" ")[0] for name in order])


@contextmanager
def _writing(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold SQLite's lock without having queued, as any other program may."""
    with closing(_open(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def _wait_first(file: Path, queued: Event) -> None:
    queue = os.open(f"{file}-queue", os.O_CREAT | os.O_RDWR)
    fcntl.flock(queue, fcntl.LOCK_EX)
    queued.set()
    time.sleep(60)


def test_the_place_of_a_process_that_dies_is_free(file: Path) -> None:
    queued = SPAWN.Event()
    process = SPAWN.Process(target=_wait_first, args=(file, queued))
    process.start()
    assert queued.wait(30)
    came = threading.Event()

    def write() -> None:
        with closing(_open(file)) as connection:
            Turns(str(file)).begin(connection)
            came.set()
            connection.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    assert not came.wait(0.3)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert came.wait(5)
    thread.join()
    process.join()


def _die_writing(file: Path, begun: Event) -> None:
    connection = _open(file)
    Turns(str(file)).begin(connection)
    connection.execute("INSERT INTO turns (writer) VALUES ('dead')")
    begun.set()
    time.sleep(60)


def test_the_turn_of_a_process_that_dies_is_over_and_leaves_nothing(file: Path) -> None:
    begun = SPAWN.Event()
    process = SPAWN.Process(target=_die_writing, args=(file, begun))
    process.start()
    assert begun.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with closing(_open(file)) as connection:
        Turns(str(file)).begin(connection)
        assert connection.in_transaction
        connection.execute("ROLLBACK")
    assert _order(file) == []


def test_who_writes_has_left_the_queue(file: Path) -> None:
    with closing(_open(file)) as connection:
        Turns(str(file)).begin(connection)
        queue = os.open(f"{file}-queue", os.O_RDWR)
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(queue)
        connection.execute("COMMIT")


def test_no_turn_within_the_patience_is_sqlites_own_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.1)
    queue = Turns(str(file))
    with _writing(file), closing(_open(file)) as connection:
        with pytest.raises(sqlite3.OperationalError) as caught:
            queue.begin(connection)
        assert caught.value.sqlite_errorname == "SQLITE_BUSY"
        assert not connection.in_transaction
        # Other statements wait as long as they did before.
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (100,)
    with closing(_open(file)) as connection:
        queue.begin(connection)  # neither the thread's place nor the process's was kept
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("where", ["thread", "process"])
def test_who_is_never_first_in_the_queue_is_told_so(
    file: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.1)
    queue = Turns(str(file))
    held = os.open(f"{file}-queue", os.O_CREAT | os.O_RDWR)
    if where == "thread":
        queue._threads.acquire()
    else:
        fcntl.flock(held, fcntl.LOCK_EX)
    with closing(_open(file)) as connection, pytest.raises(sqlite3.OperationalError) as caught:
        queue.begin(connection)
    os.close(held)
    assert caught.value.sqlite_errorname == "SQLITE_BUSY"


@pytest.mark.parametrize("database", [None, ":memory:", ""])
def test_a_database_in_memory_has_no_file_to_queue_at(
    database: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    queue = Turns(database)
    with closing(_open(":memory:")) as connection:
        for _ in range(3):
            queue.begin(connection)
            assert connection.in_transaction
            connection.execute("COMMIT")
    assert list(tmp_path.iterdir()) == []


def test_another_fault_than_waiting_is_told_at_once(file: Path) -> None:
    with closing(_open(file)) as connection:
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
            Turns(str(file)).begin(connection)


def test_a_queue_that_cannot_be_opened_is_unavailability_and_no_defect(file: Path) -> None:
    # As with a folder that may only be read, or a process that has too many files open.
    Path(f"{file}-queue").mkdir()
    database = Database(f"sqlite:///{file}")
    with pytest.raises(UnavailableError), database.write():
        pytest.fail("the transaction began")
    Path(f"{file}-queue").rmdir()
    with database.write() as connection:
        connection.execute(text("INSERT INTO turns (writer) VALUES ('me')"))
    database.dispose()
    assert _order(file) == ["me"]


def test_the_queue_is_not_for_everybody_to_stand_in(file: Path) -> None:
    with closing(_open(file)) as connection:
        Turns(str(file)).begin(connection)
        connection.execute("COMMIT")
    assert Path(f"{file}-queue").stat().st_mode & 0o777 == 0o600
