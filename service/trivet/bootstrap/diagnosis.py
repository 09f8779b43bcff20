"""How it stands with the service on this machine: keys, database, clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.bootstrap.composition import check_startable, key_encryption_key, opened, shown_url
from trivet.bootstrap.condition import condition
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.files import is_private
from trivet.bootstrap.findings import Finding, State, bad, good, skipped
from trivet.store import chains
from trivet.store.migrate import newest_revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.settings import ServerSettings


def diagnose_service(settings: ServerSettings) -> Iterator[Finding]:
    """Look at what `trivet serve` needs, and change nothing."""
    try:
        key_encryption_key(settings)
    except StartError as error:
        yield bad(
            "key-encryption key", str(error), "put it back, or run `trivet init` for a new installation"
        )
        return
    yield _key_file(settings)
    found = _installation(settings)
    yield found
    if found.state is State.GOOD:
        yield _proof(settings)
        yield from condition(settings)


def _key_file(settings: ServerSettings) -> Finding:
    path = settings.key_encryption_key_file
    if settings.key_encryption_key is not None or path is None:
        return good("key-encryption key", "comes from TRIVET_KEY_ENCRYPTION_KEY")
    if not is_private(path):
        return bad("key-encryption key", f"anybody on this machine can read {path}", f"chmod 600 {path}")
    return good("key-encryption key", f"{path} is readable and private")


def _installation(settings: ServerSettings) -> Finding:
    try:
        check_startable(settings)
    except StartError as error:
        what, _, remedy = str(error).partition(";")
        return bad("database", what, remedy.strip() or "make it reachable with this database_url")
    found = f"{shown_url(settings)} has schema {newest_revision()}"
    return good("database", f"{found}; the key-encryption key opens its keys, the clock is within validity")


def _proof(settings: ServerSettings) -> Finding:
    with opened(settings) as database, database.read() as connection:
        last = chains.last_checkpoint(connection)
    if last is None:
        return skipped(
            "proof", "nothing was sealed yet; `trivet serve` does that as soon as there is something"
        )
    made_at = f"{last.made_at:%Y-%m-%dT%H:%M:%SZ}"
    return good("proof", f"checkpoint {last.number} sealed at {made_at} what was decided until then")
