"""The signer at work: for each kind of object one thread that follows it, and workers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from trivet.agent.notify import Supervisor
from trivet.agent.signals import Signals
from trivet.signer.errors import ClusterError
from trivet.signer.exposition import exposition
from trivet.signer.mirroring import SWEEP
from trivet.signer.work_queue import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trivet.agent.exposition import Labels
    from trivet.signer.informer import Informer
    from trivet.signer.record import Record
    from trivet.signer.work_queue import WorkQueue

_PUBLISHED_EVERY: Final = 10.0
_LONGEST_SLEEP: Final = 30.0
_LOOKED_AGAIN_EVERY: Final = 600.0
_LAST_WORK: Final = 20.0


class Attending(Protocol):
    """What is done about one kind of object."""

    def attend(self, key: str) -> Later | None:
        """Do what there is to do; when to come again, if it could not be done."""


@dataclass
class Controller:
    """One kind of object: who follows it, what is to be done, and by how many."""

    informer: Informer
    queue: WorkQueue
    work: Attending
    record: Record
    workers: int
    sweeps: bool = False

    @property
    def plural(self) -> str:
        """What it looks after."""
        return self.informer.resource.plural

    def attend_next(self) -> bool:
        """Work on what is due; whether there was anything. A defect of the signer itself ends nothing."""
        key = self.queue.take()
        if key is None:
            return False
        try:
            later = self.work.attend(key)
        except Exception as error:  # noqa: BLE001  whatever it is, other objects wait
            self.record.fault(self.plural, key, error)
            later = Later("fault", "a fault in the signer itself")
        if later is None:
            self.queue.done(key)
        else:
            self.record.put_off(self.plural, key, later, self.queue.put_off(key, later))
        return True

    def look_again(self) -> None:
        """Look at everything once more: at what was refused, too, where that may have changed."""
        for key in self.informer.held():
            self.queue.add(key)
        if self.sweeps:
            self.queue.add(SWEEP)


@dataclass
class Signer:
    """The external signer of one cluster.

    Attributes:
        controllers: of each kind of object.
        record: of what was done.
        about: what it is, for the metrics.
        publish: takes the metrics.
        steady: a clock that nobody sets.
        close: ends the connections of the thread that calls.
        signals: what it is told from outside.
        supervisor: whoever started it.
    """

    controllers: Sequence[Controller]
    record: Record
    about: Labels
    publish: Callable[[str], None]
    steady: Callable[[], float]
    close: Callable[[], None]
    signals: Signals = field(default_factory=Signals)
    supervisor: Supervisor = field(default_factory=Supervisor.of)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Work until told to stop."""
        self.record.say("info", "started", f"signs for the cluster {self.about['cluster']}")
        workers = [thread for one in self.controllers for thread in self._start(one)]
        self.supervisor.tell("READY=1")
        looked = self.steady()
        while not self.signals.is_stopping:
            self.publish_now()
            self.signals.sleep(_PUBLISHED_EVERY)
            self.supervisor.tell("WATCHDOG=1")
            if self.steady() - looked > _LOOKED_AGAIN_EVERY:
                looked = self.steady()
                for one in self.controllers:
                    one.look_again()
        self.supervisor.tell("STOPPING=1")
        self._over.set()
        for one in self.controllers:
            one.queue.wake()
        for worker in workers:
            worker.join(_LAST_WORK)
        self.record.say("info", "stopped", "told to stop; what is left is found by the next one")

    def run_once(self) -> bool:
        """Read all objects and do what is due now, one time. Returns whether nothing is left to be tried again."""
        try:
            for one in self.controllers:
                one.informer.refresh()
                while one.attend_next():
                    pass
        except ClusterError as error:
            self.record.not_heard("cluster", str(error))
            return False
        finally:
            self.publish_now()
            self.close()
        return not any(len(one.queue) for one in self.controllers)

    def publish_now(self) -> None:
        """Give the metrics to whoever takes them."""
        waiting = {one.plural: len(one.queue) for one in self.controllers}
        try:
            self.publish(exposition(self.record.tallies, waiting, self.about))
        except OSError as error:
            self.record.say(
                "warning", "metrics", f"the metrics could not be written: {error.strerror or error}"
            )

    def _start(self, one: Controller) -> list[threading.Thread]:
        """Start the threads of a kind of object; those that hold something half done are given back."""
        # A watch cannot be woken, and holds nothing: it ends with the process.
        threading.Thread(target=self._follow, args=(one,), name=f"{one.plural}-watch", daemon=True).start()
        workers = [
            threading.Thread(target=self._work, args=(one,), name=f"{one.plural}-{number}", daemon=True)
            for number in range(one.workers)
        ]
        for worker in workers:
            worker.start()
        return workers

    def _follow(self, one: Controller) -> None:
        while not self._over.is_set():
            try:
                wait = one.informer.step()
            except Exception as error:  # noqa: BLE001  whatever it is, it must be followed on
                self.record.fault(one.plural, "", error)
                wait = _LONGEST_SLEEP
            self._over.wait(wait)

    def _work(self, one: Controller) -> None:
        try:
            while not self._over.is_set():
                if not one.attend_next():
                    one.queue.wait(_LONGEST_SLEEP)
        finally:
            self.close()
