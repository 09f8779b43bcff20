"""Where a plan's certificates are, for commands that replace them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.agent.files import FileFaultError, NodeFiles
from trivet.agent.plan import BadPlanError, load_plan
from trivet.cli.exits import CommandError
from trivet.cli.files import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trivet.agent.files import KeyPair
    from trivet.agent.plan import PlannedCertificate


class PlannedPlace:
    """A planned certificate of this node."""

    def __init__(self, files: NodeFiles, planned: PlannedCertificate) -> None:
        """Take what reads and replaces it."""
        self.name = planned.name
        self._files, self._planned = files, planned

    def read(self) -> KeyPair:
        """The pair in place.

        Raises:
            CommandError: there is none, or it cannot be read.
        """
        try:
            pair = self._files.read(self._planned)
        except FileFaultError as fault:
            raise CommandError(str(fault)) from fault
        if pair is None:
            message = f"there is no certificate {self.name} in place whose key could vouch for a new one"
            raise CommandError(message)
        return pair

    def install(self, pair: KeyPair) -> None:
        """Put a new pair in its place.

        Raises:
            CommandError: the former pair is in place still.
        """
        try:
            self._files.install(self._planned, pair)
        except FileFaultError as fault:
            raise CommandError(str(fault)) from fault


def planned_places(plan: Path, root: Path) -> Iterator[PlannedPlace]:
    """The certificates of a plan.

    Raises:
        CommandError: the plan cannot be read.
    """
    try:
        with explained(plan, "read"):
            found = load_plan(plan)
    except BadPlanError as error:
        raise CommandError(str(error)) from error
    files = NodeFiles(root)
    for planned in found.certificates:
        yield PlannedPlace(files, planned)
