"""All certificates of a node: what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.agent.loop.aftermath import Aftermath, Step
from trivet.agent.loop.answers import AnswerKind
from trivet.agent.loop.identity import Identity, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from trivet.agent.loop.aftermath import Sight
    from trivet.agent.loop.answers import Answer
    from trivet.agent.loop.identity import Held
    from trivet.agent.loop.moment import Moment
    from trivet.pki.validity import Validity

LOOK_EVERY: Final = 60.0
"""Seconds after which the files are read again, and both clocks with them: no sleep is longer."""

BUNDLES_EVERY: Final = timedelta(hours=1)
_BUNDLES_AGAIN: Final = timedelta(minutes=10)
_SILENT: Final = frozenset({AnswerKind.UNREACHABLE, AnswerKind.BUSY})


class TaskKind(StrEnum):
    """What the agent can do; of what is due, in this order."""

    LOOK = "look"
    HOOK = "hook"
    PROBE = "probe"
    BUNDLES = "bundles"
    LISTS = "lists"
    RENEW = "renew"
    ASK = "ask"


_ORDER: Final = {kind: number for number, kind in enumerate(TaskKind)}


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do, at a steady moment; `name` is the certificate's, or empty."""

    kind: TaskKind
    at: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of the node.

    Attributes:
        identities: by the plan's names, in its order.
        aftermaths: by the same names.
        at: when its files were last looked at.
        look_at: when to look again.
        bundles_at: when to ask for trust bundles again.
        lists_at: when to ask for each CRL again.
        quiet_until: the service did not answer; nobody asks it before.
    """

    identities: Mapping[str, Identity]
    aftermaths: Mapping[str, Aftermath]
    at: Moment
    look_at: float
    bundles_at: float
    lists_at: Mapping[str, float] = field(default_factory=dict)
    quiet_until: float = 0.0
    spread: bool = field(default=True)

    @classmethod
    def of(
        cls,
        aftermaths: Mapping[str, Aftermath],
        now: Moment,
        *,
        lists: Iterable[str] = (),
        spread: bool = True,
    ) -> Node:
        """A node that was not looked at yet: each planned name, what follows its changes, and the CRLs."""
        started = {name: aftermath.found(now.steady) for name, aftermath in aftermaths.items()}
        at_once = dict.fromkeys(lists, now.steady)
        return cls({}, started, now, now.steady, now.steady, at_once, spread=spread)

    def looked(self, held: Mapping[str, Held | None], now: Moment, jitter: Random) -> Node:
        """What is on the disk; a certificate that somebody else put there counts as any other."""
        has_jumped = now.jump_since(self.at) > timedelta(0)
        identities = {}
        for name, found in held.items():
            known = self.identities.get(name)
            if known is None or known.held != found:
                known = Identity.seen(found, now, jitter, spread=self.spread)
            elif has_jumped and known.due_in(now) <= 0:
                known = known.spread_out(now, jitter)
            identities[name] = known
        return replace(self, identities=identities, at=now, look_at=now.steady + LOOK_EVERY)

    def next_task(self, now: Moment) -> Task:
        """What to do next, and when: always something, never later than the next look."""
        tasks = [Task(TaskKind.LOOK, self.look_at), *self._aftermath_tasks(), *self._asking_tasks(now)]
        due = [task for task in tasks if task.at <= now.steady]
        if due:
            return min(due, key=lambda task: (_ORDER[task.kind], task.at))
        return min(tasks, key=lambda task: (task.at, _ORDER[task.kind]))

    def _aftermath_tasks(self) -> list[Task]:
        kinds = {Step.HOOK: TaskKind.HOOK, Step.PROBE: TaskKind.PROBE}
        return [
            Task(kinds[aftermath.step], aftermath.at, name)
            for name, aftermath in self.aftermaths.items()
            if aftermath.step in kinds
        ]

    def _asking_tasks(self, now: Moment) -> list[Task]:
        quiet = self.quiet_until
        tasks = [Task(TaskKind.BUNDLES, max(self.bundles_at, quiet))]
        # Whether or not the service answered others: a CRL is small and urgent.
        tasks += [Task(TaskKind.LISTS, at, name) for name, at in self.lists_at.items()]
        # One change at a time: the next certificate waits until the last one is served.
        is_settled = all(aftermath.is_settled for aftermath in self.aftermaths.values())
        for name, identity in self.identities.items():
            if identity.held is None:
                continue
            if is_settled:
                tasks.append(Task(TaskKind.RENEW, max(identity.next_try(now), quiet), name))
            if identity.standing is Standing.FRESH:
                tasks.append(Task(TaskKind.ASK, max(identity.ask_at, quiet), name))
        return tasks

    def renewed(self, name: str, held: Held, answer: Answer, now: Moment, jitter: Random) -> Node:
        """A new pair is in place."""
        fresh = self.identities[name].renewed(held, answer, now, jitter)
        changed = self.aftermaths[name].changed(now.steady)
        return replace(
            self,
            identities={**self.identities, name: fresh},
            aftermaths={**self.aftermaths, name: changed},
            quiet_until=0.0,
        )

    def failed(self, name: str, answer: Answer, now: Moment, jitter: Random) -> Node:
        """A try to renew came to nothing."""
        failed = self.identities[name].failed(answer, now, jitter)
        if answer.kind in _SILENT:
            return replace(self._with(name, failed), quiet_until=failed.try_at)
        if answer.kind is AnswerKind.EXPIRED:
            return replace(self, identities=self._expired_together(name, failed))
        return self._with(name, failed)

    def _expired_together(self, name: str, failed: Identity) -> Mapping[str, Identity]:
        # There is one repair window for the whole cluster: one question is enough.
        later = {
            other: replace(identity, try_at=max(identity.try_at, failed.try_at))
            for other, identity in self.identities.items()
            if identity.standing is Standing.EXPIRED
        }
        return {**self.identities, **later, name: failed}

    def advised(self, name: str, window: Validity, told: float | None, now: Moment, jitter: Random) -> Node:
        """The service suggested a window."""
        return self._with(name, self.identities[name].advised(window, told, now, jitter))

    def not_advised(self, name: str, answer: Answer, now: Moment, jitter: Random) -> Node:
        """The service suggested nothing."""
        identity = self.identities[name]
        if answer.kind in {AnswerKind.REVOKED, AnswerKind.EXPIRED}:
            return self._with(name, identity.failed(answer, now, jitter))
        node = self._with(name, identity.asked(answer.told, now, jitter))
        if answer.kind in _SILENT:
            # As if a renewal had failed, but without counting it as one.
            return replace(node, quiet_until=identity.failed(answer, now, jitter).try_at)
        return node

    def bundles_asked(self, now: Moment, jitter: Random, *, answered: bool) -> Node:
        """The trust bundles were asked for."""
        usual = BUNDLES_EVERY if answered else _BUNDLES_AGAIN
        wait = usual.total_seconds() * jitter.uniform(0.75, 1.25)
        return replace(self, bundles_at=now.steady + wait)

    def list_asked(self, name: str, interval: timedelta, now: Moment, jitter: Random) -> Node:
        """A CRL was asked for; never later again than the plan says, so that its delay can be stated."""
        at = now.steady + interval.total_seconds() * jitter.uniform(0.75, 1)
        return replace(self, lists_at={**self.lists_at, name: at})

    def hooked(self, name: str, now: Moment, *, succeeded: bool) -> Node:
        """A hook ran."""
        return self._after(name, self.aftermaths[name].hooked(now.steady, succeeded=succeeded))

    def probed(self, name: str, sight: Sight, now: Moment) -> Node:
        """A probe looked."""
        return self._after(name, self.aftermaths[name].looked(sight, now.steady))

    def with_hook_left(self, name: str, now: Moment) -> Node:
        """A former agent put the pair in place, and ended before it ran the hook."""
        return self._after(name, self.aftermaths[name].changed(now.steady))

    def _with(self, name: str, identity: Identity) -> Node:
        return replace(self, identities={**self.identities, name: identity})

    def _after(self, name: str, aftermath: Aftermath) -> Node:
        return replace(self, aftermaths={**self.aftermaths, name: aftermath})

    def outage_budget(self, now: Moment) -> timedelta | None:
        """How long this node survives without the service: the least time until notAfter; None for nothing held."""
        left = [identity.left(now) for identity in self.identities.values() if identity.held is not None]
        return min(left, default=None)
