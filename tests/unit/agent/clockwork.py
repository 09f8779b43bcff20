"""A node without a disk or a service: two clocks that a test moves, and answers that it makes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from trivet.agent.loop import Answer, AnswerKind, Held, Moment, Node, Standing, Task, TaskKind
from trivet.agent.loop.aftermath import Aftermath
from trivet.pki.validity import BACKDATE, Validity

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
FOUR_DAYS = timedelta(days=4)
RENEWED = Answer(AnswerKind.RENEWED)
_serials = count(0x77FDF4B1)

AnswerTo = Callable[["Clockwork", str], Answer]


def issue(now: datetime, lifetime: timedelta = FOUR_DAYS) -> Held:
    """What the service would issue now."""
    before = now - BACKDATE
    return Held(format(next(_serials), "x"), Validity(before, before + lifetime))


def renews(_node: Clockwork, _name: str) -> Answer:
    return RENEWED


@dataclass
class Clockwork:
    """Runs the loop as the runner does; a sleep moves both clocks.

    `true` is the service's time: the wall clock of the node may be off by `error`.
    """

    names: tuple[str, ...] = ("apiserver",)
    answer: AnswerTo = renews
    lifetime: timedelta = FOUR_DAYS
    seed: int = 1
    error: timedelta = timedelta(0)
    steady: float = 1000.0
    tries: list[tuple[datetime, str, Answer]] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    suggests: Callable[[Clockwork, Held], tuple[Validity, float | None] | Answer] | None = None

    def __post_init__(self) -> None:
        self._began = self.steady
        self.jitter = Random(self.seed)  # noqa: S311  a test that is the same each time
        self.held: dict[str, Held | None] = {name: issue(self.true, self.lifetime) for name in self.names}
        self.node = Node.of({name: Aftermath() for name in self.names}, self.now)

    @property
    def true(self) -> datetime:
        return START + timedelta(seconds=self.steady - self._began)

    @property
    def now(self) -> Moment:
        return Moment(self.true + self.error, self.steady)

    @property
    def renewals(self) -> list[datetime]:
        return [at for at, _, answer in self.tries if answer is RENEWED]

    def standing(self, name: str | None = None) -> Standing:
        return self.node.identities[name or self.names[0]].standing

    def run_for(self, span: timedelta) -> Clockwork:
        end = self.steady + span.total_seconds()
        while self.steady < end:
            task = self.node.next_task(self.now)
            if task.at > self.steady:
                self.sleeps.append(task.at - self.steady)
                self.steady = min(task.at, end)
            else:
                self.perform(task)
        return self

    def perform(self, task: Task) -> None:
        match task.kind:
            case TaskKind.LOOK:
                self.node = self.node.looked(self.held, self.now, self.jitter)
            case TaskKind.BUNDLES:
                self.node = self.node.bundles_asked(self.now, self.jitter, answered=True)
            case TaskKind.ASK:
                self._ask(task.name)
            case TaskKind.RENEW:
                self._renew(task.name)
            case _:
                msg = f"nothing of this node has a {task.kind}"
                raise AssertionError(msg)

    def _ask(self, name: str) -> None:
        self.asked.append(self.true)
        held = self.held[name]
        assert held is not None
        silent = Answer(AnswerKind.REFUSED)
        found = silent if self.suggests is None else self.suggests(self, held)
        if isinstance(found, Answer):
            self.node = self.node.not_advised(name, found, self.now, self.jitter)
        else:
            self.node = self.node.advised(name, *found, self.now, self.jitter)

    def _renew(self, name: str) -> None:
        answer = self.answer(self, name)
        self.tries.append((self.true, name, answer))
        if answer.kind is AnswerKind.RENEWED:
            held = self.held[name] = issue(self.true, self.lifetime)
            self.node = self.node.renewed(name, held, answer, self.now, self.jitter)
        else:
            self.node = self.node.failed(name, answer, self.now, self.jitter)


def unless(is_away: Callable[[datetime], bool], kind: AnswerKind = AnswerKind.UNREACHABLE) -> AnswerTo:
    """Renews but for the time that something is wrong."""

    def answer(node: Clockwork, _name: str) -> Answer:
        return Answer(kind, "away") if is_away(node.true) else RENEWED

    return answer
