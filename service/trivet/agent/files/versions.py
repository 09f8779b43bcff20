"""A pair of files behind one symbolic link, so that both change in one step.

    pki/apiserver.crt -> .trivet/apiserver.crt/current/apiserver.crt
    pki/apiserver.key -> .trivet/apiserver.crt/current/apiserver.key
    pki/.trivet/apiserver.crt/current -> 20261124T064000Z-77fdf4b1
    pki/.trivet/apiserver.crt/20261124T064000Z-77fdf4b1/{apiserver.crt,apiserver.key}

In the folder of the pair, because static pods mount single folders (etcd sees only pki/etcd); relative, because they
mount them elsewhere. kubernetes/pkg/volume/util/atomic_writer.go does so for mounted secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from trivet.agent.files.attributes import write_planned
from trivet.agent.files.errors import FileFaultError, FileReason, faults_of
from trivet.agent.files.reading import content, pair_of

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files.disk import Disk
    from trivet.agent.files.pairs import KeyPair
    from trivet.agent.plan.model import PlannedFile

FOLDER: Final = ".trivet"
_CURRENT, _STAGED, _LINK, _TAKEN_OVER = "current", "current.new", ".link", "taken-over"


@dataclass(frozen=True, slots=True)
class VersionedPair:
    """Two files in one folder, and the versions behind them.

    Attributes:
        disk: takes each step.
        certificate: the certificate's path below the root.
        key: the key's path, in the same folder.
        planned: what the plan says of the two, in this order.
    """

    disk: Disk
    certificate: Path
    key: Path
    planned: tuple[PlannedFile, PlannedFile]

    @property
    def _versions(self) -> Path:
        # By the file's name, which is unique in its folder, not by the plan's, which may change.
        return self.certificate.parent / FOLDER / self.certificate.name

    @property
    def _current(self) -> Path:
        return self._versions / _CURRENT

    def read(self) -> KeyPair | None:
        """The pair in place: both files of one version, even while another writer switches.

        Raises:
            FileFaultError: as `reading.pair_of`.
        """
        version = self._linked_version()
        if version is not None and self._leads(self.certificate) and self._leads(self.key):
            return pair_of(version / self.certificate.name, version / self.key.name)
        return pair_of(self.certificate, self.key)

    def install(self, pair: KeyPair) -> None:
        """Put a new pair in place; what was there stays as the last version.

        Raises:
            FileFaultError: the former pair is in place still.
        """
        self.recover()
        self.disk.make_directories(self._versions)
        self._take_over()
        former = self._linked_version()
        version = self._unused(f"{pair.certificate.not_valid_before_utc:%Y%m%dT%H%M%SZ}-{_serial(pair)}")
        with self.disk.tidied(version, self._versions / _STAGED):
            self._write(version, pair.certificates_pem, pair.key_pem)
            self.disk.switch(self._current, version.name, self._versions / _STAGED)
        self._lead()
        self._prune(former)

    def recover(self) -> list[str]:
        """Mend what a crash left: finish what was begun where that is safe, and remove the rest.

        Returns:
            what was done, in words.
        """
        if not self._versions.is_dir():
            return []
        done = [self._removed(path) for path in self._leftovers()]
        # Not where somebody has put a working pair of their own in the place of the links.
        if not self._is_led() and self._is_whole(self._linked_version()) and not self._stands_alone():
            self._keep_remains()
            self._lead()
            done.append(f"{self.certificate} and {self.key.name}: led to their newest version")
        return done

    def _take_over(self) -> None:
        """Put a pair that is there as regular files behind links, at no moment without a pair that matches."""
        if self._is_led():
            return
        texts = content(self.certificate), content(self.key)
        if texts == (None, None):
            self._lead()  # to nothing yet: certificate and key will appear in one step
            return
        version = self._unused(_TAKEN_OVER)
        with self.disk.tidied(version, self._versions / _STAGED):
            self._write(version, *texts)
            if not self._is_whole(version):
                return  # it never was a pair; its remains stay in the version, so that no key is lost
            self.disk.switch(self._current, version.name, self._versions / _STAGED)
        self._lead()

    def _keep_remains(self) -> None:
        if any(path.exists() and not path.is_symlink() for path in (self.certificate, self.key)):
            self._write(self._unused(_TAKEN_OVER), content(self.certificate), content(self.key))

    def _write(self, version: Path, *texts: bytes | None) -> None:
        self.disk.discard(version)
        self.disk.make_directories(version)
        for path, text, planned in zip((self.certificate, self.key), texts, self.planned, strict=True):
            if text is not None:
                write_planned(self.disk, version / path.name, text, planned)
        self.disk.sync(version)

    def _lead(self) -> None:
        # The certificate first: never a key without its certificate.
        for path in (self.certificate, self.key):
            if not self._leads(path):
                with self.disk.tidied(self._staged_link(path)):
                    self.disk.switch(path, self._target(path), self._staged_link(path))

    def _staged_link(self, path: Path) -> Path:
        return self._versions / f"{path.name}{_LINK}"

    def _target(self, path: Path) -> str:
        return f"{FOLDER}/{self.certificate.name}/{_CURRENT}/{path.name}"

    def _leads(self, path: Path) -> bool:
        return path.is_symlink() and str(path.readlink()) == self._target(path)

    def _is_led(self) -> bool:
        return self._leads(self.certificate) and self._leads(self.key)

    def _linked_version(self) -> Path | None:
        with faults_of(self._current):
            return self._versions / self._current.readlink() if self._current.is_symlink() else None

    def _is_whole(self, version: Path | None) -> bool:
        try:
            return version is not None and self._pair_in(version) is not None
        except FileFaultError as fault:
            if fault.reason in {FileReason.UNREADABLE, FileReason.MISMATCH, FileReason.INCOMPLETE}:
                return False
            raise

    def _pair_in(self, version: Path) -> KeyPair | None:
        return pair_of(version / self.certificate.name, version / self.key.name)

    def _stands_alone(self) -> bool:
        """Whether the files as they are make a pair other than that of the newest version."""
        try:
            found = pair_of(self.certificate, self.key)
        except FileFaultError as fault:
            if fault.reason in {FileReason.UNREADABLE, FileReason.MISMATCH, FileReason.INCOMPLETE}:
                return False
            raise
        version = self._linked_version()
        newest = self._pair_in(version) if version is not None else None
        return found is not None and newest is not None and found.certificate != newest.certificate

    def _unused(self, name: str) -> Path:
        current = self._linked_version()
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        return next(path for path in map(self._versions.joinpath, names) if path != current)

    def _others(self) -> list[Path]:
        with faults_of(self._versions):
            inside = sorted(self._versions.iterdir())
        current = self._linked_version()
        return [path for path in inside if path not in {self._current, current}]

    def _leftovers(self) -> list[Path]:
        return [path for path in self._others() if path.is_symlink() or not self._is_worth_keeping(path)]

    def _is_worth_keeping(self, version: Path) -> bool:
        # What was taken over may hold a key that is nowhere else; it goes when it is older than the last version.
        return version.name.startswith(_TAKEN_OVER) or self._is_whole(version)

    def _removed(self, path: Path) -> str:
        self.disk.discard(path)
        return f"{path}: left by a crash, removed"

    def _prune(self, former: Path | None) -> None:
        for path in self._others():
            if path != former and (former is not None or not path.name.startswith(_TAKEN_OVER)):
                self.disk.discard(path)


def _serial(pair: KeyPair) -> str:
    return f"{pair.certificate.serial_number:x}"[:8]
