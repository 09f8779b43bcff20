"""The database's schema: which it is, and bringing it up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.bootstrap.composition import check_schema, opened, shown_url
from trivet.store.migrate import current_revision, newest_revision, upgrade

if TYPE_CHECKING:
    from trivet.settings import ServerSettings
    from trivet.store.engine import Database


def schema_state(settings: ServerSettings) -> dict[str, str | None]:
    """Say which schema the database has, and which this version needs.

    Raises:
        StartError: it cannot be reached.
    """
    with opened(settings) as database:
        current = current_revision(database)
    return {"database": shown_url(settings), "current": current, "needed": newest_revision()}


def upgrade_schema(settings: ServerSettings) -> tuple[str | None, str | None]:
    """Bring the schema to what this version needs; give what it was and what it is.

    Raises:
        StartError: the database cannot be reached, or its schema is newer than this version.
    """
    with opened(settings) as database:
        return bring_up_to_date(database)


def bring_up_to_date(database: Database) -> tuple[str | None, str | None]:
    """As `upgrade_schema`, for a database that is open."""
    before, newest = current_revision(database), newest_revision()
    if before is not None and newest is not None and before > newest:
        check_schema(database)  # says so
    if before != newest:
        upgrade(database)
    return before, newest
