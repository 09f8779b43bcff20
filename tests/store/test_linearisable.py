"""Once a revocation is acknowledged, nothing that it names is issued any more: shown under several processes."""

from __future__ import annotations

import pytest
from tests.support.stress import Outcome, Trial, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _assert_linear(outcome: Outcome, rounds: int) -> None:
    assert outcome.late == []
    assert outcome.unmarked == []
    assert outcome.proof == []
    # It was a race: some requests came before the revocation of their round, and some after it.
    assert outcome.issued > rounds / 4
    assert outcome.refused > rounds / 4


def test_nothing_is_issued_after_an_acknowledged_revocation_on_postgresql(postgres_database: str) -> None:
    rounds = 2_000
    _assert_linear(run(Trial(postgres_database, rounds)), rounds)


def test_without_the_lock_the_same_trial_finds_violations(postgres_database: str) -> None:
    # The gap between look-up and commit is widened, so that a few rounds are enough to see it.
    outcome = run(Trial(postgres_database, 60, locked=False, pause=0.02))
    assert outcome.unmarked


def test_with_the_lock_the_widened_gap_is_closed(postgres_database: str) -> None:
    rounds = 60
    _assert_linear(run(Trial(postgres_database, rounds, pause=0.02)), rounds)


@pytest.mark.parametrize("issuers", [1, 3])
def test_nothing_is_issued_after_an_acknowledged_revocation_on_sqlite(
    sqlite_database: str, issuers: int
) -> None:
    rounds = 100
    # Whoever waits for SQLite's lock sleeps; without a breath between the others' requests it never gets in.
    _assert_linear(run(Trial(sqlite_database, rounds, issuers, longest_wait=0.05, breath=0.05)), rounds)


def test_while_a_fleet_is_marked_nothing_that_is_named_slips_through(database_url: str) -> None:
    # One round of each kind of entry, a lineage among them; marking takes many times as long as an issuance.
    rounds = 9
    breath = 0.05 if database_url.startswith("sqlite") else 0.0
    trial = Trial(database_url, rounds, 2, longest_wait=0.05, breath=breath, fleet=2_000, attempts=100)
    outcome = run(trial)
    assert (outcome.late, outcome.unmarked, outcome.left) == ([], [], 0)
    assert outcome.issued
    assert outcome.refused >= rounds
