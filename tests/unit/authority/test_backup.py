from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, select
from tests.support.clock import Clock
from tests.support.installations import world_over
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority

from trivet.authority.backup import backup, verify_backup
from trivet.authority.backups.errors import BackupError, DamagedBackupError
from trivet.authority.backups.reading import BackupReader
from trivet.authority.context import Authority
from trivet.authority.restore import restore
from trivet.pki.proof.lines import canonical
from trivet.pki.revocation import EntryKind
from trivet.signing.encryption import KeyEncryptionKey
from trivet.store.migrate import newest_revision
from trivet.store.tables import audit_records, metadata

OTHER_KEY = KeyEncryptionKey(bytes(range(1, 33)))


@pytest.fixture
def backed_up(world: World) -> bytes:
    for number in range(3):
        world.issue(node=f"node-{number}", key=number)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-2"))
    return written(world.authority)


def written(authority: Authority) -> bytes:
    out = io.BytesIO()
    backup(authority, out.write)
    return out.getvalue()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Authority]:
    authority = make_authority(f"sqlite:///{tmp_path / 'empty.db'}", Clock())
    yield authority
    authority.database.dispose()


def restored(authority: Authority, octets: bytes) -> None:
    restore(authority, BackupReader(io.BytesIO(octets), authority.key_encryption_key))


def tables(authority: Authority) -> list[str]:
    with authority.database.read() as connection:
        return inspect(connection).get_table_names()


def test_a_backup_counts_what_it_holds(world: World, backed_up: bytes) -> None:
    contents = verify_backup(world.authority, io.BytesIO(backed_up))
    assert (contents.rows["certificates"], contents.rows["decisions"]) == (3, 3)
    assert contents.rows["clusters"] == 1
    assert contents.checkpoint is not None
    assert contents.heading.schema == newest_revision()


def test_what_was_decided_is_sealed_before_it_is_backed_up(world: World, backed_up: bytes) -> None:
    contents = verify_backup(world.authority, io.BytesIO(backed_up))
    world.issue(node="later", key=4)
    later = verify_backup(world.authority, io.BytesIO(written(world.authority)))
    assert contents.checkpoint is not None
    assert later.checkpoint is not None
    assert later.checkpoint[0] == contents.checkpoint[0] + 1


def changed(octets: bytes, change: Callable[[list[bytes]], object]) -> bytes:
    lines = octets.splitlines(keepends=True)
    change(lines)
    return b"".join(lines)


def row(lines: list[bytes], table: str) -> int:
    """Give the number of the first row of a table."""
    return 1 + next(
        at for at, line in enumerate(lines) if line == b'{"type":"table","name":"%s"}\n' % table.encode()
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lines: lines.pop(row(lines, "decisions")), id="a row less"),
        pytest.param(lambda lines: lines.insert(3, lines[row(lines, "serials")]), id="a row elsewhere"),
        pytest.param(
            lambda lines: lines.insert(row(lines, "tokens"), lines[row(lines, "tokens")]), id="a row twice"
        ),
        pytest.param(lambda lines: lines.pop(), id="no end"),
        pytest.param(lambda lines: lines.append(b"[]\n"), id="more behind the end"),
        pytest.param(lambda lines: lines.insert(row(lines, "serials"), b"{}\n"), id="a line that is none"),
        pytest.param(lambda lines: lines.insert(row(lines, "serials"), b"[1]\n"), id="a row of another form"),
        pytest.param(lambda lines: lines.insert(-1, b'{"type":"table","name":"new"}\n'), id="another table"),
        pytest.param(lambda lines: lines.clear(), id="nothing"),
    ],
)
def test_what_is_not_what_was_written_is_refused_and_leaves_nothing(
    change: Callable[[list[bytes]], object], backed_up: bytes, empty: Authority
) -> None:
    with pytest.raises(DamagedBackupError):
        restored(empty, changed(backed_up, change))
    assert not tables(empty)


def forged(
    octets: bytes, table: str, change: Callable[[list[object]], object], key: KeyEncryptionKey
) -> bytes:
    """Change a row, count and hash anew, and seal with that key."""
    *lines, last = octets.splitlines(keepends=True)
    at = row(lines, table)
    values = json.loads(lines[at])
    change(values)
    lines[at] = json.dumps(values).encode() + b"\n"
    end = json.loads(last)
    del end["seal"]
    end["sha256"] = hashlib.sha256(b"".join(lines)).hexdigest()
    sealed = {"type": "end"} | {**end, "seal": key.backup_seal(canonical(end))}
    return b"".join(lines) + json.dumps(sealed, separators=(",", ":")).encode() + b"\n"


