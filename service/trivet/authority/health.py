"""Whether the service can do its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.pki.errors import UnavailableError
from trivet.store import installation

if TYPE_CHECKING:
    from trivet.authority.context import Authority


def check_database(authority: Authority) -> None:
    """Read one row.

    Raises:
        UnavailableError: the database cannot be reached, or holds no installation.
    """
    with authority.database.read() as connection:
        if installation.key_check(connection) is None:
            message = "the database holds no installation yet; run `trivet init`"
            raise UnavailableError(message)
