"""All metrics as text: those of this process, or the sum over all workers of the service."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics

from trivet.authority.metrics import meters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

_LOCK: Final = "lock"


def exposition(extra: Collector, *, is_openmetrics: bool, folder: str | None = meters.SHARED_FOLDER) -> bytes:
    """The metrics in Prometheus' text format, or in OpenMetrics.

    Args:
        extra: what is known besides what is counted.
        is_openmetrics: the format.
        folder: where the workers leave their figures; None for those of this process alone.
    """
    registry = CollectorRegistry()
    registry.register(extra)
    with shared(folder) if folder else nullcontext():
        if folder:
            _Workers(registry, folder)  # type: ignore[no-untyped-call]
        else:
            registry.register(meters.REGISTRY)
        text: bytes = openmetrics.generate_latest(registry) if is_openmetrics else generate_latest(registry)
    return text


class _Workers(MultiProcessCollector):
    """Adds up what workers left, but for files that are only being made: those are empty for a moment."""

    def collect(self) -> Iterable[Metric]:
        """The sums."""
        files = [str(path) for path in Path(self._path).glob("*.db") if _size(path)]
        sums: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return sums


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # of a worker that ended just now
        return 0


@contextmanager
def shared(folder: str) -> Iterator[None]:
    """Hold the folder with other readers, so that no figure is moved from one file to another meanwhile."""
    with (Path(folder) / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Hold the folder against readers.

    Raises:
        BlockingIOError: somebody reads; come back later.
    """
    with (Path(folder) / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
