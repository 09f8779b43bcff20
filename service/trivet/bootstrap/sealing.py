"""The chore that seals what was decided: checkpoints, signed by the service authority."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.authority.proof.ledger import TRUST
from trivet.authority.proof.seal import seal
from trivet.bootstrap.chores import Chore
from trivet.pki.errors import Refusal

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from trivet.authority.context import Authority

_log = logging.getLogger(__name__)
_LONGEST: Final = TRUST / 3  # chains must be renewed in time, however seldom checkpoints are wanted
_TOLERANCE: Final = (
    0.9  # of the interval: the processes' chores fall due one after another, and one is enough
)


@dataclass(frozen=True, slots=True)
class Sealing:
    """Renews the chains of this process, and seals what there is where no other process did.

    Attributes:
        authority: whose decisions.
        every: how often.
    """

    authority: Authority
    every: timedelta

    def chores(self) -> list[Chore]:
        """The chores, due at once."""
        return [Chore("sealing decisions", self.seal, self.authority.clock())]

    def seal(self) -> datetime:
        """Do both; give the time of the next round."""
        self.authority.ledger.renew(self.authority)
        seal(self.authority, unless_younger=self.every * _TOLERANCE)
        return self.authority.clock() + min(self.every, _LONGEST)


def seal_at_the_end(authority: Authority) -> None:
    """Close the chains of this process, and seal what there is; what cannot be sealed now is when others can."""
    try:
        authority.ledger.release(authority)
        seal(authority)
    except Refusal as error:
        _log.warning("the last decisions were not sealed: %s", error)
