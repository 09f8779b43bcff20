"""Build the authority from settings, and refuse to start where it could not work."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, exc, make_url

from trivet.authority.context import (
    Authority,
    LockoutGuard,
    Policy,
    Publication,
    ReviewPolicy,
    WhenStale,
)
from trivet.authority.install import NotReadyError, check_ready
from trivet.authority.metrics import measures
from trivet.bootstrap.clock import now
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.files import read_secret
from trivet.bootstrap.randomness import RandomBits
from trivet.pki.errors import UnavailableError
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError
from trivet.signing.engine import CRYPTOGRAPHY
from trivet.signing.file import Keyring
from trivet.store.engine import Database
from trivet.store.migrate import current_revision, newest_revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.settings import ServerSettings
    from trivet.signing.engine import Engine


def build_authority(settings: ServerSettings) -> Authority:
    """Wire what the use cases need; nothing connects yet.

    Raises:
        StartError: the key-encryption key or the database URL is missing or malformed; or the engine is missing.
    """
    key = key_encryption_key(settings)
    policy = Policy(
        timedelta(seconds=settings.backdate_seconds),
        LockoutGuard(settings.lockout_guard),
        timedelta(days=settings.repair_expired_days),
        timedelta(days=settings.retention_days),
        Publication(
            settings.pki_base_url,
            settings.crl_shards,
            settings.ocsp,
            timedelta(hours=settings.crl_hours),
        ),
        hold_revoked_nodes=settings.hold_revoked_nodes,
        pin_inventory=settings.pin_inventory,
        reviews=ReviewPolicy(
            timedelta(seconds=settings.authorize_fresh_seconds),
            timedelta(seconds=settings.authorize_stale_seconds),
            WhenStale(settings.authorize_when_stale),
        ),
    )
    return Authority(
        build_database(settings), Keyring(key, build_engine(settings)), key, now, RandomBits(), policy
    )


def build_engine(settings: ServerSettings) -> Engine:
    """Who signs, and verifies the signatures of requests.

    Raises:
        StartError: its package is not installed.
    """
    if settings.engine == "cryptography":
        return CRYPTOGRAPHY
    try:
        from trivet.signing.aws_lc import AwsLcEngine  # noqa: PLC0415  its package is an extra
    except ModuleNotFoundError as error:
        message = (
            f"engine is aws-lc, but the package {error.name} is not installed: pip install 'trivet[server,fast]',"
            " or set engine to cryptography"
        )
        raise StartError(message) from error
    return AwsLcEngine()


def build_database(settings: ServerSettings) -> Database:
    """Prepare the database's connections.

    Raises:
        StartError: the URL is malformed, or its driver is not installed.
    """
    try:
        return Database(settings.database_url.get_secret_value(), on_failure=measures.database_failed)
    except ModuleNotFoundError as error:
        message = f"the driver {error.name} is not installed: pip install 'trivet[server,postgres]'"
        raise StartError(message) from error
    except ValueError as error:
        message = f"database_url is wrong: {error}"
        raise StartError(message) from error


def key_encryption_key(settings: ServerSettings) -> KeyEncryptionKey:
    """Read the key-encryption key from where the settings have it.

    Raises:
        StartError: there is none, or it is malformed.
    """
    path = settings.key_encryption_key_file
    if settings.key_encryption_key is not None:
        where, text = "TRIVET_KEY_ENCRYPTION_KEY", settings.key_encryption_key.get_secret_value()
    elif path is not None:
        where, text = str(path), _key_text(path)
    else:
        message = (
            "no key-encryption key: set key_encryption_key_file in [server], or TRIVET_KEY_ENCRYPTION_KEY;"
            " `trivet init` makes one"
        )
        raise StartError(message)
    try:
        return KeyEncryptionKey.from_text(text)
    except WrongKeyError as error:
        message = f"{where}: {error}"
        raise StartError(message) from error


def _key_text(path: Path) -> str:
    try:
        return read_secret(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = (
            f"the key-encryption key {path} cannot be read: {reason}."
            " Put back the file that `trivet init` made; without it the private keys in the database are lost"
        )
        raise StartError(message) from error


def shown_url(settings: ServerSettings) -> str:
    """The database's URL without its password."""
    return _url(settings).render_as_string(hide_password=True)


def _url(settings: ServerSettings) -> URL:
    try:
        return make_url(settings.database_url.get_secret_value())
    except (exc.ArgumentError, ValueError) as error:
        message = (
            "database_url is wrong: write sqlite:////path/to/trivet.db or postgresql://user@host/database"
        )
        raise StartError(message) from error


def sqlite_file(settings: ServerSettings) -> Path | None:
    """The file of an SQLite database."""
    url = _url(settings)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


@contextmanager
def reaching(settings: ServerSettings) -> Iterator[None]:
    """Say of what fails at the database which database it is, and why.

    Raises:
        StartError: it cannot be reached, or is no database.
    """
    try:
        yield
    except (UnavailableError, exc.SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, UnavailableError) else error
        reason = str(getattr(cause, "orig", None) or cause or error).strip().split("\n")[0]
        message = f"the database {shown_url(settings)} cannot be used: {reason}"
        raise StartError(message, is_unreachable=True) from error


@contextmanager
def opened(settings: ServerSettings) -> Iterator[Database]:
    """The database for a block, after which its connections are closed.

    Raises:
        StartError: it cannot be reached; or there is no such SQLite file, which to connect would make.
    """
    file = sqlite_file(settings)
    if file is not None and not file.exists():
        message = f"there is no database {file}; run `trivet init`"
        raise StartError(message)
    database = build_database(settings)
    try:
        with reaching(settings):
            yield database
    finally:
        database.dispose()


def check_schema(database: Database) -> None:
    """Refuse a database that this version of Trivet does not work with.

    Raises:
        StartError: its schema is older or newer, or there is none.
    """
    current, newest = current_revision(database), newest_revision()
    if current == newest:
        return
    if current is None:
        message = "the database is empty; run `trivet init`"
    elif newest is not None and current > newest:  # revisions begin with their number
        message = (
            f"the database has schema {current}, made by a newer Trivet; this one knows up to {newest}:"
            " install the newer Trivet"
        )
    else:
        message = f"the database has schema {current}, this Trivet needs {newest}; run `trivet db upgrade`"
    raise StartError(message)


def check_startable(settings: ServerSettings) -> None:
    """Find out before serving what would keep the service from working.

    Raises:
        StartError: the key-encryption key, the engine, the database, its schema or the clock.
    """
    key, engine = key_encryption_key(settings), build_engine(settings)
    with opened(settings) as database:
        check_schema(database)
        try:
            check_ready(Authority(database, Keyring(key, engine), key, now, secrets.randbits))
        except (NotReadyError, WrongKeyError) as error:
            raise StartError(str(error)) from error
