"""Elementary steps on a disk, through one seam: a test crashes after any of them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from trivet.agent.files.errors import FileFaultError, faults_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIRECTORY_MODE: Final = 0o755  # a key's own mode protects it; etcd, which is not root, has to pass
_STAGED_MODE: Final = 0o600


def _nothing(step: str, path: Path) -> None:
    del step, path


class Disk:
    """Performs one elementary step at a time and calls `after(step, path)` when it is done.

    A test's `after` raises an exception that stands for the crash: nothing is tidied up on its way out. What the
    system itself refuses becomes `FileFaultError`, with the path.
    """

    def __init__(self, after: Callable[[str, Path], None] = _nothing) -> None:
        """Take what is called after each step."""
        self._after = after

    def make_directories(self, path: Path) -> None:
        """Make a folder and those above it, and see their entries onto the disk."""
        with faults_of(path):
            missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
            for folder in reversed(missing):
                # The unit's umask is for keys. What etcd has to pass through is made so, in one step.
                former = os.umask(~DIRECTORY_MODE & 0o777)
                try:
                    folder.mkdir(DIRECTORY_MODE)
                finally:
                    os.umask(former)
                self._after("mkdir", folder)
                self.sync(folder.parent)

    def write_new(
        self, path: Path, content: bytes, mode: int, owner: int | None = None, group: int | None = None
    ) -> None:
        """Write a file that is not there yet, whole and on the disk, before anybody is led to it."""
        with faults_of(path):
            # Nobody else reads it until owner and mode are right.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, _STAGED_MODE)
            try:
                self._after("create", path)
                self._fill(descriptor, path, content)
                if owner is not None or group is not None:
                    os.fchown(descriptor, -1 if owner is None else owner, -1 if group is None else group)
                    self._after("chown", path)
                os.fchmod(descriptor, mode)
                self._after("chmod", path)
                os.fsync(descriptor)
                self._after("fsync", path)
            finally:
                os.close(descriptor)

    def _fill(self, descriptor: int, path: Path, content: bytes) -> None:
        # In two parts, so that a crash can leave a torn file.
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._after("write", path)

    def link(self, path: Path, target: str) -> None:
        """Make a symbolic link that is not there yet."""
        with faults_of(path):
            path.symlink_to(target)
        self._after("symlink", path)

    def rename(self, source: Path, target: Path) -> None:
        """Put a file or link in the place of another, in one step, and see that onto the disk."""
        with faults_of(target):
            source.replace(target)
        self._after("rename", target)
        self.sync(target.parent)

    def switch(self, path: Path, target: str, staged: Path) -> None:
        """Let a symbolic link lead elsewhere, in one step; what stands there, a file too, gives way."""
        self.discard(staged)
        self.link(staged, target)
        self.rename(staged, path)

    def sync(self, folder: Path) -> None:
        """See a folder's entries onto the disk."""
        with faults_of(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._after("fsync folder", folder)

    def discard(self, path: Path) -> None:
        """Remove a file or link, or a folder with the files in it; what is not there need not go."""
        if path.is_dir() and not path.is_symlink():
            with faults_of(path):
                inside = sorted(path.iterdir())
            for file in inside:
                self.discard(file)
            with faults_of(path):
                path.rmdir()
            self._after("rmdir", path)
        elif os.path.lexists(path):
            with faults_of(path):
                path.unlink(missing_ok=True)
            self._after("unlink", path)

    @contextmanager
    def tidied(self, *staged: Path) -> Iterator[None]:
        """Remove what was staged where the system refuses a step. A crash removes nothing: `recover` does."""
        try:
            yield
        except FileFaultError:
            for path in staged:
                with suppress(FileFaultError):
                    self.discard(path)
            raise
