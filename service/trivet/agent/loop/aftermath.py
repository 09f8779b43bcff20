"""What follows a change: the hook, then a look at whether the component serves the new certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

PATIENCE: Final = 30.0
"""Seconds for which a component may go on serving the former certificate after a hook."""

_FIRST, _DOUBLINGS = 0.5, 4
_RUNS: Final = 2  # of a hook, for one change
_HOOK_AGAIN: Final = 15.0
_LOOK_EVERY: Final = 300.0


class Sight(StrEnum):
    """What a probe saw."""

    NEW = "new"
    OTHER = "other"
    NOTHING = "nothing"


class Step(StrEnum):
    """What comes next."""

    HOOK = "hook"
    PROBE = "probe"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is left to be done after a change. All times are of the steady clock.

    Attributes:
        has_hook: whether there is one.
        has_probe: whether there is one.
        step: what comes next.
        at: when.
        runs: how often the hook ran since the change.
        since: when the component was given the time to change.
        looks: how often a probe looked since then.
        is_settled: whether the time for changing is over.
        sight: what the last probe saw; None before the first.
    """

    has_hook: bool = False
    has_probe: bool = False
    step: Step = Step.NONE
    at: float = 0.0
    runs: int = 0
    since: float = 0.0
    looks: int = 0
    is_settled: bool = True
    sight: Sight | None = None

    def changed(self, steady: float) -> Aftermath:
        """A new certificate is in place."""
        fresh = Aftermath(self.has_hook, self.has_probe, is_settled=not (self.has_hook or self.has_probe))
        if self.has_hook:
            return replace(fresh, step=Step.HOOK, at=steady)
        return fresh.watched(steady)

    def found(self, steady: float) -> Aftermath:
        """At the agent's start: whether a former one ran the hook is not known, so one run is left."""
        if not self.has_probe:
            return self
        return replace(self, runs=_RUNS - 1).watched(steady)

    def watched(self, steady: float) -> Aftermath:
        """The component is given the time to change."""
        if not self.has_probe:
            return replace(self, step=Step.NONE, is_settled=True)
        return replace(self, step=Step.PROBE, at=steady, since=steady, looks=0, is_settled=False)

    def hooked(self, steady: float, *, succeeded: bool) -> Aftermath:
        """The hook ran."""
        ran = replace(self, runs=self.runs + 1)
        if self.has_probe:
            return ran.watched(steady)
        if succeeded or ran.runs >= _RUNS:
            return replace(ran, step=Step.NONE, is_settled=True)
        return replace(ran, step=Step.HOOK, at=steady + _HOOK_AGAIN)

    def looked(self, sight: Sight, steady: float) -> Aftermath:
        """The probe looked."""
        seen = replace(self, sight=sight, looks=self.looks + 1)
        if sight is Sight.NEW:
            return replace(seen, at=steady + _LOOK_EVERY, is_settled=True)
        if not self.is_settled and steady - self.since < PATIENCE:
            return replace(seen, at=steady + _FIRST * 2 ** min(self.looks, _DOUBLINGS))
        if sight is Sight.OTHER and self.has_hook and self.runs < _RUNS:
            return replace(seen, step=Step.HOOK, at=steady, is_settled=False)
        return replace(seen, at=steady + _LOOK_EVERY, is_settled=True)
