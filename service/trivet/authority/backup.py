"""Back up: everything in the database, as it was at one moment, while the service goes on."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from trivet import __version__
from trivet.authority.backups.form import Contents, Heading, described_proof
from trivet.authority.backups.reading import BackupReader
from trivet.authority.proof.seal import seal
from trivet.pki.errors import UnavailableError
from trivet.pki.proof.lines import canonical
from trivet.store import transfer
from trivet.store.migrate import revision_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from sqlalchemy import Connection

    from trivet.authority.context import Authority

_PAGE = 64 * 1024


class _Lines:
    """Writes lines, and hashes what it wrote."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._hash = hashlib.sha256()

    def put(self, lines: Iterable[object]) -> int:
        """Write lines, many at a time; count them."""
        count, page = 0, bytearray()
        for line in lines:
            page += orjson.dumps(line) + b"\n"
            count += 1
            if len(page) > _PAGE:
                self._flush(page)
                page = bytearray()
        self._flush(page)
        return count

    def _flush(self, page: bytearray) -> None:
        self._hash.update(page)
        self._write(bytes(page))

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def backup(authority: Authority, write: Callable[[bytes], object]) -> None:
    """Write a backup, which holds everything but the key-encryption key.

    What was decided until now is sealed before, so that the backup ends with a checkpoint. The private keys in it are
    encrypted, as they are in the database; nothing else is: whoever calls encrypts it.

    Args:
        authority: the context.
        write: takes the octets.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    with suppress(UnavailableError):  # one that cannot be written to can be backed up all the same
        seal(authority)
    with authority.database.snapshot() as connection:
        lines = _Lines(write)
        heading = _heading(authority, connection)
        lines.put([heading.described()])
        rows = {}
        for form in heading.tables:
            lines.put([{"type": "table", "name": form.name}])
            rows[form.name] = lines.put(map(form.shown, transfer.rows(connection, form)))
        end: dict[str, Any] = {
            "type": "end",
            "rows": rows,
            "sha256": lines.sha256,
            "proof": described_proof(connection),
        }
        lines.put([{**end, "seal": authority.key_encryption_key.backup_seal(canonical(end))}])


def verify_backup(authority: Authority, lines: BinaryIO) -> Contents:
    """Read a backup to its end.

    Raises:
        BackupError: it is not what was written, or not under this key-encryption key.
    """
    reader = BackupReader(lines, authority.key_encryption_key)
    for _ in reader.batches():
        pass
    return reader.contents


def _heading(authority: Authority, connection: Connection) -> Heading:
    return Heading(
        authority.clock(),
        __version__,
        revision_of(connection) or "",
        connection.dialect.name,
        authority.key_encryption_key.check(),
        transfer.span(connection),
        tuple(transfer.forms()),
    )
