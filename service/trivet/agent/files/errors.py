"""What can go wrong with a file of the node."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FileReason(StrEnum):
    """Why a file cannot be read or written. The first three are the disk's and may pass by themselves."""

    NO_SPACE = "noSpace"
    READ_ONLY = "readOnly"
    NOT_PERMITTED = "notPermitted"
    UNKNOWN_OWNER = "unknownOwner"
    OUTSIDE_ROOT = "outsideRoot"
    UNREADABLE = "unreadable"
    MISMATCH = "mismatch"
    INCOMPLETE = "incomplete"
    BUSY = "busy"
    OTHER = "other"


_REASONS: Final = {
    errno.ENOSPC: FileReason.NO_SPACE,
    errno.EDQUOT: FileReason.NO_SPACE,
    errno.EROFS: FileReason.READ_ONLY,
    errno.EACCES: FileReason.NOT_PERMITTED,
    errno.EPERM: FileReason.NOT_PERMITTED,
}


class FileFaultError(Exception):
    """A file of the node cannot be read or written; what was there is as it was, or complete and new.

    Attributes:
        path: the file.
        reason: the kind of fault.
        detail: the same in words, never with the content of a file.
    """

    def __init__(self, path: Path, reason: FileReason, detail: str) -> None:
        """Take the path, the kind of fault, and the words."""
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.reason = reason
        self.detail = detail


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into the one typed error.

    Raises:
        FileFaultError: the system refused.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, FileReason.OTHER)
        raise FileFaultError(path, reason, error.strerror or str(error)) from error