def test_nobody_without_the_key_encryption_key_makes_a_backup_that_is_restored(
    backed_up: bytes, empty: Authority
) -> None:
    def make_admin(values: list[object]) -> None:
        values[2] = "somebody else"

    with pytest.raises(DamagedBackupError, match="was not written by an installation with this key"):
        restored(empty, forged(backed_up, "clusters", make_admin, OTHER_KEY))
    restored(empty, forged(backed_up, "clusters", make_admin, empty.key_encryption_key))


def test_rows_that_are_missing_are_found_by_their_count(backed_up: bytes, empty: Authority) -> None:
    fewer = changed(backed_up, lambda lines: lines.pop(row(lines, "decisions")))
    with pytest.raises(DamagedBackupError, match="rows are missing"):
        restored(empty, forged(fewer, "clusters", lambda _: None, empty.key_encryption_key))
    assert not tables(empty)


@pytest.mark.parametrize("table", ["decisions", "audit_records", "checkpoints"])
def test_a_chain_that_does_not_end_as_it_did_is_found_though_all_else_agrees(
    table: str, backed_up: bytes, empty: Authority
) -> None:
    columns = metadata.tables[table].columns.keys()

    def change(values: list[object]) -> None:
        at = columns.index("line" if table == "checkpoints" else "requester")
        values[at] = f"{values[at]} or somebody else"

    def last_first(lines: list[bytes]) -> None:
        """Let the last record come first, as rows have no order of their own."""
        first = row(lines, table)
        end = next(at for at in range(first, len(lines)) if not lines[at].startswith(b"["))
        position = columns.index("number" if table == "checkpoints" else "position")
        lines[first:end] = sorted(lines[first:end], key=lambda line: -json.loads(line)[position])

    with pytest.raises(DamagedBackupError, match="do not end as they did"):
        restored(empty, forged(changed(backed_up, last_first), table, change, empty.key_encryption_key))
    assert not tables(empty)


def test_a_wrong_key_encryption_key_is_refused_before_anything_is_written(
    backed_up: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    other = make_authority(f"sqlite:///{path}", Clock(), key_encryption_key=OTHER_KEY)
    with pytest.raises(BackupError, match="key-encryption key is not the one"):
        restored(other, backed_up)
    assert not path.exists()


def test_a_database_that_holds_something_is_left_as_it_is(world: World, backed_up: bytes) -> None:
    issued = world.issue(node="kept")
    with pytest.raises(BackupError, match="holds tables already"):
        restored(world.authority, backed_up)
    assert world.stored(issued).der == issued.stored.der


def test_a_backup_of_a_newer_trivet_is_refused(backed_up: bytes, empty: Authority) -> None:
    def newer(lines: list[bytes]) -> None:
        lines[0] = re.sub(rb'"schema":"[0-9]+"', b'"schema":"9999"', lines[0])

    with pytest.raises(BackupError, match="schema 9999, made by Trivet"):
        restored(empty, changed(backed_up, newer))

    def other_form(lines: list[bytes]) -> None:
        lines[0] = lines[0].replace(b'"format":1', b'"format":2')

    with pytest.raises(BackupError, match="format 2"):
        restored(empty, changed(backed_up, other_form))
    assert not tables(empty)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("0001-01-01T00:00:00+00:00", "2026-11-24T12:00:00+00:00"),
        ("2026-11-24T12:00:00+00:00", "9999-12-31T00:00:00+00:00"),
        ("2026-11-24T12:00:00+00:00", "2026-11-23T12:00:00+00:00"),
        ("2026-11-24T12:00:00", "2026-11-24T12:00:00"),
    ],
)
def test_a_span_that_no_rows_can_have_is_no_backups(
    backed_up: bytes, empty: Authority, first: str, last: str
) -> None:
    def other_span(lines: list[bytes]) -> None:
        lines[0] = re.sub(rb'"span":\[.*?\]', json.dumps({"span": [first, last]})[1:-1].encode(), lines[0])

    with pytest.raises(DamagedBackupError, match="it is not a backup"):
        restored(empty, changed(backed_up, other_span))


def test_a_restore_leaves_its_record(backed_up: bytes, empty: Authority) -> None:
    restored(empty, backed_up)
    with empty.database.read() as connection:
        query = select(audit_records.c.details).where(audit_records.c.action == "installation.restore")
        details = connection.execute(query).scalar_one()
    assert details["madeAt"].startswith("2026-11-24T12:00:00")
    assert details["checkpoint"]["number"] == 1


def test_a_backup_can_be_made_of_what_was_restored(
    backed_up: bytes, empty: Authority, tmp_path: Path
) -> None:
    restored(empty, backed_up)
    again = written(empty)
    third = world_over(f"sqlite:///{tmp_path / 'third.db'}", Clock())
    restored(third.authority, again)
    third.issue(node="node-7", key=3)
    third.authority.database.dispose()
