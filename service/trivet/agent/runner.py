"""The agent: asks the loop what to do next, has it done, and sleeps until then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.agent.exposition import exposition
from trivet.agent.files import FileFaultError
from trivet.agent.loop import Answer, AnswerKind, Standing, Task, TaskKind
from trivet.agent.loop.aftermath import Sight
from trivet.agent.notify import Supervisor
from trivet.agent.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.agent.exposition import Labels
    from trivet.agent.keeper import Keeper
    from trivet.agent.plan.model import CertificatePlan

_LONGEST_SLEEP: Final = 60.0
_A_MINUTE: Final = timedelta(minutes=1)


@dataclass
class Agent:
    """Looks after the certificates of one node.

    Attributes:
        keeper: does one thing at a time.
        about: what it is, for the metrics.
        publish: takes the metrics.
        load: reads the plan again; None where that cannot be.
        signals: what it is told from outside.
        supervisor: whoever started it.
    """

    keeper: Keeper
    about: Labels
    publish: Callable[[str], None]
    load: Callable[[], CertificatePlan] | None = None
    signals: Signals = field(default_factory=Signals)
    supervisor: Supervisor = field(default_factory=Supervisor.of)

    def run(self) -> None:
        """Work until told to stop."""
        keeper = self.keeper
        self.begin()
        self.supervisor.tell("READY=1", f"STATUS=looks after {len(keeper.plan.certificates)} certificates")
        while not self.signals.is_stopping:
            self.step()
        self.supervisor.tell("STOPPING=1")
        keeper.journal.note("stopped", "told to stop; every pair is whole")

    def begin(self) -> None:
        """Mend what a crash left, and look at what is there."""
        keeper = self.keeper
        keeper.journal.note(
            "started",
            f"looks after {len(keeper.plan.certificates)} certificates of {keeper.plan.node} in {keeper.plan.cluster}",
            cluster=keeper.plan.cluster,
            node=keeper.plan.node,
        )
        try:
            with keeper.files.lock():
                for words in keeper.files.recover(keeper.plan):
                    keeper.journal.warn("mended", words)
        except FileFaultError as fault:
            keeper.journal.warn(
                "files", f"what a crash may have left could not be mended: {fault}", reason="files"
            )
        keeper.look()
        keeper.take_up_hooks()

    def step(self) -> None:
        """Do what comes next, or sleep until it does."""
        keeper = self.keeper
        if self.signals.take_reload():
            self._reload()
        now = keeper.clocks.now()
        task = keeper.node.next_task(now)
        if task.at > now.steady:
            self.publish_now()
            self.signals.sleep(min(task.at - now.steady, self._longest_sleep()))
        else:
            self.perform(task)
        self.supervisor.tell("WATCHDOG=1")

    def _longest_sleep(self) -> float:
        watchdog = self.supervisor.watchdog
        return _LONGEST_SLEEP if watchdog is None else min(_LONGEST_SLEEP, watchdog / 3)

    def perform(self, task: Task) -> None:
        """Do one thing. A defect of the agent itself ends nothing: the other certificates need it."""
        keeper = self.keeper
        try:
            keeper.perform(task)
        except Exception as error:  # noqa: BLE001  whatever it is, the next certificate must be renewed
            keeper.tallies.faults += 1
            words = f"a fault in the agent itself: {type(error).__name__}; it goes on"
            keeper.journal.complain(
                "fault", words, certificate=task.name or None, reason="fault", task=task.kind.value
            )
            self._put_off(task)

    def _put_off(self, task: Task) -> None:
        keeper = self.keeper
        now, answer = keeper.clocks.now(), Answer(AnswerKind.REFUSED, "a fault in the agent itself")
        match task.kind:
            case TaskKind.LOOK:
                keeper.node = replace(keeper.node, look_at=now.steady + _LONGEST_SLEEP)
            case TaskKind.BUNDLES:
                keeper.node = keeper.node.bundles_asked(now, keeper.jitter, answered=False)
            case TaskKind.LISTS:
                keeper.node = keeper.node.list_asked(task.name, _A_MINUTE, now, keeper.jitter)
            case TaskKind.ASK:
                keeper.node = keeper.node.not_advised(task.name, answer, now, keeper.jitter)
            case TaskKind.RENEW:
                keeper.node = keeper.node.failed(task.name, answer, now, keeper.jitter)
            case TaskKind.HOOK:
                keeper.node = keeper.node.hooked(task.name, now, succeeded=False)
            case TaskKind.PROBE:
                keeper.node = keeper.node.probed(task.name, Sight.NOTHING, now)

    def _reload(self) -> None:
        keeper = self.keeper
        if self.load is None:
            return
        try:
            plan = self.load()
        except (ValueError, OSError) as error:
            keeper.journal.complain("planKept", f"the plan was not read again, the former one holds: {error}")
            return
        keeper.take_plan(plan)
        keeper.take_up_hooks()
        keeper.journal.note("planRead", f"the plan was read again: {len(plan.certificates)} certificates")

    def publish_now(self) -> None:
        """Give the metrics to whoever takes them."""
        keeper = self.keeper
        now = keeper.clocks.now()
        try:
            self.publish(exposition(keeper.node, keeper.tallies, now, self.about, keeper.standings))
        except OSError as error:
            keeper.journal.warn("metrics", f"the metrics could not be written: {error.strerror or error}")

    def run_once(self) -> bool:
        """Do what is due now, one time. Returns whether each certificate is fresh and served, and each CRL in force."""
        keeper = self.keeper
        self.begin()
        keeper.fetch_bundles()
        for planned in keeper.plan.revocation_lists:
            self.perform(self._task(TaskKind.LISTS, planned.name))
        for name in list(keeper.pairs):
            if not self.signals.is_stopping:
                self._attend(name)
        self.publish_now()
        lists = (keeper.standings.get(planned.name) for planned in keeper.plan.revocation_lists)
        return all(self._is_well(name) for name in keeper.node.aftermaths) and all(
            standing is not None and standing.worry(keeper.clocks.wall()) is None for standing in lists
        )

    def _attend(self, name: str) -> None:
        keeper = self.keeper
        self.perform(self._task(TaskKind.ASK, name))
        if keeper.node.identities[name].due_in(keeper.clocks.now()) <= 0:
            self.perform(self._task(TaskKind.RENEW, name))
        while not keeper.node.aftermaths[name].is_settled and not self.signals.is_stopping:
            after = keeper.node.aftermaths[name]
            self.signals.sleep(max(0.0, after.at - keeper.clocks.now().steady))
            self.perform(self._task(TaskKind(after.step.value), name))

    def _task(self, kind: TaskKind, name: str) -> Task:
        keeper = self.keeper
        return Task(kind, keeper.clocks.now().steady, name)

    def _is_well(self, name: str) -> bool:
        keeper = self.keeper
        identity = keeper.node.identities[name]
        return identity.standing is Standing.FRESH and keeper.node.aftermaths[name].sight is not Sight.OTHER
