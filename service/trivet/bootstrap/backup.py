"""Backups as files: encrypted, read again before they count, complete or not there at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from trivet.authority.backup import backup, verify_backup
from trivet.authority.backups.errors import BackupError
from trivet.authority.backups.reading import BackupReader
from trivet.authority.restore import check_restorable, restore
from trivet.bootstrap.composition import (
    build_authority,
    check_schema,
    opened,
    reaching,
    sqlite_file,
)
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.files import make_directory, write_new
from trivet.signing.age import AgeError, EncryptedFile, open_file, reopen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trivet.authority.backups.form import Contents
    from trivet.authority.context import Authority
    from trivet.settings import ServerSettings
    from trivet.signing.age.keys import Unwrapper, Wrapper

_FASTEST = 1  # DER and hashes hardly shrink; names and JSON do at once
_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A backup that was written, or read.

    Attributes:
        sha256: of the file.
    """

    path: Path
    size: int
    sha256: str
    contents: Contents


def make_backup(settings: ServerSettings, path: Path, wrappers: Sequence[Wrapper]) -> BackupFile:
    """Back up the database into a new file, mode 0600, which is there only once it was read again.

    Raises:
        StartError: the database cannot be read, or the file not be written; nothing is left of it.
        FileExistsError: there is such a file.
    """
    if path.exists():
        raise FileExistsError(17, os.strerror(17), str(path))
    with opened(settings) as database:
        check_schema(database)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with _authority(settings) as authority:
        try:
            write_new(part, b"")
            with part.open("r+b") as file:
                made = _written(authority, file, wrappers, path)
            _name(part, path)
        finally:
            part.unlink(missing_ok=True)
    _sync(path.parent)
    return made


def _written(
    authority: Authority, file: io.BufferedRandom, wrappers: Sequence[Wrapper], path: Path
) -> BackupFile:
    with _explained(path):
        encrypted = EncryptedFile(file, wrappers, secrets.token_bytes)
        with gzip.GzipFile("", "wb", _FASTEST, encrypted, mtime=0) as zipped:
            backup(authority, zipped.write)
        encrypted.complete()
        file.flush()
        os.fsync(file.fileno())
        # What is read again is what the disk has, not what memory still holds of it.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        contents = verify_backup(authority, _unzipped(reopen(file, encrypted.file_key)))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BackupFile(path, os.fstat(file.fileno()).st_size, digest, contents)


def _name(part: Path, path: Path) -> None:
    """Give a complete file its name, and never take another file's place.

    Raises:
        FileExistsError: somebody made such a file meanwhile.
    """
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # not every file system has links
        part.rename(path)


def check_backup(settings: ServerSettings, path: Path, unwrappers: Sequence[Unwrapper]) -> BackupFile:
    """Read a backup to its end, as a restore would; nothing is written, and no database is needed.

    Raises:
        StartError: it cannot be restored.
    """
    with _authority(settings) as authority, path.open("rb") as file, _explained(path):
        contents = verify_backup(authority, _unzipped(open_file(file, unwrappers)))
        check_restorable(contents.heading)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return BackupFile(path, os.fstat(file.fileno()).st_size, digest, contents)


def restore_backup(settings: ServerSettings, path: Path, unwrappers: Sequence[Unwrapper]) -> Contents:
    """Restore a backup into the empty database that the settings name; an SQLite file is made.

    Raises:
        StartError: it cannot be restored; nothing was written.
    """
    with _authority(settings) as authority, path.open("rb") as file, _explained(path):
        reader = BackupReader(_unzipped(open_file(file, unwrappers)), authority.key_encryption_key)
        check_restorable(reader.heading)
        with reaching(settings), _new_file(settings):
            return restore(authority, reader)


def _unzipped(file: io.RawIOBase) -> BinaryIO:
    zipped = gzip.GzipFile("", "rb", fileobj=cast("BinaryIO", io.BufferedReader(file, _BUFFER)))
    return cast("BinaryIO", io.BufferedReader(zipped, _BUFFER))


@contextmanager
def _authority(settings: ServerSettings) -> Iterator[Authority]:
    authority = build_authority(settings)
    try:
        yield authority
    finally:
        authority.database.dispose()


@contextmanager
def _new_file(settings: ServerSettings) -> Iterator[None]:
    """The file of an SQLite database, where there is none; gone again where nothing came to be in it."""
    path = sqlite_file(settings)
    if path is None or path.exists():
        yield
        return
    make_directory(path.parent)
    write_new(path, b"")
    try:
        yield
    except BaseException:
        for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            one.unlink(missing_ok=True)
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of what is wrong with a backup which it is.

    Raises:
        StartError: something is.
    """
    try:
        yield
    except (AgeError, BackupError) as error:
        message = f"the backup {path}: {error}"
        raise StartError(message) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"the backup {path}: it was not made by Trivet, or is damaged: {error}"
        raise StartError(message) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
