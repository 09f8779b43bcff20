"""One writer at a time below a root."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from trivet.agent.files.errors import FileFaultError, FileReason, faults_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = "var/lib/trivet/node.lock"


@contextmanager
def only_writer(root: Path) -> Iterator[None]:
    """Hold the lock of a root. The system lets go of it when its holder ends, however it ends.

    Raises:
        FileFaultError: BUSY, another holds it; or the lock file cannot be made.
    """
    path = root / LOCK
    with faults_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another trivet provision, repair-node or agent works on these files; try again when it is done"
            raise FileFaultError(path, FileReason.BUSY, message) from None
        yield
    finally:
        os.close(descriptor)
