"""Restore: a backup into an empty database, all of it or nothing, so that it goes on behind what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.authority.backups.errors import BackupError, DamagedBackupError
from trivet.authority.backups.spent import give_up
from trivet.authority.install import OPERATOR
from trivet.authority.record import change
from trivet.pki.profiles import AuthorityName
from trivet.pki.proof.lines import RESTORED, time_text
from trivet.signing.encryption import WrongKeyError
from trivet.store import (
    authorities,
    chains,
    changes,
    counters,
    crls,
    installation,
    partitions,
    revocations,
    transfer,
)
from trivet.store.engine import lift_limits
from trivet.store.migrate import is_known, upgrade_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from trivet.authority.backups.form import Contents, Heading
    from trivet.authority.backups.reading import BackupReader
    from trivet.authority.context import Authority
    from trivet.store.transfer import TableForm

_CRL_NUMBERS: Final = 24 * 60 * 60 * 1000
"""CRL numbers are milliseconds of a clock, or one more than the last: that clock may have been a day ahead of ours."""

_VERSIONS: Final = 1_000_000
"""How many changes of one scope there may have been since the backup, at most."""


def restore(authority: Authority, reader: BackupReader) -> Contents:
    """Restore a backup in one transaction, and leave a record of it in the audit trail.

    Serial numbers, decisions, entries and access tokens go on as they were. Numbers that others remember go on behind a
    gap, as what was made since the backup has taken some: those of CRLs, and the versions of objects. What holds once
    only is given up, as it may have been used since.

    Args:
        authority: the context; its database is empty.
        reader: the backup, of which nothing but the heading was read.

    Raises:
        BackupError: the database is not empty, or the backup is of a newer Trivet.
        DamagedBackupError: it is not what was written. Nothing is left of it in the database.
        UnavailableError: the database cannot be reached.
    """
    check_restorable(reader.heading)
    with authority.database.write() as connection:
        lift_limits(connection)
        if not transfer.is_empty(connection):
            message = "the database holds tables already; a backup is restored into an empty one, and replaces nothing"
            raise BackupError(message)
        _make_schema(connection, reader.heading)
        _fill(connection, reader.batches())
        _check(authority, connection)
        upgrade_within(connection)
        _go_on(authority, connection, reader.contents)
    return reader.contents


def check_restorable(heading: Heading) -> None:
    """Refuse what this version of Trivet cannot restore.

    Raises:
        BackupError: a newer one made it.
    """
    if not is_known(heading.schema):
        message = (
            f"the backup has schema {heading.schema}, made by Trivet {heading.trivet}, which this one does not know:"
            " install that one"
        )
        raise BackupError(message)


def _make_schema(connection: Connection, heading: Heading) -> None:
    upgrade_within(connection, heading.schema)
    # The heading is believed only at the end, with the seal: until then it names nothing but what the migrations made.
    if (stranger := transfer.unknown(connection, heading.tables)) is not None:
        raise DamagedBackupError(f"the schema {heading.schema} has no {stranger[:100]!r}")
    transfer.clear(connection, heading.tables)
    if heading.span is not None:
        partitions.make_months(connection, *heading.span)


def _fill(connection: Connection, batches: Iterable[tuple[TableForm, list[dict[str, Any]]]]) -> None:
    for form, batch in batches:
        try:
            transfer.add(connection, form, batch)
        except ValueError as error:
            raise DamagedBackupError(str(error)) from error


def _check(authority: Authority, connection: Connection) -> None:
    """See that what is there can serve: the proof of the key, and a key that opens."""
    generation = authorities.active_generation(connection, None, AuthorityName.SERVICE)
    try:
        authority.keyring.signer(generation.id, generation.certificate, generation.private_key)
    except WrongKeyError as error:
        raise DamagedBackupError(f"the key of the service authority does not open: {error}") from error
    if installation.key_check(connection) != authority.key_encryption_key.check():
        raise DamagedBackupError("its installation was made under another key-encryption key")


def _go_on(authority: Authority, connection: Connection, contents: Contents) -> None:
    now = authority.clock()
    chains.expire_all(connection, now)
    crls.begin_anew(connection, int(now.timestamp() * 1000) + _CRL_NUMBERS)
    versions = revocations.leave_gap(connection, _VERSIONS)
    counters.leave_gap(connection, _VERSIONS)
    given_up = give_up(authority, connection)
    changes.forget_all(connection)
    last = contents.checkpoint
    details = {
        "madeAt": time_text(contents.heading.made_at),
        "checkpoint": {"number": last[0], "sha256": last[1]} if last else None,
        "sets": [{"scope": str(scope), "version": version} for scope, version in sorted(versions.items())],
        **given_up,
    }
    change(authority, connection, OPERATOR, RESTORED, "installation", None, details)
