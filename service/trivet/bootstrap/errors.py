"""Why a command that works on this machine cannot."""

from __future__ import annotations


class StartError(Exception):
    """Something that was set up wrong; the message says what, and the way out.

    Attributes:
        is_unreachable: it may work later, as it is: the database does not answer.
    """

    def __init__(self, message: str, *, is_unreachable: bool = False) -> None:
        """Take the message."""
        super().__init__(message)
        self.is_unreachable = is_unreachable
