"""Where the benchmark keeps what it makes: on a disk, for what is measured must reach one."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


class NotOnDiskError(Exception):
    """The folder lies in memory, where a commit costs nothing."""


def scratch() -> Path:
    """The folder of everything that the benchmark makes; `TRIVET_BENCH_SCRATCH` names another.

    Raises:
        NotOnDiskError: the folder does not lie on a disk.
    """
    folder = Path(os.environ.get("TRIVET_BENCH_SCRATCH") or f"/var/tmp/trivet-bench-{os.getuid()}")  # noqa: S108
    folder.mkdir(parents=True, exist_ok=True)
    if filesystem(folder) in _IN_MEMORY:
        message = f"{folder} lies in memory; name a folder on a disk in TRIVET_BENCH_SCRATCH"
        raise NotOnDiskError(message)
    return folder


def filesystem(folder: Path) -> str:
    """The kind of file system that a folder lies on."""
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    real = folder.resolve()
    return next((mounts[str(place)] for place in (real, *real.parents) if str(place) in mounts), "unknown")


def fresh_folder(name: str) -> Path:
    """An empty folder of that name below the scratch folder."""
    folder = scratch() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
