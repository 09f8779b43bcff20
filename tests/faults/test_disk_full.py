"""A disk without a free byte, under SQLite and under PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.faults.harness import Trial, share
from tests.faults.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Begin = Callable[[str, str], AbstractContextManager[Trial]]
Mount = Callable[[str], AbstractContextManager[Path]]
_MEBIBYTE = b"\0" * 1024 * 1024


class Disk:
    """A small file system of its own, and what fills it."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for piece in (_MEBIBYTE, _MEBIBYTE[:4096]):
                _write_until_full(file.write, piece)

    def free(self) -> None:
        self._ballast.unlink()


def _write_until_full(write: Callable[[bytes], object], piece: bytes) -> None:
    try:
        while True:
            write(piece)
    except OSError:
        return


@pytest.fixture
def mounted(require_tool: Callable[[str], str]) -> Mount:
    """Give a way to mount a tmpfs of a size for a block; that takes root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount, umount = require_tool("mount"), require_tool("umount")

    @contextmanager
    def small(size: str) -> Iterator[Path]:
        # Not in tmp_path, which is closed to PostgreSQL's user whenever another run of pytest starts.
        folder = Path(tempfile.mkdtemp(prefix="trivet-small-"))
        _mount([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)])
        try:
            yield folder
        finally:
            subprocess.run([umount, "--lazy", str(folder)], check=True)
            folder.rmdir()

    return small


def _mount(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0 and "all" not in os.environ.get("TRIVET_TEST_REQUIRE", ""):
        pytest.skip(f"this root may not mount: {done.stderr}")
    assert done.returncode == 0, done.stderr


def _fill_again_and_again(trial: Trial, disk: Disk, mend: Callable[[], None] = lambda: None) -> None:
    for number in range(share(6)):
        with trial.journal.fault("disk full"):
            disk.fill()
            trial.await_refusals(monotonic(), 10)
            if number % 3 == 2:
                # A worker that starts now cannot store its own certificate.
                trial.service.kill_workers(1)
            sleep(1)
            disk.free()
            mend()
        trial.await_recovery()
        trial.breathe()


def test_a_full_disk_under_sqlite_is_survived(under_load: Begin, mounted: Mount) -> None:
    with (
        mounted("64m") as folder,  # of which SQLite's log may take half before it is copied (store.engine)
        under_load("disk full, SQLite", f"sqlite:///{folder / 'trivet.db'}") as trial,
    ):
        _fill_again_and_again(trial, Disk(folder))


def test_a_full_disk_under_postgresql_is_survived(under_load: Begin, mounted: Mount) -> None:
    with mounted("224m") as folder:
        server = Postgres(folder)

        def mend() -> None:
            # Without room for its log PostgreSQL ends itself, and waits for its operator.
            if not server.is_running:
                server.start()

        try:
            with under_load("disk full, PostgreSQL", server.url()) as trial:
                _fill_again_and_again(trial, Disk(folder), mend)
        finally:
            server.remove()
