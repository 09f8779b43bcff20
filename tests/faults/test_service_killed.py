"""`kill -9` of the service while clients issue, renew and revoke."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from tests.faults.harness import Trial, share
from tests.faults.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Begin = Callable[[str, str], AbstractContextManager[Trial]]


def _kill_again_and_again(trial: Trial) -> None:
    for _ in range(share(30)):
        with trial.journal.fault("killed"):
            trial.service.kill()
        trial.service.start()  # as whatever looks after the service does
        trial.await_recovery()
        trial.breathe()


def _kill_workers(trial: Trial) -> None:
    for _ in range(share(10)):
        with trial.journal.fault("worker killed"):
            trial.service.kill_workers(1)
        trial.await_recovery()
        trial.breathe()


def test_a_service_on_sqlite_that_is_killed_under_load_keeps_every_promise(
    under_load: Begin, sqlite_database: str
) -> None:
    with under_load("`kill -9` of the service, SQLite", sqlite_database) as trial:
        _kill_again_and_again(trial)


def test_a_service_on_postgresql_that_is_killed_under_load_keeps_every_promise(
    under_load: Begin, postgres: Postgres
) -> None:
    with under_load("`kill -9` of the service, PostgreSQL", postgres.url()) as trial:
        _kill_again_and_again(trial)


def test_workers_on_sqlite_that_are_killed_under_load_are_replaced_and_keep_every_promise(
    under_load: Begin, sqlite_database: str
) -> None:
    with under_load("`kill -9` of a worker, SQLite", sqlite_database) as trial:
        _kill_workers(trial)


def test_workers_on_postgresql_that_are_killed_under_load_are_replaced_and_keep_every_promise(
    under_load: Begin, postgres: Postgres
) -> None:
    with under_load("`kill -9` of a worker, PostgreSQL", postgres.url()) as trial:
        _kill_workers(trial)
