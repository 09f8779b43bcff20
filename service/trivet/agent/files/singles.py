"""A single file, replaced in one step: kubeconfigs, trust bundles, the keys of service accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.agent.files.attributes import difference, write_planned
from trivet.agent.files.reading import content

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files.disk import Disk
    from trivet.agent.plan.model import PlannedFile


def staged(path: Path) -> Path:
    """Where new content waits, in the same folder."""
    return path.with_name(f".{path.name}.trivet-new")


def replace(disk: Disk, path: Path, text: bytes, planned: PlannedFile) -> bool:
    """Put new content in place, whole, with owner and mode. Returns whether anything was to be done.

    Raises:
        FileFaultError: the file is as it was.
    """
    if content(path) == text and not path.is_symlink() and difference(planned, path) is None:
        return False
    disk.make_directories(path.parent)
    with disk.tidied(staged(path)):
        disk.discard(staged(path))
        write_planned(disk, staged(path), text, planned)
        disk.rename(staged(path), path)
    return True


def recover(disk: Disk, path: Path) -> list[str]:
    """Remove what a crash left beside a file. Returns what was done, in words."""
    left = staged(path)
    if not left.is_file():
        return []
    disk.discard(left)
    return [f"{left}: left by a crash, removed"]
