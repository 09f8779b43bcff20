"""Files that hold secrets, or stand beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644
_PRIVATE_DIRECTORY = 0o700


def make_directory(path: Path) -> None:
    """Make a directory that only its owner enters; one that is there stays as it is."""
    path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)


def write_new(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file that must not be there yet, and see it onto the disk.

    Raises:
        FileExistsError: it is there; nothing was changed.
    """
    # Created with its final mode: a secret must not be readable by others even for a moment.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_secret(path: Path) -> str:
    """Read a small text file, without the white space around."""
    return path.read_text(encoding="utf-8").strip()


def is_private(path: Path) -> bool:
    """Whether nobody but the owner (and a group that was given it on purpose) can read the file."""
    return not path.stat().st_mode & 0o007
