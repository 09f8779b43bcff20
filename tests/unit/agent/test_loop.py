from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from tests.unit.agent.clockwork import FOUR_DAYS, RENEWED, START, Clockwork, issue, unless

from trivet.agent.loop import Answer, AnswerKind, Held, Standing
from trivet.agent.loop.backoff import LONGEST_TOLD, SHORTEST, ceiling, polite_wait, retry_wait
from trivet.pki.validity import BACKDATE, Validity

YEAR = timedelta(days=365)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def always(kind: AnswerKind, told: float | None = None) -> Answer:
    return Answer(kind, "no", told)


def gaps(times: list[datetime]) -> list[float]:
    return [(later - former).total_seconds() for former, later in pairwise(times)]


@pytest.mark.parametrize("seed", range(2))
def test_a_certificate_is_renewed_between_62_and_72_percent_of_its_lifetime_by_chance(seed: int) -> None:
    node = Clockwork(seed=seed).run_for(timedelta(days=40))
    assert len(node.renewals) in range(13, 17)
    for gap in gaps(node.renewals):
        assert 0.61 <= gap / FOUR_DAYS.total_seconds() <= 0.73
    assert len({round(gap, 3) for gap in gaps(node.renewals)}) == len(node.renewals) - 1


def test_nothing_is_asked_of_the_service_before_it_is_time() -> None:
    node = Clockwork().run_for(2 * DAY)
    assert node.tries == []


# --- what the service suggests ---


def window(start: datetime, minutes: float = 10) -> Validity:
    return Validity(start, start + timedelta(minutes=minutes))


def test_the_window_that_the_service_suggests_is_kept() -> None:
    suggested = window(START + 30 * HOUR)
    node = Clockwork(suggests=lambda _node, _held: (suggested, None)).run_for(31 * HOUR)
    (renewed,) = node.renewals
    assert suggested.not_before <= renewed <= suggested.not_after + timedelta(minutes=2)


def test_a_moment_within_the_window_is_picked_once_and_not_with_every_answer() -> None:
    suggested = window(START + 30 * HOUR, 600)
    node = Clockwork(suggests=lambda _node, _held: (suggested, 60.0))
    node.run_for(2 * HOUR)
    first = node.node.identities["apiserver"].suggested
    assert first is not None
    assert len(node.asked) > 50
    node.run_for(2 * HOUR)
    assert node.node.identities["apiserver"].suggested == first


def test_a_window_in_the_past_means_at_once_and_once_only() -> None:
    revoked_at = START + 5 * HOUR

    def suggests(node: Clockwork, held: Held) -> tuple[Validity, float | None]:
        if held.validity.not_before + BACKDATE < revoked_at <= node.true:
            return window(revoked_at - timedelta(minutes=1), 1), 60.0
        return window(held.validity.not_before + 60 * HOUR), 60.0

    node = Clockwork(suggests=suggests).run_for(20 * HOUR)
    (renewed,) = node.renewals
    assert revoked_at <= renewed <= revoked_at + timedelta(minutes=3)


def test_a_service_that_always_says_at_once_is_not_stormed() -> None:
    node = Clockwork(suggests=lambda node, _held: (window(node.true - HOUR, 1), 0.0)).run_for(4 * DAY)
    assert len(node.renewals) <= 21
    assert min(gaps(node.renewals)) >= 0.05 * FOUR_DAYS.total_seconds() - 1


def test_a_service_that_suggests_a_window_too_late_is_not_obeyed() -> None:
    node = Clockwork(suggests=lambda node, _held: (window(node.true + YEAR), None)).run_for(4 * DAY)
    (renewed,) = node.renewals
    assert 0.79 <= (renewed - START) / FOUR_DAYS <= 0.81


@pytest.mark.parametrize(
    ("told", "between"), [(None, (1800, 8200)), (600.0, (600, 760)), (0.0, (30, 40)), (1e300, (3600, 27100))]
)
def test_the_service_is_asked_now_and_then_as_it_says_within_bounds(
    told: float | None, between: tuple[float, float]
) -> None:
    suggested = window(START + 60 * HOUR)
    node = Clockwork(suggests=lambda _node, _held: (suggested, told)).run_for(2 * DAY)
    assert between[0] <= min(gaps(node.asked))
    assert max(gaps(node.asked)) <= between[1]


# --- a service that is away ---


