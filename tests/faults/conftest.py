from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.faults.harness import Trial, trial
from tests.faults.postgres import Postgres

_TITLES = (
    "fault", "tried", "certificates received", "after more than one try", "of these, stored by an earlier try",
    "lost", "duplicates", "half stored", "revocations", "issued past one", "answers 503", "slowest answer",
    "recovered within",
)  # fmt: skip
_rows: list[tuple[str, ...]] = []


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def under_load(tmp_path: Path) -> Callable[[str, str], AbstractContextManager[Trial]]:
    """Give a trial on a database; what it shows is printed at the end of the run."""

    @contextmanager
    def begin(what: str, database_url: str) -> Iterator[Trial]:
        with trial(tmp_path, database_url) as made:
            yield made
        _rows.append(_row(what, made))

    return begin


def _row(what: str, made: Trial) -> tuple[str, ...]:
    verdict = made.verdict
    violations = (verdict.lost, verdict.duplicates, verdict.half_stored)
    return (
        what, str(made.tried or len(made.journal.faults)), str(verdict.received), str(verdict.tried_again),
        str(verdict.answered_anew), *(str(len(kind)) for kind in violations), str(verdict.revoked),
        str(len(verdict.past_revocation)), str(verdict.unavailable), f"{verdict.slowest:.1f} s",
        f"{verdict.recovery:.1f} s",
    )  # fmt: skip


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _rows:
        return
    terminalreporter.section("faults")
    for row in (_TITLES, ("---",) * len(_TITLES), *_rows):
        terminalreporter.write_line(f"| {' | '.join(row)} |")
