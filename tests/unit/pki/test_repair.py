"""Stages and their turns, in any order of events."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.clock import START

from trivet.pki.kubernetes import PROFILES
from trivet.pki.repair import (
    STAGES,
    Stage,
    StageEnd,
    StageEvent,
    Tally,
    Turn,
    earlier_stages,
    has_turn,
    retry_after,
    stage_of,
    turns,
)

PATIENCE = timedelta(minutes=5)
OF_STAGE = {
    Stage.ETCD: {"etcd-server", "etcd-peer", "etcd-healthcheck-client"},
    Stage.API_SERVER: {
        "apiserver",
        "apiserver-kubelet-client",
        "apiserver-etcd-client",
        "etcd-apiserver",
        "front-proxy-client",
    },
}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_has_its_stage(name: str) -> None:
    expected = next((stage for stage, names in OF_STAGE.items() if name in names), Stage.REST)
    assert stage_of(PROFILES[name]) is expected


def test_who_waits_asks_again_soon_in_a_small_cluster_and_a_fleet_of_thousands_no_storm() -> None:
    seconds = {waiting: retry_after(waiting).total_seconds() for waiting in (0, 18, 300, 2_000, 50_000)}
    assert seconds == {0: 5, 18: 5, 300: 6, 2_000: 40, 50_000: 60}


def states(found: tuple[Turn, ...]) -> list[str]:
    return [turn.state for turn in found]


def at(
    minutes: float, tallies: dict[Stage, Tally], recorded: dict[Stage, StageEvent] | None = None
) -> list[str]:
    return states(turns(tallies, recorded or {}, START, PATIENCE, START + timedelta(minutes=minutes)))


def test_what_has_nothing_to_wait_for_is_over_at_once() -> None:
    assert at(0, {}) == ["fresh", "fresh", "fresh"]
    assert at(0, {Stage.REST: Tally(2, 1)}) == ["fresh", "fresh", "current"]
    assert at(0, {Stage.ETCD: Tally(1)}) == ["current", "waiting", "waiting"]


def test_patience_begins_with_the_stage_and_again_with_each_that_becomes_fresh() -> None:
    still = {Stage.ETCD: Tally(2)}
    assert at(4.99, still)[0] == "current"
    assert at(5, still) == ["passed", "fresh", "fresh"]
    moved = {Stage.ETCD: Tally(2, 1, START + timedelta(minutes=3))}
    assert at(7.99, moved)[0] == "current"
    assert at(8, moved)[0] == "passed"
    # The next stage has its patience from when its own turn came.
    both = moved | {Stage.API_SERVER: Tally(1)}
    assert at(12.99, both) == ["passed", "current", "waiting"]
    assert at(13, both) == ["passed", "passed", "fresh"]


def test_what_was_noted_stays_over_whatever_becomes_of_its_identities() -> None:
    recorded = {Stage.ETCD: StageEvent(StageEnd.FRESH, START)}
    assert at(1, {Stage.ETCD: Tally(3), Stage.API_SERVER: Tally(1)}, recorded) == [
        "fresh",
        "current",
        "waiting",
    ]


@given(
    st.dictionaries(st.sampled_from(STAGES), st.tuples(st.integers(0, 3), st.integers(0, 3))),
    st.floats(0, 60),
    st.floats(0, 60),
)
def test_with_time_alone_no_turn_is_taken_away(
    counts: dict[Stage, tuple[int, int]], first: float, second: float
) -> None:
    tallies = {stage: Tally(max(pair), min(pair)) for stage, pair in counts.items()}
    early, late = sorted((first, second))
    for stage in STAGES:
        before = turns(tallies, {}, START, PATIENCE, START + timedelta(minutes=early))
        after = turns(tallies, {}, START, PATIENCE, START + timedelta(minutes=late))
        assert has_turn(before, stage) <= has_turn(after, stage)


class Window(RuleBasedStateMachine):
    """A repair as the service looks after it: identities become fresh, are lost again, stages are skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.total: dict[Stage, int] = {}
        self.fresh: dict[Stage, int] = {}
        self.moved: dict[Stage, object] = {}
        self.recorded: dict[Stage, StageEvent] = {}
        self.begun: set[Stage] = set()

    @initialize(totals=st.lists(st.integers(0, 3), min_size=3, max_size=3))
    def open(self, totals: list[int]) -> None:
        self.total = dict(zip(STAGES, totals, strict=True))
        self.fresh = dict.fromkeys(STAGES, 0)

    def turns(self) -> tuple[Turn, ...]:
        tallies = {
            stage: Tally(self.total[stage], self.fresh[stage], self.moved.get(stage))  # type: ignore[arg-type]
            for stage in STAGES
        }
        return turns(tallies, self.recorded, START, PATIENCE, self.now)

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(stage=st.sampled_from(STAGES))
    def renew(self, stage: Stage) -> None:
        if self.fresh[stage] < self.total[stage] and has_turn(self.turns(), stage):
            self.fresh[stage] += 1
            self.moved[stage] = self.now

    @rule(stage=st.sampled_from(STAGES))
    def lose(self, stage: Stage) -> None:
        self.note()
        self.fresh[stage] = max(0, self.fresh[stage] - 1)

    @rule(stage=st.sampled_from(STAGES[:-1]))
    def skip(self, stage: Stage) -> None:
        self.recorded.setdefault(stage, StageEvent(StageEnd.SKIPPED, self.now))

    @rule()
    def note(self) -> None:
        for turn in self.turns():
            if turn.event is not None:
                self.recorded.setdefault(turn.stage, turn.event)

    @invariant()
    def each_stage_stands_in_one_way(self) -> None:
        if not self.total:
            return
        found = self.turns()
        assert [turn.stage for turn in found] == list(STAGES)
        for turn in found:
            assert (turn.state == "waiting") == (turn.event is None and turn.began_at is None)
            assert turn.began_at is None or turn.began_at <= self.now
            assert turn.event is None or turn.event.at <= self.now
            if turn.state == "waiting":
                assert any(other.state == "current" for other in found[: STAGES.index(turn.stage)])

    @invariant()
    def nobody_begins_before_what_comes_first_is_over(self) -> None:
        if not self.total:
            return
        found = {turn.stage: turn for turn in self.turns()}
        for stage in STAGES:
            over = all(found[earlier].event is not None for earlier in earlier_stages(stage))
            assert has_turn(tuple(found.values()), stage) == over

    @invariant()
    def who_was_told_to_begin_once_it_is_noted_is_not_stopped(self) -> None:
        if not self.total:
            return
        self.begun |= {stage for stage in STAGES if set(earlier_stages(stage)) <= self.recorded.keys()}
        assert all(has_turn(self.turns(), stage) for stage in self.begun)

    @invariant()
    def no_stage_waits_for_ever(self) -> None:
        if not self.total:
            return
        later = turns(
            {stage: Tally(self.total[stage], self.fresh[stage], self.moved.get(stage)) for stage in STAGES},  # type: ignore[arg-type]
            self.recorded,
            START,
            PATIENCE,
            self.now + len(STAGES) * PATIENCE,
        )
        assert all(turn.event is not None for turn in later)


TestWindow = Window.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=25)