def test_an_outage_of_days_is_outlived_and_the_service_is_asked_politely() -> None:
    back = START + timedelta(days=3, hours=20)
    node = Clockwork(answer=unless(lambda at: at < back)).run_for(4 * DAY)
    in_vain = [at for at, _, answer in node.tries if answer is not RENEWED]
    assert 5 < len(in_vain) < 100
    assert min(gaps(in_vain)) >= SHORTEST.total_seconds()
    (renewed, *_) = node.renewals
    assert back <= renewed <= back + timedelta(minutes=62)


def test_a_node_asks_for_one_certificate_while_the_service_is_away_not_for_all() -> None:
    names = tuple(f"certificate-{number}" for number in range(12))
    away = unless(lambda _at: True)
    one, many = (Clockwork(names=some, answer=away).run_for(3.5 * DAY) for some in (names[:1], names))
    assert len(many.tries) < 4 * len(one.tries)


def test_all_certificates_of_a_node_are_renewed_after_an_outage() -> None:
    names = tuple(f"certificate-{number}" for number in range(12))
    back = START + timedelta(days=3, hours=12)
    node = Clockwork(names=names, answer=unless(lambda at: at < back)).run_for(4 * DAY)
    assert {name for _, name, answer in node.tries if answer is RENEWED} == set(names)
    assert max(node.renewals) < START + FOUR_DAYS


@pytest.mark.parametrize("kind", [kind for kind in AnswerKind if kind is not AnswerKind.RENEWED])
def test_no_answer_leads_to_a_tight_loop(kind: AnswerKind) -> None:
    node = Clockwork(answer=lambda _node, _name: always(kind)).run_for(5 * DAY)
    times = [at for at, _, _ in node.tries]
    assert min(gaps(times)) >= 1
    hours = (node.true - times[0]) / HOUR
    assert len(times) / hours < (300 if kind is AnswerKind.STAGE_WAITS else 60)
    assert node.node.identities["apiserver"].failures == len(times)


@pytest.mark.parametrize("kind", [AnswerKind.BUSY, AnswerKind.STAGE_WAITS, AnswerKind.EXPIRED])
def test_a_retry_after_is_honoured(kind: AnswerKind) -> None:
    node = Clockwork(answer=lambda _node, _name: always(kind, told=200.0)).run_for(4 * DAY)
    assert min(gaps([at for at, _, _ in node.tries])) >= 200


@pytest.mark.parametrize("told", [1e300, -5.0, 0.0])
def test_a_retry_after_that_makes_no_sense_is_bounded(told: float) -> None:
    jitter = Random(1)  # noqa: S311
    for _ in range(100):
        wait = retry_wait(3, HOUR, jitter, told)
        assert SHORTEST.total_seconds() <= wait <= LONGEST_TOLD.total_seconds() + 3600
        assert 1 <= polite_wait(HOUR, jitter, told) <= LONGEST_TOLD.total_seconds() * 1.25


def test_waits_grow_with_failures_up_to_a_ceiling_that_falls_with_the_time_left() -> None:
    jitter = Random(1)  # noqa: S311
    means = [sum(retry_wait(n, HOUR, jitter) for _ in range(500)) / 500 for n in (1, 3, 6, 12, 10_000)]
    assert means == sorted(means)[:4] + means[4:]
    assert means[-1] == pytest.approx(1800, rel=0.1)
    lefts = (timedelta(days=30), timedelta(hours=32), HOUR, timedelta(minutes=1))
    assert [ceiling(left) for left in lefts] == [6 * HOUR, 6 * HOUR, HOUR / 4, timedelta(minutes=1)]
    assert ceiling(-YEAR) == timedelta(minutes=5)


# --- clocks ---


@pytest.mark.parametrize("when", [0.1, 2.6])
@pytest.mark.parametrize("error", [YEAR, -YEAR])
def test_a_clock_that_is_wrong_by_a_year_neither_stops_renewal_nor_storms_the_service(
    error: timedelta, when: float
) -> None:
    node = Clockwork().run_for(when * DAY)
    node.error = error
    node.run_for(12 * DAY)
    assert max(gaps([START, *node.renewals])) < FOUR_DAYS.total_seconds()
    assert len(node.renewals) <= 11  # at most twice as often as else
    assert max(node.sleeps) <= 60


def test_a_clock_that_jumps_back_is_no_reason_to_sleep_for_a_year() -> None:
    node = Clockwork().run_for(HOUR)
    node.error = -YEAR
    node.run_for(3 * DAY)
    (renewed,) = node.renewals
    assert 0.6 <= (renewed - START) / FOUR_DAYS <= 0.73


