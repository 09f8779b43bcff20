"""One agent a node."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from trivet.agent.files.errors import FileFaultError, FileReason, faults_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = "var/lib/trivet/agent.lock"


@contextmanager
def only_agent(root: Path) -> Iterator[None]:
    """Be the only agent below a root. The system lets go of it when its holder ends, however it ends.

    Another lock than the one that writers hold for a moment: `trivet provision` and `trivet repair-node` work beside
    an agent.

    Raises:
        FileFaultError: BUSY, another agent runs; or the lock file cannot be made.
    """
    path = root / LOCK
    descriptor = _opened(path, root)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another trivet agent looks after this node; one is enough, so this one ends"
            raise FileFaultError(path, FileReason.BUSY, message) from None
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path, root: Path) -> int:
    try:
        with faults_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileFaultError as fault:
        if fault.reason not in {FileReason.NO_SPACE, FileReason.READ_ONLY}:
            raise
    # A disk that is full or read-only may get well; until then somebody has to tell of it.
    with faults_of(root):
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
