"""Owners and modes of files, as the plan says and as they are."""

from __future__ import annotations

import grp
import pwd
import stat
from typing import TYPE_CHECKING

from trivet.agent.files.errors import FileFaultError, FileReason, faults_of

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files.disk import Disk
    from trivet.agent.plan.model import PlannedFile


def owner_ids(planned: PlannedFile, path: Path) -> tuple[int | None, int | None]:
    """The numbers of a planned file's user and group; None where the plan leaves them to the writer.

    Raises:
        FileFaultError: UNKNOWN_OWNER, there is no user or group of that name on this machine.
    """
    return _user(planned.owner, path), _group(planned.group, path)


def _user(name: str | None, path: Path) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        message = f"there is no user {name!r} on this machine; create it, or change owner in the plan"
        raise FileFaultError(path, FileReason.UNKNOWN_OWNER, message) from None


def _group(name: str | None, path: Path) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        message = f"there is no group {name!r} on this machine; create it, or change group in the plan"
        raise FileFaultError(path, FileReason.UNKNOWN_OWNER, message) from None


def write_planned(disk: Disk, path: Path, content: bytes, planned: PlannedFile) -> None:
    """Write a new file with the owner and mode that the plan gives it."""
    owner, group = owner_ids(planned, path)
    disk.write_new(path, content, planned.mode, owner, group)


def difference(planned: PlannedFile, path: Path) -> str | None:
    """How the mode or owner of a file that is there differs from the plan, in words; None where it does not.

    Raises:
        FileFaultError: it cannot be looked at, or the plan names nobody of this machine.
    """
    owner, group = owner_ids(planned, path)
    with faults_of(path):
        found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode != planned.mode:
        return f"{path} has mode {mode:04o}, not {planned.mode:04o}"
    if owner not in {None, found.st_uid}:
        return f"{path} belongs to the user {found.st_uid}, not to {planned.owner}"
    if group not in {None, found.st_gid}:
        return f"{path} belongs to the group {found.st_gid}, not to {planned.group}"
    return None
