"""A PostgreSQL that is killed, that hangs, and whose connections are cut at COMMIT."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from time import monotonic, sleep

import httpx
import pytest
from tests.faults.harness import Trial, share
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Begin = Callable[[str, str], AbstractContextManager[Trial]]
_LONGER_THAN_ANYBODY_WAITS = 25.0


def _kill_workers_in_vain(trial: Trial) -> None:
    """Those that take the workers' places find no database, so they end, and others are started."""
    before = trial.service.failed_starts()
    trial.service.kill_workers()
    trial.until(lambda: trial.service.failed_starts() > before, "a worker that cannot start")


def test_a_postgresql_that_is_killed_under_load_costs_nothing_but_time(
    under_load: Begin, postgres: Postgres
) -> None:
    with under_load("`kill -9` of PostgreSQL", postgres.url()) as trial:
        for number in range(share(10)):
            with trial.journal.fault("PostgreSQL killed"):
                began = monotonic()
                postgres.kill()
                if number % 3 == 1:
                    _kill_workers_in_vain(trial)
                else:
                    trial.await_refusals(began)
                postgres.start()
            trial.await_recovery()
            trial.breathe()
    assert trial.verdict.unavailable > 0


def test_a_killed_backend_makes_postgresql_recover_and_costs_nothing_but_time(
    under_load: Begin, postgres: Postgres
) -> None:
    with under_load("`kill -9` of a PostgreSQL backend", postgres.url()) as trial:
        for _ in range(share(10)):
            with trial.journal.fault("backend killed"):
                postgres.kill_backend()
            trial.await_recovery()
            trial.breathe()


def test_a_postgresql_that_hangs_is_answered_for_with_503_until_it_goes_on(
    under_load: Begin, postgres: Postgres
) -> None:
    with under_load("`SIGSTOP` of PostgreSQL for 25 s", postgres.url()) as trial:
        for _ in range(share(2)):
            with trial.journal.fault("PostgreSQL hangs"):
                began = monotonic()
                postgres.freeze()
                trial.await_refusals(began, 1)
                # Who asks whether the process lives hears that it does.
                alive = httpx.get(f"{trial.service.url}/livez", verify=trial.service.tls(), timeout=2)
                assert alive.status_code == 200
                sleep(max(0.0, began + _LONGER_THAN_ANYBODY_WAITS - monotonic()))
                postgres.thaw()
            trial.await_recovery()
            trial.breathe()


def test_a_connection_cut_at_commit_neither_loses_nor_doubles_a_certificate(
    under_load: Begin, postgres: Postgres
) -> None:
    with (
        closing(Proxy(postgres.port)) as proxy,
        under_load("connection cut at COMMIT", postgres.url(proxy.port)) as trial,
    ):
        with trial.journal.fault("cut at COMMIT"):
            proxy.armed = True
            trial.until(lambda: min(proxy.cuts.values()) >= share(20), "cuts", patience=300)
            proxy.armed = False
        trial.tried = sum(proxy.cuts.values())
        trial.await_recovery()
        trial.breathe()
    # Of many whose answer was cut off, some asked for a certificate, and were given what was stored already.
    assert trial.verdict.answered_anew > 0 or share(20) < 10
