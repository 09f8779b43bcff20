"""Which hooks are still to run: a file for each, so that an agent that ends in between leaves word."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.agent.files import FileFaultError
from trivet.agent.files.reading import content

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files import Disk

FOLDER: Final = "var/lib/trivet/hooks"


@dataclass(frozen=True, slots=True)
class Markers:
    """The files, below a root; each holds the serial number of the certificate that the hook is for."""

    disk: Disk
    root: Path

    def _path(self, name: str) -> Path:
        # Names of a plan are made of a-z, 0-9, - and . only, and begin with a letter or digit.
        return self.root / FOLDER / name

    def put(self, name: str, serial: str) -> None:
        """Say that a hook is to run once the certificate of that serial number is in place.

        Raises:
            FileFaultError: it cannot be written.
        """
        path = self._path(name)
        self.disk.make_directories(path.parent)
        staged = path.with_name(f".{name}.new")
        with self.disk.tidied(staged):
            self.disk.discard(staged)
            self.disk.write_new(staged, serial.encode(), 0o600)
            self.disk.rename(staged, path)

    def get(self, name: str) -> str | None:
        """The serial number that a hook is still to run for; None for none."""
        with suppress(FileFaultError, UnicodeDecodeError):
            text = content(self._path(name))
            return None if text is None else text.decode().strip()
        return None

    def remove(self, name: str) -> None:
        """The hook ran, or ran in vain as often as it should."""
        with suppress(FileFaultError):
            self.disk.discard(self._path(name))
