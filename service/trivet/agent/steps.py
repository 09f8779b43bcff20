"""What provisioning does to one planned thing after the other, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.agent.asking import NotAskedError
from trivet.agent.files import FileFaultError
from trivet.client.errors import ClientError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trivet.agent.plan.model import Hook


class Action(StrEnum):
    """What is done to one planned thing."""

    MAKE = "make"
    REPLACE = "replace"
    CHANGE = "change"
    KEEP = "keep"
    REFUSE = "refuse"


DOING: Final = frozenset({Action.MAKE, Action.REPLACE, Action.CHANGE})


@dataclass(frozen=True, slots=True)
class Step:
    """One planned thing, what is to be done to it, and why.

    Attributes:
        kind: `certificate`, `kubeconfig`, `trustBundle` or `serviceAccountKey`.
        name: as the plan calls it.
        path: its file, as on the node.
        action: what is to be done.
        reason: why, in words; "" for what is kept.
        hook: to run once it is done.
        carry_out: does it; None for what is kept or refused.
    """

    kind: str
    name: str
    path: str
    action: Action
    reason: str = ""
    hook: Hook | None = None
    carry_out: Callable[[], object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: the step.
        is_done: whether something was changed.
        fault: in words why it failed; None where it did not.
        error: what it failed with, where it was tried.
    """

    step: Step
    is_done: bool
    fault: str | None = None
    error: Exception | None = field(default=None, repr=False)


def carry_out(steps: Iterable[Step]) -> Iterator[Outcome]:
    """Do what is to be done, one step after the other; one that fails leaves the others their turn.

    Where the service cannot be reached the rest is not tried: each would wait in vain.
    """
    away: UnreachableError | None = None
    for step in steps:
        if step.action is Action.REFUSE:
            yield Outcome(step, is_done=False, fault=step.reason)
        elif step.carry_out is None:
            yield Outcome(step, is_done=False)
        elif away is not None:
            yield Outcome(step, is_done=False, fault=f"not tried: {away}", error=away)
        else:
            error = _failed(step.carry_out)
            away = error if isinstance(error, UnreachableError) else None
            yield Outcome(
                step, is_done=error is None, fault=None if error is None else str(error), error=error
            )


def _failed(carry_out: Callable[[], object]) -> Exception | None:
    try:
        carry_out()
    except (ClientError, FileFaultError, NotAskedError, ValueError) as error:
        return error
    return None


def hooks_left(outcomes: Iterable[Outcome]) -> dict[Hook, str]:
    """The hooks to run after all that, each once, with the name of the first that wants it.

    What was newly made has no hook to run: no component can have read what was not there.
    """
    left: dict[Hook, str] = {}
    for outcome in outcomes:
        step = outcome.step
        if outcome.is_done and step.hook is not None and step.action is not Action.MAKE:
            left.setdefault(step.hook, step.name)
    return left
