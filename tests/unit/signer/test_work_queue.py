from __future__ import annotations

import threading
from random import Random

import pytest

from trivet.signer.work_queue import Later, WorkQueue

BROKEN = Later("broken", "it is broken")
SILENT = Later("silent", "nobody answers", for_all=True)


class Bench(WorkQueue):
    """A queue whose clock the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now, Random(1))  # noqa: S311


@pytest.fixture
def queue() -> Bench:
    return Bench()


def test_a_key_is_taken_once_however_often_it_came(queue: Bench) -> None:
    queue.add("a")
    queue.add("a")
    assert (queue.take(), queue.take()) == ("a", None)
    queue.done("a")
    assert queue.take() is None


def test_what_comes_while_it_is_worked_on_is_worked_on_again_afterwards(queue: Bench) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    assert queue.take() is None, "by one worker at a time"
    queue.done("a")
    assert queue.take() == "a"


def test_the_oldest_comes_first(queue: Bench) -> None:
    for key in ("b", "a", "c"):
        queue.add(key)
        queue.now += 1
    assert [queue.take(), queue.take(), queue.take()] == ["b", "a", "c"]


def test_a_failure_waits_longer_each_time_and_five_minutes_at_most(queue: Bench) -> None:
    waits = []
    queue.add("a")
    for _ in range(40):
        assert queue.take() == "a"
        wait = queue.put_off("a", BROKEN)
        assert queue.take() is None
        assert queue.time_left() == pytest.approx(wait)
        waits.append(wait)
        queue.now += wait
    assert min(waits) >= 1
    assert max(waits[:4]) <= 8
    assert 60 < max(waits) <= 300


def test_a_failure_of_one_keeps_no_other_waiting(queue: Bench) -> None:
    queue.add("a")
    queue.add("b")
    queue.take()
    queue.put_off("a", BROKEN)
    assert queue.take() == "b"


def test_a_silence_holds_everything(queue: Bench) -> None:
    queue.add("a")
    queue.add("b")
    queue.take()
    wait = queue.put_off("a", SILENT)
    assert queue.take() is None
    assert queue.time_left() == pytest.approx(wait)
    queue.now += wait
    assert {queue.take(), queue.take()} == {"a", "b"}


def test_workers_that_meet_the_same_silence_count_it_once(queue: Bench) -> None:
    for key in "abcdefgh":
        queue.add(key)
        queue.take()
    waits = {round(queue.put_off(key, SILENT), 6) for key in "abcdefgh"}
    assert len(waits) == 1


def test_a_silence_that_ends_is_forgotten(queue: Bench) -> None:
    for _ in range(20):
        queue.add("a")
        queue.take()
        queue.now += queue.put_off("a", SILENT)
    queue.take()
    queue.done("a")
    queue.add("a")
    queue.take()
    assert queue.put_off("a", SILENT) == 1.0


def test_nothing_is_asked_sooner_than_was_told(queue: Bench) -> None:
    for later in (Later("busy", "", 30.0), Later("busy", "", 30.0, for_all=True)):
        queue.add("a")
        queue.take()
        assert queue.put_off("a", later) >= 30
        queue.now += 400
        queue.take()
        queue.done("a")


def test_news_of_a_key_end_its_waiting(queue: Bench) -> None:
    queue.add("a")
    queue.take()
    queue.put_off("a", BROKEN)
    queue.add("a")
    assert queue.take() == "a"


def test_whoever_waits_is_woken_by_what_comes(queue: Bench) -> None:
    waiter = threading.Thread(target=queue.wait, args=(60,))
    waiter.start()
    while waiter.is_alive():
        queue.add("a")
        waiter.join(0.05)
