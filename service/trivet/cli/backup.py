"""`trivet backup`, `trivet restore`, `trivet backup-key`: everything in the database, in one encrypted file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trivet.bootstrap.files import read_secret, write_new
from trivet.cli.connection import server_settings
from trivet.cli.database import DatabaseUrl
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.cli.output import Format, Output, note, show_object
from trivet.signing.age import AgeError, Identity, Passphrase, PublicRecipient, parse_identities

if TYPE_CHECKING:
    from trivet.authority.backups.form import Contents
    from trivet.signing.age.keys import Unwrapper, Wrapper

_SHORTEST: Final = 12
_FIELDS: Final = {
    "File": "file",
    "Bytes": "bytes",
    "SHA-256": "sha256",
    "Made": "madeAt",
    "Database": "database",
    "Schema": "schema",
    "Rows": "rows",
    "Certificates": "certificates",
    "Decisions": "decisions",
    "Last checkpoint": "checkpoint",
}
_AFTERWARDS: Final = """\
What was decided since {made_at} is not in this database, nor does anybody know what it was:
  revocations that were added since stand no longer: add them again before you serve
  certificates that were issued since are unknown: their holders need new ones
  access tokens that were deleted since are good again: see which of the {tokens} there are to be (`trivet token list`)
  certificate requests that were denied since wait again: deny them again
Given up, as it may have been used since:
  repair windows are closed, and their one-time tokens are worth nothing: open new ones
  certificate requests that were approved and not issued have failed: their nodes submit new ones
  bootstrap tokens are removed, so nodes that are yet to join need new ones
docs/backup.md tells how."""

BackupPath = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Holds a passphrase, at least 12 characters."),
]


def backup(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")
    ],
    recipient: Annotated[
        list[str] | None,
        typer.Option(metavar="age1…", help="Who can open it (`trivet backup-key`); may be repeated."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    database_url: DatabaseUrl = None,
    output: Output = Format.TABLE,
) -> None:
    """Write everything in the database into one encrypted file; on the server itself, while it serves.

    The file is read again before it counts. It does not hold the key-encryption key, without which it is worth nothing.
    """
    from trivet.bootstrap.backup import make_backup

    wrappers = _wrappers(recipient, passphrase_file)
    settings = server_settings(context, database_url=database_url)
    try:
        made = make_backup(settings, file, wrappers)
    except FileExistsError as error:
        message = f"{file} is there already and was left as it is; choose another name"
        raise CommandError(message) from error
    described = _described(made.contents)
    show_object(
        {"file": str(made.path), "bytes": made.size, "sha256": made.sha256, **described}, output, _FIELDS
    )


def restore(
    context: typer.Context,
    file: BackupPath,
    identity_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the private key of a recipient.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the backup to its end, and write nothing.")
    ] = False,
    database_url: DatabaseUrl = None,
    output: Output = Format.TABLE,
) -> None:
    """Restore a backup into the empty database that the settings name: all of it, or nothing.

    Needs the key-encryption key of the installation that was backed up.
    """
    from trivet.bootstrap.backup import check_backup, restore_backup

    unwrappers = _unwrappers(identity_file, passphrase_file)
    settings = server_settings(context, database_url=database_url)
    with explained(file, "read"):
        if check:
            contents = check_backup(settings, file, unwrappers).contents
        else:
            contents = restore_backup(settings, file, unwrappers)
    described = _described(contents)
    show_object(
        {"file": str(file), **described},
        output,
        {k: v for k, v in _FIELDS.items() if v in {"file", *described}},
    )
    note(
        "it can be restored"
        if check
        else _AFTERWARDS.format(made_at=described["madeAt"], tokens=contents.rows["tokens"])
    )


def backup_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write the private key to.")],
) -> None:
    """Make a key pair for backups, and print the recipient, which `trivet backup` takes.

    Keep the private key elsewhere: the server needs it to restore, not to back up.
    """
    import secrets

    identity = Identity(secrets.token_bytes(32))
    with explained(file, "written"):
        write_new(file, f"# public key: {identity.recipient}\n{identity.text()}\n".encode())
    typer.echo(identity.recipient)


def _wrappers(recipients: list[str] | None, passphrase_file: Path | None) -> list[Wrapper]:
    if bool(recipients) == (passphrase_file is not None):
        message = "for whom is the backup to be encrypted? give --recipient or --passphrase-file"
        raise CommandError(message, ExitCode.USAGE)
    if passphrase_file is not None:
        return [_passphrase(passphrase_file)]
    try:
        return [PublicRecipient.parse(text) for text in recipients or ()]
    except AgeError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


def _unwrappers(identity_file: Path | None, passphrase_file: Path | None) -> list[Unwrapper]:
    if passphrase_file is not None and identity_file is None:
        return [_passphrase(passphrase_file)]
    if identity_file is None or passphrase_file is not None:
        message = "what opens the backup? give --identity-file or --passphrase-file"
        raise CommandError(message, ExitCode.USAGE)
    with explained(identity_file, "read"):
        text = read_secret(identity_file)
    try:
        return list(parse_identities(text))
    except AgeError as error:
        message = f"{identity_file}: {error}"
        raise CommandError(message) from error


def _passphrase(path: Path) -> Passphrase:
    with explained(path, "read"):
        text = read_secret(path)
    if len(text) < _SHORTEST:
        message = f"{path} holds a passphrase of less than {_SHORTEST} characters: openssl rand -base64 24 makes one"
        raise CommandError(message)
    return Passphrase(text)


def _described(contents: Contents) -> dict[str, Any]:
    heading, rows = contents.heading, contents.rows
    return {
        "madeAt": f"{heading.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "database": heading.database,
        "schema": heading.schema,
        "rows": sum(rows.values()),
        "certificates": rows.get("certificates", 0),
        "decisions": rows.get("decisions", 0),
        "checkpoint": ":".join(map(str, contents.checkpoint)) if contents.checkpoint else None,
    }
