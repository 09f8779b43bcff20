"""A fleet over eight days with the service away for one of them: the real decisions, the real windows, no HTTP."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush
from random import Random

import pytest
from tests.unit.agent.clockwork import FOUR_DAYS, RENEWED, START

from trivet.agent.loop import Answer, AnswerKind, Held, Moment, Node
from trivet.agent.loop.aftermath import Aftermath
from trivet.agent.loop.identity import Identity
from trivet.pki.renewal import poll_after, spread, suggested_window
from trivet.pki.validity import BACKDATE, Validity

AGENTS = 2000
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
AWAY_FROM, AWAY_UNTIL = 3 * DAY, 4 * DAY
END = 8 * DAY
_MOMENT = 0.001
AWAY = Answer(AnswerKind.UNREACHABLE, "away")


@dataclass
class Report:
    """What the simulation saw."""

    expired: int
    renewals: list[timedelta]
    in_vain: int
    asked: int
    least_budget: timedelta

    def rates(self, first: timedelta, last: timedelta, step: timedelta) -> list[int]:
        """Renewals in each step of a span."""
        counted = Counter(int((at - first) / step) for at in self.renewals if first <= at < last)
        return [counted[number] for number in range(int((last - first) / step))]


class Fleet:
    """One certificate an agent; looks without a change are left out, which decide nothing."""

    def __init__(self, agents: int, away: tuple[timedelta, timedelta], seed: int = 7) -> None:
        self.jitter = Random(seed)  # noqa: S311  the same fleet each time
        self.away = away
        self.report = Report(0, [], 0, 0, FOUR_DAYS)
        self.nodes: list[Node] = []
        self.held: list[Held] = []
        for _ in range(agents):
            # In the middle of their lives, as a fleet is that has run for long.
            age = self.jitter.uniform(0, 0.65) * FOUR_DAYS
            held = self.issue(-age)
            node = Node.of({"a": Aftermath()}, self.moment(timedelta(0)))
            self.nodes.append(node.looked({"a": held}, self.moment(timedelta(0)), self.jitter))
            self.held.append(held)

    def issue(self, at: timedelta) -> Held:
        before = START + at - BACKDATE
        return Held(format(self.jitter.getrandbits(159), "x"), Validity(before, before + FOUR_DAYS))

    @staticmethod
    def moment(at: timedelta) -> Moment:
        return Moment(START + at, at.total_seconds())

    def run(self) -> Report:
        queue: list[tuple[float, int]] = []
        for number in range(len(self.nodes)):
            self._await(queue, number, self.moment(timedelta(0)))
        while queue[0][0] < END.total_seconds():
            seconds, number = heappop(queue)
            at = timedelta(seconds=seconds)
            self._step(number, at)
            self._await(queue, number, self.moment(at))
        return self.report

    def _await(self, queue: list[tuple[float, int]], number: int, now: Moment) -> None:
        identity, node = self.nodes[number].identities["a"], self.nodes[number]
        at = max(min(identity.next_try(now), identity.ask_at), node.quiet_until)
        # A moment later: a wall clock has microseconds only, and the steps of a simulation no width.
        heappush(queue, (max(at, now.steady) + _MOMENT, number))

    def _step(self, number: int, at: timedelta) -> None:
        now, node, held = self.moment(at), self.nodes[number], self.held[number]
        is_away = self.away[0] <= at < self.away[1]
        left = held.validity.not_after - now.wall
        self.report.least_budget = min(self.report.least_budget, left)
        if node.identities["a"].next_try(now) <= now.steady:
            self.report.expired += left < timedelta(0)
            self._renew(number, at, is_away=is_away)
        elif is_away:
            self.nodes[number] = node.not_advised("a", AWAY, now, self.jitter)
        else:
            self.report.asked += 1
            window = suggested_window(held.validity, position=spread(int(held.serial, 16)))
            told = poll_after(held.validity).total_seconds()
            self.nodes[number] = node.advised("a", window, told, now, self.jitter)

    def _renew(self, number: int, at: timedelta, *, is_away: bool) -> None:
        now, node = self.moment(at), self.nodes[number]
        if is_away:
            self.report.in_vain += 1
            self.nodes[number] = node.failed("a", AWAY, now, self.jitter)
            return
        self.report.renewals.append(at)
        self.held[number] = self.issue(at)
        self.nodes[number] = node.renewed("a", self.held[number], RENEWED, now, self.jitter)


def figures(report: Report) -> dict[str, float]:
    quiet = report.rates(HOUR, AWAY_FROM, HOUR)
    after = report.rates(AWAY_UNTIL, AWAY_UNTIL + DAY, timedelta(minutes=5))
    hours = report.rates(AWAY_UNTIL, END, HOUR)
    mean = len(report.renewals) / (END / HOUR)
    return {
        "expired": report.expired,
        "renewals": len(report.renewals),
        "mean an hour": round(mean, 1),
        "peak an hour before": max(quiet),
        "peak an hour after": max(hours),
        "peak/mean of hours": round(max(hours) / mean, 1),
        "peak/mean of five minutes": round(max(after) * 12 / mean, 1),
        "tries in vain an agent": round(report.in_vain / AGENTS, 1),
        "hours of life left at least": round(report.least_budget / HOUR, 1),
    }


@pytest.fixture(scope="module")
def report() -> Report:
    return Fleet(AGENTS, (AWAY_FROM, AWAY_UNTIL)).run()


def test_no_certificate_of_a_fleet_expires_in_an_outage_of_a_day_and_the_load_after_it_is_spread(
    report: Report,
) -> None:
    found = figures(report)
    print(found)  # noqa: T201  the figures of docs/agent.md
    assert found["expired"] == 0
    assert report.least_budget > timedelta(0)
    assert found["peak/mean of hours"] < 15
    assert found["peak/mean of five minutes"] < 25
    assert found["tries in vain an agent"] < 20


def test_a_fleet_that_is_left_alone_asks_evenly() -> None:
    never = (END, END)
    report = Fleet(500, never).run()
    rates = report.rates(HOUR, END, 2 * HOUR)
    assert report.expired == 0
    assert max(rates) < 4 * sum(rates) / len(rates)
    # A third of the lifetime is always left, but for the share in which windows are spread.
    assert report.least_budget > 0.25 * FOUR_DAYS


@pytest.mark.parametrize("share", [0.98, 1.1])
def test_certificates_expire_in_an_outage_if_and_only_if_it_is_longer_than_the_budget(share: float) -> None:
    # All were issued together: what the budget says holds for the whole fleet.
    fleet = Fleet(100, (timedelta(0), timedelta(0)))
    for number in range(100):
        held = fleet.held[number] = fleet.issue(-timedelta(days=1))
        node = Node.of({"a": Aftermath()}, fleet.moment(timedelta(0)))
        fleet.nodes[number] = node.looked({"a": held}, fleet.moment(timedelta(0)), fleet.jitter)
    budget = fleet.nodes[0].outage_budget(fleet.moment(timedelta(0)))
    assert budget is not None
    fleet.away = (timedelta(0), budget * share)
    report = fleet.run()
    late = [at for at in report.renewals if at > budget and at < budget + DAY]
    expired = [at for at in late if fleet.away[1] > budget]
    assert bool(expired) == (share > 1)
    assert (min(report.renewals) > budget) == (share > 1)


def test_an_identity_is_a_value() -> None:
    jitter = Random(1)  # noqa: S311
    now = Moment(START, 0.0)
    seen = Identity.seen(None, now, jitter)
    assert seen == Identity.seen(None, now, Random(1))  # noqa: S311
