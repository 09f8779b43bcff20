"""One trial: a service under load on a database, faults, and a verdict."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.faults.journal import Journal
from tests.faults.load import Load
from tests.faults.service import Service
from tests.faults.verdict import RECOVERY_BOUND, Verdict, verify

_chance = secrets.SystemRandom()
ROUNDS = int(os.environ.get("TRIVET_FAULT_ROUNDS", "9"))
_STARTS = 3
_PATIENCE = 60.0
_REPEATED = 150
_REVOKED = 3  # at least, or a trial shows nothing of revocations


def share(full: int) -> int:
    """How often to do what a full trial does so many times; TRIVET_FAULT_ROUNDS=30 is full."""
    return max(1, round(full * ROUNDS / 30))


class Trial:
    """A service under load, to break."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.database_url = database_url
        self.journal = Journal()
        self.service = Service(folder, database_url)
        self.service.initialise()
        began = monotonic()
        self.service.start()
        self.service.await_ready()
        self.start_seconds = monotonic() - began
        clients = folder / "clients"
        clients.mkdir()
        self.load = Load(self.service, self.journal, clients)
        self.verdict = Verdict()
        self.tried: int | None = None  # where that is not the number of faults in the journal

    def breathe(self) -> None:
        """Let the load do some work, then stop at any moment of it."""
        began = monotonic()
        self.until(lambda: self.journal.issued_since(began) >= 10, "certificates to be issued")
        sleep(_chance.uniform(0, 0.4))

    def await_recovery(self) -> None:
        """Wait for a certificate that was asked for after the last fault's end."""
        ended = self.journal.faults[-1].ended
        self.until(lambda: self.journal.issued_since(ended) > 0, "the service to recover")

    def await_refusals(self, since: float, number: int = 5) -> None:
        """Wait for answers that say that the service cannot do its work."""
        self.until(lambda: self.journal.unavailable_since(since) >= number, "503")

    def until(self, holds: Callable[[], bool], what: str, patience: float = _PATIENCE) -> None:
        deadline = monotonic() + patience
        while not holds():
            message = f"waited in vain for {what}\n{self.service.complaints()}"
            assert monotonic() < deadline, message
            sleep(0.02)

    def judge(self) -> None:
        """End the load and the service, and look at what is there."""
        self.until(lambda: len(self.journal.revoked) >= _REVOKED, "revocations to be acknowledged")
        self.load.stop()
        self.load.repeat(_REPEATED)
        self.load.ask_for_the_revoked(_REPEATED)
        code, found = self.service.proof()
        assert code == 0, found
        self.service.stop()
        self.verdict = verify(self.journal, self.database_url)
        # On a machine that is busy with something else a start alone, without any fault, may take as long.
        self.verdict.recovery_bound = max(RECOVERY_BOUND, _STARTS * self.start_seconds)
        violations = [*self.service.defects(), *self.verdict.violations]
        assert not violations, "\n".join(violations[:50])


@contextmanager
def trial(folder: Path, database_url: str) -> Iterator[Trial]:
    """Serve under load for a block; afterwards, demand that every promise was kept."""
    made = Trial(folder, database_url)
    try:
        made.load.start()
        made.breathe()
        yield made
        made.judge()
    except BaseException:
        sys.stderr.write(made.service.complaints())
        raise
    finally:
        if made.service.is_running:
            made.service.kill()
