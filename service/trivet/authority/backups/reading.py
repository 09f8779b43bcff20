"""Read a backup, and believe nothing of it until its last line has been compared with all that stood above."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

import orjson

from trivet.authority.backups.errors import BackupError, DamagedBackupError
from trivet.authority.backups.form import FORMAT, Contents, Heading
from trivet.authority.backups.proof import ProofEnds
from trivet.pki.proof.lines import canonical
from trivet.store.transfer import TableForm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from trivet.signing.encryption import KeyEncryptionKey

_AT_ONCE: Final = 1000
_EARLIEST, _LATEST = datetime.fromtimestamp(0, UTC), datetime(9998, 1, 1, tzinfo=UTC)  # of what an id can say
_MALFORMED: Final = (orjson.JSONDecodeError, ValueError, TypeError, KeyError, AttributeError)


class BackupReader:
    """One backup, read from its first line to its last.

    Attributes:
        heading: what it says of itself.

    Raises:
        BackupError: it is of a format that this Trivet does not know, or was made under another key-encryption key.
        DamagedBackupError: it is no backup.
    """

    def __init__(self, lines: BinaryIO, key: KeyEncryptionKey) -> None:
        """Read the heading."""
        self._lines, self._key = lines, key
        self._hash = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._ends = ProofEnds()
        self._contents: Contents | None = None
        try:
            self.heading = _heading(self._next())
        except _MALFORMED as error:
            raise DamagedBackupError("it is not a backup of Trivet") from error
        if not compare_digest(self.heading.key_check, key.check()):
            message = (
                "the key-encryption key is not the one that the private keys in this backup are encrypted under;"
                " give the key of the installation that was backed up"
            )
            raise BackupError(message)

    def batches(self) -> Iterator[tuple[TableForm, list[dict[str, Any]]]]:
        """All rows, some at a time, and then the comparison.

        Raises:
            DamagedBackupError: something is missing, was changed or added; what was read before is not to be believed.
        """
        forms = {form.name: form for form in self.heading.tables}
        form, batch = None, []
        try:
            while isinstance(line := self._next(), list) or line["type"] == "table":
                if isinstance(line, list) and form is not None:
                    batch.append(form.read(line))
                if form is not None and (len(batch) >= _AT_ONCE or isinstance(line, dict)):
                    yield form, self._counted(form, batch)
                    batch = []
                if isinstance(line, dict):
                    form = forms.pop(line["name"])
            if form is not None:
                yield form, self._counted(form, batch)
            self._finish(line)
        except _MALFORMED as error:
            raise DamagedBackupError("a line of it is malformed") from error

    @property
    def contents(self) -> Contents:
        """What it held; once all batches were read."""
        if self._contents is None:
            raise ValueError("not all was read")
        return self._contents

    def _next(self) -> Any:  # noqa: ANN401  what JSON holds
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise DamagedBackupError("it was cut off: its last line is missing")
        if not line.startswith(b'{"type":"end"'):
            self._hash.update(line)
        return orjson.loads(line)

    def _counted(self, form: TableForm, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._rows[form.name] = self._rows.get(form.name, 0) + len(batch)
        self._ends.look_at(form.name, batch)
        return batch

    def _finish(self, line: dict[str, Any]) -> None:
        seal = line.pop("seal")
        if line["type"] != "end" or not compare_digest(seal, self._key.backup_seal(canonical(line))):
            raise DamagedBackupError(
                "its last line was not written by an installation with this key-encryption key"
            )
        if line["sha256"] != self._hash.hexdigest():
            raise DamagedBackupError("its lines are not those that were written")
        if line["rows"] != self._rows:
            raise DamagedBackupError("rows are missing, or there are more than were written")
        if line["proof"] != self._ends.described():
            raise DamagedBackupError("the chains of the proof do not end as they did in the database")
        if self._lines.read(1):
            raise DamagedBackupError("something stands behind its end")
        last = line["proof"]["checkpoint"]
        self._contents = Contents(self.heading, self._rows, tuple(last) if last else None)


def _heading(line: dict[str, Any]) -> Heading:
    if line["type"] != "backup":
        raise ValueError("its first line is another")
    if line["format"] != FORMAT:
        raise BackupError(
            f"it has format {line['format']}, and this Trivet reads format {FORMAT}: install its own"
        )
    tables = (TableForm(one["name"], tuple(map(tuple, one["columns"]))) for one in line["tables"])
    return Heading(
        datetime.fromisoformat(line["madeAt"]),
        line["trivet"],
        line["schema"],
        line["database"],
        line["keyCheck"],
        _span(*line["span"]) if line["span"] else None,
        tuple(tables),
    )


def _span(first: str, last: str) -> tuple[datetime, datetime]:
    begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    if not _EARLIEST <= begin <= end <= _LATEST:
        raise ValueError("no ids were made then")
    return begin, end
