"""Where the certificates of a node are that a command replaces one by one: pairs of files, or a plan's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.bootstrap.files import PRIVATE, PUBLIC
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import StagedFile, read_certificate, read_file, read_key, replace_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trivet.agent.files import KeyPair
    from trivet.cli.planned import PlannedPlace


class FilePlace:
    """A certificate of this node in a pair of files."""

    def __init__(self, name: str, certificate: Path) -> None:
        """Take the certificate's path; its key is beside it, ending in .key."""
        self.name = name
        self._certificate, self._key = certificate, certificate.with_suffix(".key")

    def read(self) -> KeyPair:
        """The pair in place.

        Raises:
            CommandError: it cannot be read.
        """
        from trivet.agent.files.pairs import KeyPair, checked

        return checked(KeyPair((read_certificate(self._certificate),), read_key(self._key)))

    def install(self, pair: KeyPair) -> None:
        """Put a new pair in its place, the key private."""
        staged_key = StagedFile(self._key, pair.key_pem, PRIVATE)
        staged = StagedFile(self._certificate, pair.certificates_pem, PUBLIC)
        replace_pair(staged, staged_key, read_file(self._key))


def places_of(
    certificates: Sequence[Path] | None, plan: Path | None, root: Path
) -> Iterator[FilePlace | PlannedPlace]:
    """The certificates that are named, or those of a plan.

    Raises:
        CommandError: neither is given; or the plan cannot be read.
    """
    if plan is not None:
        from trivet.cli.planned import planned_places

        yield from planned_places(plan, root)
        return
    if not certificates:
        message = "which certificates? name them with --certificate, or the node's plan with --plan"
        raise CommandError(message, ExitCode.USAGE)
    for path in certificates:
        yield FilePlace(str(path.resolve()).strip("/").replace("/", "-").removesuffix(".crt"), path)
