"""kubelet's layout: one file with certificate and key, found through a symbolic link.

    kubelet-client-current.pem -> kubelet-client-2026-11-24-06-40-00.pem

As client-go's util/certificate/certificate_store.go does it, so that kubelet and Trivet can take turns.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from trivet.agent.files.attributes import write_planned
from trivet.agent.files.errors import FileFaultError, FileReason, faults_of
from trivet.agent.files.reading import content, parsed_pair

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files.disk import Disk
    from trivet.agent.files.pairs import KeyPair
    from trivet.agent.plan.model import PlannedFile

_CURRENT, _UPDATED = "-current", "-updated"  # client-go's names
_TIME: Final = "%Y-%m-%d-%H-%M-%S"
_DATED: Final = r"-[0-9]{4}(-[0-9]{2}){5}(-[0-9]+)?"


@dataclass(frozen=True, slots=True)
class CombinedFile:
    """A certificate and its key in one file.

    Attributes:
        disk: takes each step.
        path: the link, below the root.
        planned: what the plan says of it.
    """

    disk: Disk
    path: Path
    planned: PlannedFile

    def read(self) -> KeyPair | None:
        """The pair in place.

        Raises:
            FileFaultError: UNREADABLE or MISMATCH, or the disk's reason.
        """
        text = content(self._led_to() or self.path)
        return None if text is None else parsed_pair(text, text, self.path)

    def install(self, pair: KeyPair) -> None:
        """Put a new pair in place; the former file stays as the last one.

        Raises:
            FileFaultError: the former pair is in place still.
        """
        self.recover()
        self.disk.make_directories(self.path.parent)
        former = self._take_over()
        new = self._dated(pair, former)
        with self.disk.tidied(new, self._updated):
            self.disk.discard(new)
            write_planned(self.disk, new, pair.certificates_pem + pair.key_pem, self.planned)
            self.disk.sync(new.parent)
            self.disk.switch(self.path, new.name, self._updated)
        self._prune(former)

    def recover(self) -> list[str]:
        """Remove what a crash left. The link leads to a whole file at every moment.

        Returns:
            what was done, in words.
        """
        current = self._led_to()  # a torn file that is led to is no crash's work: whoever looks is told
        left = [path for path in self._dated_files() if path != current and not self._is_whole(path)]
        left += [self._updated] if os.path.lexists(self._updated) else []
        for path in left:
            self.disk.discard(path)
        return [f"{path}: left by a crash, removed" for path in left]

    def _take_over(self) -> Path | None:
        """The file that the link leads to; a regular file in the link's place gets a name of its own first."""
        if self.path.is_symlink():
            return self._led_to()
        text = content(self.path)
        if text is None:
            return None
        try:
            own = self._dated(parsed_pair(text, text, self.path), None)
        except FileFaultError:
            return None
        with self.disk.tidied(own, self._updated):
            self.disk.discard(own)
            write_planned(self.disk, own, text, self.planned)
            self.disk.sync(own.parent)
            self.disk.switch(self.path, own.name, self._updated)
        return own

    def _led_to(self) -> Path | None:
        """The file that the link leads to. kubelet's link is absolute, which below a root would lead elsewhere."""
        if not self.path.is_symlink():
            return None
        with faults_of(self.path):
            target = self.path.readlink()
        beside = self.path.with_name(target.name)
        return beside if beside.exists() else self.path.parent / target

    @property
    def _stem(self) -> str:
        return self.path.stem.removesuffix(_CURRENT)

    @property
    def _updated(self) -> Path:
        return self.path.with_name(f"{self._stem}{_UPDATED}{self.path.suffix}")

    def _dated(self, pair: KeyPair, former: Path | None) -> Path:
        stem = f"{self._stem}-{pair.certificate.not_valid_before_utc.strftime(_TIME)}"
        names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        paths = (self.path.with_name(f"{name}{self.path.suffix}") for name in names)
        # Another whole pair of the same second is not written over, whoever made it.
        return next(path for path in paths if path != former and not self._is_whole(path))

    def _dated_files(self) -> list[Path]:
        pattern = re.compile(re.escape(self._stem) + _DATED + re.escape(self.path.suffix))
        if not self.path.parent.is_dir():
            return []
        with faults_of(self.path.parent):
            inside = sorted(self.path.parent.iterdir())
        return [path for path in inside if pattern.fullmatch(path.name)]

    def _is_whole(self, path: Path) -> bool:
        try:
            text = content(path)
            return text is not None and parsed_pair(text, text, path) is not None
        except FileFaultError as fault:
            if fault.reason in {FileReason.UNREADABLE, FileReason.MISMATCH}:
                return False
            raise

    def _prune(self, former: Path | None) -> None:
        kept = {former, self._led_to()}
        for path in self._dated_files():
            if path not in kept:
                self.disk.discard(path)
