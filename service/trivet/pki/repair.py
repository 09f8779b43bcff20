"""The order in which a cluster is repaired: etcd, then the API servers, then the rest. Values in, values out.

Nothing of a cluster works without etcd, and nothing but etcd works without an API server. So identities whose
certificates have expired wait for their stage. A stage is over when all of its identities are fresh, when an
administrator skips it, or when nothing moves in it any more: one dead node must not lock out a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.pki.profiles import AuthorityName

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trivet.pki.profiles import Profile

LONGEST_EXPIRED: Final = timedelta(days=400)
"""How long ago a certificate may have expired that renews in a repair window, where nobody says otherwise."""

DEFAULT_WINDOW: Final = timedelta(hours=2)
SHORTEST_WINDOW, LONGEST_WINDOW = timedelta(minutes=1), timedelta(days=7)
DEFAULT_PATIENCE: Final = timedelta(minutes=5)
SHORTEST_PATIENCE, LONGEST_PATIENCE = timedelta(seconds=10), timedelta(hours=2)
_SOONEST_RETRY, _LATEST_RETRY = timedelta(seconds=5), timedelta(minutes=1)
_ASKED_A_SECOND: Final = 50


class Stage(StrEnum):
    """A part of a cluster, in the order of repair."""

    ETCD = "etcd"
    API_SERVER = "api-server"
    REST = "rest"


STAGES: Final = tuple(Stage)
_API_SERVER: Final = frozenset(
    {
        "apiserver",
        "apiserver-kubelet-client",
        "apiserver-etcd-client",
        "etcd-apiserver",
        "front-proxy-client",
    }
)


def stage_of(profile: Profile) -> Stage:
    """The stage that certificates of a profile belong to."""
    if profile.name in _API_SERVER:
        return Stage.API_SERVER
    return Stage.ETCD if profile.authority is AuthorityName.ETCD else Stage.REST


def earlier_stages(stage: Stage) -> tuple[Stage, ...]:
    """Those that come before it."""
    return STAGES[: STAGES.index(stage)]


def retry_after(waiting: int) -> timedelta:
    """When to ask again whose turn has not come: soon in a small cluster; of thousands no more than fifty a second."""
    return min(max(timedelta(seconds=waiting // _ASKED_A_SECOND), _SOONEST_RETRY), _LATEST_RETRY)


class StageEnd(StrEnum):
    """Why a stage is over."""

    FRESH = "fresh"
    PASSED = "passed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StageEvent:
    """The end of a stage, for good in its window."""

    end: StageEnd
    at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """What stands in a stage.

    Attributes:
        total: how many identities are waited for.
        fresh: how many of them are fresh.
        moved_at: when one of them last got a certificate within the window; None for never.
    """

    total: int = 0
    fresh: int = 0
    moved_at: datetime | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is waited for any more."""
        return self.fresh >= self.total


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a stage stands.

    Attributes:
        stage: which.
        tally: what stands in it.
        began_at: when its turn came; None while an earlier stage has it.
        event: its end; None while it goes on.
    """

    stage: Stage
    tally: Tally
    began_at: datetime | None
    event: StageEvent | None

    @property
    def state(self) -> str:
        """`waiting`, `current`, or why it is over."""
        if self.event is not None:
            return self.event.end.value
        return "waiting" if self.began_at is None else "current"


def turns(
    tallies: Mapping[Stage, Tally],
    recorded: Mapping[Stage, StageEvent],
    opened_at: datetime,
    patience: timedelta,
    now: datetime,
) -> tuple[Turn, ...]:
    """Whose turn it is.

    Args:
        tallies: what stands in each stage.
        recorded: the stages that are over for good: what is fresh now may be revoked in a minute, and those who
            were told to begin must not be stopped again.
        opened_at: when the window was opened.
        patience: how long a stage may stand still before the next one begins all the same.
        now: the time.
    """
    found: list[Turn] = []
    began: datetime | None = opened_at
    for stage in STAGES:
        tally = tallies.get(stage, Tally())
        event = recorded.get(stage)
        if event is None and began is not None:
            event = _end(tally, began, patience, now)
        found.append(Turn(stage, tally, began, event))
        began = max(began, event.at) if began is not None and event is not None else None
    return tuple(found)


def _end(tally: Tally, began: datetime, patience: timedelta, now: datetime) -> StageEvent | None:
    moved_at = max(began, tally.moved_at or began)
    if tally.is_fresh:
        return StageEvent(StageEnd.FRESH, min(moved_at, now))
    return StageEvent(StageEnd.PASSED, moved_at + patience) if now >= moved_at + patience else None


def has_turn(found: tuple[Turn, ...], stage: Stage) -> bool:
    """Whether an identity of the stage need not wait any longer."""
    return all(turn.event is not None for turn in found if turn.stage in earlier_stages(stage))