def test_a_clock_that_jumps_to_and_fro_changes_little() -> None:
    node = Clockwork()
    for number in range(100):
        node.error = (YEAR, timedelta(0), -YEAR)[number % 3]
        node.run_for(3 * HOUR)
    assert max(gaps([START, *node.renewals])) < FOUR_DAYS.total_seconds()
    assert len(node.renewals) <= 12


def test_a_clock_that_jumps_forward_while_the_service_is_away_costs_few_questions() -> None:
    node = Clockwork(answer=unless(lambda _at: True)).run_for(HOUR)
    node.error = YEAR
    node.run_for(DAY)
    assert len(node.tries) < 24 * 60 / 2


def test_nodes_whose_clocks_jump_together_do_not_ask_together() -> None:
    firsts = []
    for seed in range(50):
        node = Clockwork(seed=seed).run_for(HOUR)
        node.error = YEAR
        node.run_for(HOUR)
        firsts.append((node.renewals[0] - START).total_seconds())
    # By chance within five minutes, seen at a look that comes each minute.
    assert max(firsts) - min(firsts) > 200
    assert len({round(first) for first in firsts}) > 40


def test_nodes_that_find_themselves_overdue_at_their_start_do_not_ask_together() -> None:
    firsts = []
    for seed in range(50):
        node = Clockwork(seed=seed)
        node.held["apiserver"] = issue(START - timedelta(days=3, hours=12))
        firsts.append((node.run_for(HOUR).renewals[0] - START).total_seconds())
    assert max(firsts) <= 301
    assert max(firsts) - min(firsts) > 200


# --- repair ---


def test_an_expired_certificate_waits_for_a_window_with_polite_questions_and_renews_when_it_opens() -> None:
    opened = START + timedelta(days=10)
    node = Clockwork(answer=unless(lambda at: at < opened, AnswerKind.EXPIRED))
    node.held["apiserver"] = issue(START - timedelta(days=10))
    node.run_for(9 * DAY)
    assert node.standing() is Standing.EXPIRED
    times = [at for at, _, _ in node.tries]
    assert min(gaps(times)) >= 40
    assert max(gaps(times)) <= 140
    node.run_for(DAY + HOUR)
    assert opened <= node.renewals[0] <= opened + timedelta(seconds=140)
    assert node.standing() is Standing.FRESH


def test_a_node_whose_certificates_have_all_expired_asks_for_one_of_them_at_a_time() -> None:
    names = tuple(f"certificate-{number}" for number in range(12))
    node = Clockwork(names=names, answer=lambda _node, _name: always(AnswerKind.EXPIRED))
    node.held = {name: issue(START - timedelta(days=10)) for name in names}
    node.run_for(DAY)
    assert len(node.tries) < 12 + 24 * 60


def test_one_whose_turn_has_not_come_waits_as_it_is_told() -> None:
    turn = START + timedelta(minutes=20)

    def answer(node: Clockwork, _name: str) -> Answer:
        return always(AnswerKind.STAGE_WAITS, 15.0) if node.true < turn else RENEWED

    node = Clockwork(answer=answer)
    node.held["apiserver"] = issue(START - timedelta(days=10))
    node.run_for(timedelta(minutes=15))
    assert node.standing() is Standing.WAITING
    node.run_for(timedelta(minutes=10))
    assert turn <= node.renewals[0] <= turn + timedelta(seconds=20)


def test_a_revoked_certificate_is_known_as_such_and_another_one_on_the_disk_ends_that() -> None:
    node = Clockwork(suggests=lambda _node, _held: always(AnswerKind.REVOKED)).run_for(HOUR)
    assert node.standing() is Standing.REVOKED
    assert node.renewals == []
    node.suggests = None
    node.held["apiserver"] = issue(node.true)  # trivet repair-node
    node.run_for(timedelta(minutes=2))
    assert node.standing() is Standing.FRESH


def test_what_is_missing_is_not_asked_for_and_looked_at_each_minute() -> None:
    node = Clockwork(names=("a", "b"))
    node.held["a"] = None
    node.run_for(3 * DAY)
    assert {name for _, name, _ in node.tries} == {"b"}
    assert node.standing("a") is Standing.MISSING
    assert node.node.outage_budget(node.now) is not None
    assert max(node.sleeps) <= 60


def test_the_outage_budget_is_the_least_time_until_not_after() -> None:
    node = Clockwork(names=("a", "b"))
    node.held["a"] = issue(START - DAY)
    node.run_for(HOUR)
    assert node.node.outage_budget(node.now) == FOUR_DAYS - DAY - HOUR - timedelta(minutes=5)
