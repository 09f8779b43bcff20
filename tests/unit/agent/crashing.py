"""A disk that crashes, and what a reader of the node's files would find."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import yaml

from trivet.agent.files import Disk, KeyPair, key_pair_from_pem
from trivet.agent.plan.model import CombinedStorage, KubeconfigStorage, PairStorage, PlannedCertificate


class Crash(BaseException):
    """The end of the process: nothing that tidies up may run."""


class CrashingDisk(Disk):
    """Crashes after a number of steps, and keeps the list of those that it made."""

    def __init__(self, steps: int | None = None) -> None:
        super().__init__(self._count)
        self.done: list[tuple[str, Path]] = []
        self._steps = steps

    def _count(self, step: str, path: Path) -> None:
        self.done.append((step, path))
        if self._steps is not None and len(self.done) > self._steps:
            raise Crash


def as_a_component_reads(root: Path, planned: PlannedCertificate) -> KeyPair | None:
    """Read as etcd and kube-apiserver do: through the links, the certificate first, with no code of Trivet's layout."""
    match planned.storage:
        case PairStorage(certificate, key):
            paths = (root / str(certificate.path)[1:], root / str(key.path)[1:])
            if not any(path.exists() for path in paths):
                return None
            return key_pair_from_pem(*(path.read_bytes() for path in paths))
        case CombinedStorage(file):
            path = root / str(file.path)[1:]
            return key_pair_from_pem(path.read_bytes(), path.read_bytes()) if path.exists() else None
        case KubeconfigStorage(file=file):
            path = root / str(file.path)[1:]
            if not path.exists():
                return None
            user = yaml.safe_load(path.read_text())["users"][0]["user"]
            return key_pair_from_pem(
                base64.b64decode(user["client-certificate-data"]), base64.b64decode(user["client-key-data"])
            )


def each_crash(
    prepare: Callable[[], Path], act: Callable[[Path, Disk], None], check: Callable[[Path, int], None]
) -> int:
    """Crash after every single step of `act`, each time on a new root, until it is done. Returns the steps."""
    for steps in range(1000):
        root = prepare()
        try:
            act(root, CrashingDisk(steps))
        except Crash:
            check(root, steps)
            continue
        check(root, steps)
        return steps
    msg = "it does not end"
    raise AssertionError(msg)
